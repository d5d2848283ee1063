"""Ask side services about the evidence that alerts wait for, and revise the alerts.

Reads
    `evidence-requests` (evidence_request.avsc), one for each alert, document and service; `evidence`, read_committed.
Writes
    `evidence` (evidence.avsc), key account id, exactly once: how each request ended. The header `weir.alert` is the
    revised alert.
    `alerts` (alert.avsc), key account id, at least once: the revised alerts of committed `evidence`, and no others, so
    that whatever comes twice is the same twice.
    `dead-letters`, key and value untouched, the reason in headers, exactly once: requests that cannot be read.
Key
    Requests are asked about in any order; endings are numbered by alert id.
Time
    Processing time alone. The budget of a request counts from `requested_at_ms`, by the clock of this machine.
State
    By alert id: what has ended, from the first ending on for `evidence_memory_hours`. Calls that are on their way are
    not kept: a checkpoint waits for them, and a restart asks again.
Guarantee
    A read_committed reader of `evidence` finds exactly one record for each request id, after any kill of the services
    and of Flink's processes, as long as the job goes on from its checkpoints and no request comes again after
    `evidence_memory_hours`.
    A request that is with the job ends at most a budget after it was taken up, and with it the checkpoint that waits.
Mode
    Process mode: `AsyncDataStream` exists only there. Its state cannot be read in thread mode.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from pyflink.common import Configuration, Time, Types
from pyflink.datastream import AsyncDataStream, DataStream, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.evidence_settings import evidence_weights, gather_policy, service_addresses
from jobs.settings import Settings
from jobs.stream import evidence_tables, row_types, tables
from jobs.stream.evidence_function import AskService, ReviseAlert

JOB_NAME = "gather-evidence"
OTHERS = "others"
NO_TIMEOUT = 0
"""Of Flink: it would be a thread for each record, and fail the job. Every call is bounded by the function itself."""
BUNDLE_MS = 200
"""A record waits at most so long in the JVM for company before it crosses into Python: each crossing costs milliseconds
of the cores that score, and what ends is seen a checkpoint later anyhow."""


def taken_up(settings: Settings) -> int:
    """Return how many requests an operator takes up at a time: twice what it calls, so that a turn comes at once."""
    return 2 * settings.evidence_concurrency


def build(settings: Settings, requests: Mapping[str, DataStream]) -> DataStream:
    """Wire the stages between the requests for each service and the results.

    Parameters
    ----------
    settings
        Of the job.
    requests
        Rows of `row_types.evidence_request` by service; those under `OTHERS` are refused.

    Returns
    -------
    Rows of `row_types.evidence_result`.
    """
    addresses = service_addresses(settings)
    policy = gather_policy(settings)
    endings = []
    for name, stream in requests.items():
        asked = AsyncDataStream.unordered_wait(
            stream,
            AskService(name, addresses.get(name), policy),
            Time.milliseconds(NO_TIMEOUT),
            taken_up(settings),
            row_types.evidence_ending(),
        )
        endings.append(asked.name(f"ask {name}").uid(f"ask-{name}"))
    memory_ms = round(settings.evidence_memory_hours * 3_600_000)
    revise = ReviseAlert(evidence_weights(settings), memory_ms, settings.topics.evidence_requests)
    return (
        endings[0]
        .union(*endings[1:])
        .key_by(lambda ending: ending[0], Types.STRING())
        .process(revise, row_types.evidence_result())
        .name("revise alert")
        .uid("revise-alert")
    )


def submit(settings: Settings) -> None:
    """Make the real ends, wire the job between them and submit it."""
    configuration = Configuration()
    configuration.set_string("python.execution-mode", "process")
    configuration.set_string("python.fn-execution.bundle.time", str(BUNDLE_MS))
    # A bundle holds no more than is taken up at once: so it, and the checkpoint behind it, lasts one budget at most.
    for name in ("bundle.size", "arrow.batch.size"):
        configuration.set_string(f"python.fn-execution.{name}", str(taken_up(settings)))
    configuration.set_string("parallelism.default", "1")
    configuration.set_string(
        "execution.checkpointing.interval", f"{settings.checkpoint_interval_seconds * 1000:.0f} ms"
    )
    configuration.set_string("execution.checkpointing.mode", "EXACTLY_ONCE")
    # What has ended is known for a day: on disk, where a checkpoint saves no more than what is new.
    configuration.set_string("state.backend.type", "rocksdb")
    configuration.set_string("execution.checkpointing.incremental", "true")
    configuration.set_string("state.changelog.enabled", "false")
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    sql = StreamTableEnvironment.create(environment)
    evidence_tables.create_requests(sql, settings)
    evidence_tables.create_committed_evidence(sql, settings)
    names = list(service_addresses(settings))
    requests = {name: evidence_tables.requests_for(sql, name) for name in names}
    requests[OTHERS] = evidence_tables.other_requests(sql, names)
    evidence_tables.create_results(sql, build(settings, requests))
    topics = settings.topics
    tables.create_sink(sql, settings, "evidence", topics.evidence, is_exactly_once=True, headers=True)
    tables.create_sink(sql, settings, "unreadable", topics.dead_letters, is_exactly_once=True, headers=True)
    tables.create_sink(sql, settings, "alerts", topics.alerts, is_exactly_once=False, headers=False)
    statements = sql.create_statement_set()
    statements.add_insert_sql(evidence_tables.insert_evidence("evidence"))
    statements.add_insert_sql(evidence_tables.insert_dead_letters("unreadable"))
    statements.add_insert_sql(evidence_tables.insert_revised_alerts("alerts"))
    statements.attach_as_datastream()
    environment.execute_async(JOB_NAME)


@click.command(help="Submit the gathering job to the Flink cluster of the environment. `weir gather` does it for you.")
@click.option("--checkpoint-interval-seconds", type=float, help="Seconds between checkpoints.")
def command(**flags: Any) -> None:
    """Load the settings and submit."""
    settings = Settings.load(**flags)
    logging.basicConfig(level=settings.log_level, stream=sys.stderr)
    logging.getLogger(__name__).info("settings: %s", settings.masked())
    submit(settings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 when the job is submitted."""
    command.main(args=list(argv) if argv is not None else None, standalone_mode=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
