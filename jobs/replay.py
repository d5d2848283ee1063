"""Decide again on a stretch of the stream, apart from the live job.

Reads
    A range of `transactions` and `labels` (or `matured-labels`, where the live run did) by offsets of its own, without
    a consumer group; `decisions` for what was known then; `control` and `model-updates` for the rules and learners of
    then.
Writes
    `replay.RUN.decisions`, `replay.RUN.dead-letters`, `replay.RUN.duplicates`, exactly once, and `replay.RUN.alerts`,
    at least once; every decision and alert says mode replay and the run's id. Nothing else: no live topic, group or
    state, and nothing in Redis.
Key
    As the scoring job: the same stages, with a merge before each entity shard that puts touches in one order.
Event time
    As the scoring job.
State
    As the scoring job, and the place in the log. Records before the range fill the windows and give no output.
Guarantee
    Two replays of a range with the same versions give the same decisions byte for byte but for the run's id, whatever
    the parallelism and the cut of batches; after any kill they go on from the newest checkpoint. In recorded order they
    equal the live decisions byte for byte but for `processing`, as long as the log reaches back to the beginning or
    over the longest window, and the versions on record are still to be had.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from pyflink.common import Configuration
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from jobs.core_settings import core_settings, starting_rules
from jobs.score_transactions import Scoring
from jobs.settings import Settings, kafka_properties
from jobs.stream import row_types, tables
from jobs.stream.intake_function import BATCHES, DEAD_LETTERS, DUPLICATES
from jobs.stream.keyed import by_key, keyed_row, side_output
from jobs.stream.replay import functions
from jobs.stream.replay.batch_source import PACE_SECONDS, BatchSource, Position, Tell, tell_nobody
from jobs.stream.replay.recorded_deciders import RecordedDeciders
from jobs.stream.replay.spec import ReplaySpec
from jobs.stream.shard_keys import MAX_PARALLELISM, shard_keys
from models.scoring.core_settings import CoreSettings
from models.scoring.decide_batch import Run
from models.scoring.decider import rule_columns
from models.scoring.model import ScoringModel
from models.scoring.rules import Rule, RuleSet
from schemas.registry import RegistrySchemas

TICKET_CHARACTERS = 30_000
"""A ticket nearly fills a network buffer of 32 KiB: so dozens wait before the reader, and not ten thousands."""
CHECKPOINT_SECONDS = 5.0


def job_name(run_id: str) -> str:
    """Return the name of the job that replays a run."""
    return f"replay {run_id}"


def build(settings: Settings, spec: ReplaySpec, tickets: DataStream, keys: tuple[int, ...]) -> Scoring:
    """Wire the stages between a stream of tickets and the streams of results.

    Parameters
    ----------
    settings
        Of the scoring job whose stream is replayed.
    spec
        The replay.
    tickets
        Rows of `functions.ticket`, keyed; one for each batch, and more do no harm.
    keys
        Flink key of each shard.
    """
    core = core_of(settings, spec)
    batches = (
        by_key(tickets, functions.ticket())
        .process(
            functions.ReadFunction(partial(open_source, settings, spec), keys), keyed_row(functions.ordered_batch())
        )
        .name("read the log")
        .uid("read-log")
    )
    intake = (
        by_key(batches, functions.ordered_batch())
        .process(
            functions.ReplayIntakeFunction(core, keys, settings.schema_registry_url),
            keyed_row(functions.touch_block()),
        )
        .name("take in")
        .uid("take-in")
    )
    partials = (
        by_key(intake, functions.touch_block())
        .process(functions.ReplayEntityFunction(core.store, keys), keyed_row(row_types.home_part()))
        .name("touch entities")
        .uid("touch-entities")
    )
    decision = functions.ReplayDecisionFunction(
        partial(open_deciders, settings, spec), Run("replay", spec.run_id), spec.account
    )
    results = (
        by_key(side_output(intake, BATCHES).union(partials), row_types.home_part())
        .process(decision, row_types.results())
        .name("decide")
        .uid("decide")
    )
    return Scoring(results, side_output(intake, DEAD_LETTERS), side_output(intake, DUPLICATES))


def core_of(settings: Settings, spec: ReplaySpec) -> CoreSettings:
    """Return the settings that decide a replay's results: the scoring job's, with the labels that the spec names."""
    return replace(core_settings(settings), risk_labels=spec.risk_labels)


def open_source(
    settings: Settings, spec: ReplaySpec, position: Position | None, tell: Tell = tell_nobody
) -> BatchSource:
    """Open the log, in the task that reads it."""
    registry = RegistrySchemas(settings.schema_registry_url) if settings.schema_registry_url else None
    return BatchSource(spec, kafka_properties(settings), core_of(settings, spec), registry, position, tell)


def open_deciders(settings: Settings, spec: ReplaySpec) -> RecordedDeciders:
    """Load what is to decide, in the task that decides."""
    return RecordedDeciders(
        kafka_properties(settings),
        settings.topics.control,
        settings.topics.model_updates,
        ScoringModel.load(Path(spec.models_dir) if spec.models_dir else settings.models_dir),
        bool(spec.models_dir),
        starting_rules(settings),
        None if spec.rules is None else [Rule.from_record(record) for record in spec.rules],
        settings.learner_mode == "shadow",
    )


def tickets_for(spec: ReplaySpec) -> int:
    """Return how many tickets suffice."""
    batches = math.ceil(spec.rows / spec.batch_rows)
    if spec.speed:  # batches end where their time does, too
        batches += math.ceil((spec.last_ms - spec.first_ms) / (1000 * PACE_SECONDS * spec.speed))
    return batches + 2


def output_settings(settings: Settings, run_id: str) -> Settings:
    """Return settings whose topics are those of a replay."""
    return settings.model_copy(
        update={
            "topic_prefix": f"{settings.topic_prefix}replay.{run_id}.",
            "transactional_id_prefix": f"{settings.transactional_id_prefix}-replay-{run_id}",
        }
    )


def submit(settings: Settings, spec: ReplaySpec, parallelism: int) -> None:
    """Make the real ends, wire the job between them and submit it.

    Raises
    ------
    ModelError, RuleError
        If the model or the rules cannot be used.
    """
    if spec.rules is not None:
        RuleSet.compile(tuple(Rule.from_record(record) for record in spec.rules), rule_columns())
    configuration = Configuration()
    configuration.set_string("pipeline.max-parallelism", str(MAX_PARALLELISM))
    configuration.set_string("parallelism.default", str(parallelism))
    configuration.set_string("execution.checkpointing.interval", f"{CHECKPOINT_SECONDS * 1000:.0f} ms")
    configuration.set_string("execution.checkpointing.mode", "EXACTLY_ONCE")
    # Some eighty tickets wait before the reader: a checkpoint overtakes them rather than have them read first.
    configuration.set_string("execution.checkpointing.unaligned.enabled", "true")
    configuration.set_string("execution.checkpointing.aligned-checkpoint-timeout", "1 s")
    # So that a replay that was cancelled, or whose cluster is gone, can go on.
    configuration.set_string("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION")
    # What is kept then must stand for itself.
    configuration.set_string("state.changelog.enabled", "false")
    configuration.set_string("pipeline.object-reuse", "true")
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    sql = StreamTableEnvironment.create(environment)
    keys = shard_keys(get_gateway().jvm, settings.shards)
    scoring = build(settings, spec, ticket_stream(sql, tickets_for(spec), keys[0]), keys)
    own = output_settings(settings, spec.run_id)
    topics = own.topics
    tables.create_results_view(sql, "alerting", scoring.results)
    tables.create_results_view(sql, "deciding", scoring.results.rescale())
    tables.create_refused_view(sql, "refused", scoring.dead_letters.rescale())
    tables.create_refused_view(sql, "repeated", scoring.duplicates.rescale())
    tables.create_sink(sql, own, "alerts", topics.alerts, is_exactly_once=False, headers=False)
    tables.create_sink(sql, own, "decisions", topics.decisions, is_exactly_once=True, headers=False)
    tables.create_sink(sql, own, "dead_letters", topics.dead_letters, is_exactly_once=True, headers=True)
    tables.create_sink(sql, own, "duplicates", topics.duplicates, is_exactly_once=True, headers=True)
    statements = sql.create_statement_set()
    statements.add_insert_sql(tables.insert_pairs("alerts", "alerting", "f2", "f3"))
    statements.add_insert_sql(tables.insert_pairs("decisions", "deciding", "f0", "f1"))
    statements.add_insert_sql(tables.insert_refused("dead_letters", "refused"))
    statements.add_insert_sql(tables.insert_refused("duplicates", "repeated"))
    statements.attach_as_datastream()
    environment.execute_async(job_name(spec.run_id))


def ticket_stream(sql: StreamTableEnvironment, count: int, key: int) -> DataStream:
    """Return so many tickets, each of which fills a network buffer."""
    sql.execute_sql(
        f"""CREATE TEMPORARY TABLE tickets (number BIGINT) WITH (
            'connector' = 'datagen', 'rows-per-second' = '1000000',
            'fields.number.kind' = 'sequence', 'fields.number.start' = '1', 'fields.number.end' = '{count}'
        )"""
    )
    padded = sql.sql_query(f"SELECT {key}, ROW(number, REPEAT('x', {TICKET_CHARACTERS})) FROM tickets")
    return sql.to_append_stream(padded, keyed_row(functions.ticket()))


@click.command(help="Submit a replay to the Flink cluster of the environment. `weir replay` does it for you.")
@click.option("--spec", "text", required=True, help="The replay as JSON (see jobs/stream/replay/spec.py).")
@click.option("--parallelism", type=int, default=1, show_default=True, help="Slots to use.")
def command(text: str, parallelism: int, **flags: Any) -> None:
    """Load the settings and submit."""
    settings = Settings.load(**flags)
    logging.basicConfig(level=settings.log_level, stream=sys.stderr)
    submit(settings, ReplaySpec.from_json(text), parallelism)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 when the job is submitted."""
    command.main(args=list(argv) if argv is not None else None, standalone_mode=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
