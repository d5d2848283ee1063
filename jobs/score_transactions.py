"""Score every transaction of a Kafka stream.

Reads
    `transactions` (transaction.avsc) and `labels` (label.avsc), raw; with `risk_labels` matured also `matured-labels`
    (matured_label.avsc), and then of all three only what is committed; `control` (rule.avsc), key `rule/RULE_ID`;
    `model-updates` (model_update.avsc), key `learner/NAME`.
Writes
    `decisions` (decision.avsc), key account id, exactly once: one for each accepted transaction.
    `alerts` (alert.avsc), key account id, at least once and at once; consumers keep an alert_id's highest revision.
    `shadow-alerts` (alert.avsc), likewise: what rules and a model on trial would raise, the live outcome in a header.
    `evidence-requests` (evidence_request.avsc), likewise: what alerts wait for; whoever answers dedupes by request id.
    `dead-letters` and `duplicates`, key and value untouched, the reason in headers, exactly once.
Key
    Home shard = Kafka partition modulo shards; entity shard = hash of account, counterparty or device modulo shards.
Event time
    `event_time_ms`; windows are [t - w, t). Late events are scored, and see and update the window they belong to.
State
    Home: ids of accepted transactions (a stated number). Entity: touches within the longest window. Decision: rules and
    learners by broadcast. See the functions in jobs/stream.
Guarantee
    A read_committed reader of decisions, dead-letters and duplicates finds every record of the input in exactly one of
    them, once, after any kill of Flink's processes or of the broker, as long as checkpoints survive, the input is kept
    until it is read, and no transaction is open longer than its timeout.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from pyflink.common import Configuration
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from jobs.core_settings import core_settings, starting_rules
from jobs.evidence_settings import evidence_policy
from jobs.job_parameters import as_option, scoring_parameters
from jobs.settings import Settings
from jobs.stream import row_types, tables
from jobs.stream.alert_reader import LIVE_OUTCOME_HEADER
from jobs.stream.control import ControlRecord
from jobs.stream.control_topic import read_newest
from jobs.stream.decision_function import (
    CONTROL_DEAD_LETTERS,
    EVIDENCE_REQUESTS,
    SHADOW_ALERTS,
    DecisionFunction,
    control_state,
)
from jobs.stream.entity_function import EntityFunction
from jobs.stream.evidence_function import SERVICE_HEADER
from jobs.stream.intake_function import BATCHES, DEAD_LETTERS, DUPLICATES, IntakeFunction
from jobs.stream.keyed import by_key, keyed_row, side_output
from jobs.stream.shard_keys import MAX_PARALLELISM, shard_keys
from jobs.stream.warm_up import warm_up
from models.scoring.decider import Decider, rule_columns
from models.scoring.model import ScoringModel
from models.scoring.rules import Rule, RuleSet

JOB_NAME = "score-transactions"
MATERIALIZE_SECONDS = 30
"""Between two copies of the whole state. A restart reads the last one and the log of changes since: the longer, the
slower."""
AT_ONCE = 0
"""Milliseconds that a row waits in a network buffer: a stage's rows are whole micro-batches, no company to wait for."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """Output streams of the topology."""

    results: DataStream  # rows of `row_types.results`
    dead_letters: DataStream  # rows of `row_types.refused`
    duplicates: DataStream


@dataclass(frozen=True, slots=True)
class LiveScoring(Scoring):
    """Output streams of the topology that also tries out what is in shadow."""

    shadow_alerts: DataStream  # rows of `row_types.shadow_alerts`
    evidence_requests: DataStream  # rows of `row_types.evidence_requests`


def build(
    settings: Settings,
    batches: DataStream,
    control: DataStream,
    keys: tuple[int, ...],
    rules: tuple[Rule, ...],
    initial_control: tuple[ControlRecord, ...] = (),
) -> LiveScoring:
    """Wire the stages between a stream of micro-batches and the streams of results.

    Parameters
    ----------
    settings
        Of the job.
    batches
        Rows of `row_types.micro_batch`, keyed.
    control
        Rows of `row_types.control_record`.
    keys
        Flink key of each shard.
    rules
        Rules in force until control records change them.
    initial_control
        Control records in force when the job starts.
    """
    core = core_settings(settings)
    intake = (
        by_key(batches, row_types.micro_batch())
        .process(
            IntakeFunction(
                core, keys, settings.topics.labels, settings.topics.matured_labels, settings.schema_registry_url
            ),
            keyed_row(row_types.touch_block()),
        )
        .name("take in")
        .uid("take-in")
        .set_buffer_timeout(AT_ONCE)
    )
    partials = (
        by_key(intake, row_types.touch_block())
        .process(EntityFunction(core.store, keys), keyed_row(row_types.home_part()))
        .name("touch entities")
        .uid("touch-entities")
        .set_buffer_timeout(AT_ONCE)
    )
    decision = DecisionFunction(
        models_dir=str(settings.models_dir),
        rules=rules,
        attribute_names=core.attribute_names,
        keys=keys,
        control_topic=settings.topics.control,
        updates_topic=settings.topics.model_updates,
        initial_control=initial_control,
        redis_url=settings.redis_url,
        reference_budget_seconds=settings.reference_budget_ms / 1000,
        entity_wait_seconds=settings.entity_wait_ms / 1000,
        learner=None if settings.learner_mode == "off" else settings.learner,
        is_learner_shadow=settings.learner_mode == "shadow",
        shadow_models_dir=None if settings.shadow_models_dir is None else str(settings.shadow_models_dir),
        evidence=evidence_policy(settings),
    )
    results = (
        by_key(side_output(intake, BATCHES).union(partials), row_types.home_part())
        .connect(control.broadcast(control_state()))
        .process(decision, row_types.results())
        .name("decide")
        .uid("decide")
        .set_buffer_timeout(AT_ONCE)
    )
    return LiveScoring(
        results=results,
        dead_letters=side_output(intake, DEAD_LETTERS).union(side_output(results, CONTROL_DEAD_LETTERS)),
        duplicates=side_output(intake, DUPLICATES),
        shadow_alerts=side_output(results, SHADOW_ALERTS),
        evidence_requests=side_output(results, EVIDENCE_REQUESTS),
    )


def submit(settings: Settings) -> None:
    """Make the real ends, wire the job between them and submit it.

    Raises
    ------
    ModelError, RuleError
        If a model or the rules cannot be used: better here than in a task that restarts for ever.
    """
    warm_up(settings.models_dir)  # also compiles once, into the cache, what every task would compile at the same time
    rules = starting_rules(settings)
    rule_set = RuleSet.compile(rules, rule_columns())
    if settings.shadow_models_dir is not None:
        Decider(ScoringModel.load(settings.shadow_models_dir), rule_set)
    configuration = Configuration()
    configuration.set_string("pipeline.max-parallelism", str(MAX_PARALLELISM))
    configuration.set_string("pipeline.global-job-parameters", as_option(scoring_parameters(settings)))
    configuration.set_string("parallelism.default", str(settings.parallelism))
    configuration.set_string(
        "execution.checkpointing.interval", f"{settings.checkpoint_interval_seconds * 1000:.0f} ms"
    )
    configuration.set_string("execution.checkpointing.mode", "EXACTLY_ONCE")
    # The decision stage relies on it: batches that wait for partial features are not saved.
    configuration.set_string("execution.checkpointing.unaligned.enabled", "false")
    # Where the cluster keeps a log of changes. Taken from the job alone: the cluster's own is without effect.
    configuration.set_string("state.changelog.periodic-materialize.interval", f"{MATERIALIZE_SECONDS} s")
    configuration.set_string("execution.buffer-timeout.interval", f"{settings.buffer_timeout_ms} ms")
    configuration.set_string("pipeline.object-reuse", "true")
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    sql = StreamTableEnvironment.create(environment)
    topics = settings.topics
    initial_control, control_offset = read_newest(settings, topics.control)
    initial_learners, learners_offset = read_newest(settings, topics.model_updates)
    is_matured = settings.risk_labels == "matured"
    read = (topics.transactions, topics.labels, *([topics.matured_labels] if is_matured else []))
    # Matured labels are written in transactions: those of one that was aborted were never so.
    tables.create_source(sql, settings, read, committed_only=is_matured)
    tables.create_followed_source(sql, settings, "control", topics.control, control_offset)
    tables.create_followed_source(sql, settings, "learners", topics.model_updates, learners_offset)
    control = tables.followed_records(sql, "control").union(tables.followed_records(sql, "learners"))
    keys = shard_keys(get_gateway().jvm, settings.shards)
    batches = tables.micro_batches(sql, settings, keys)
    scoring = build(settings, batches, control, keys, rules, (*initial_control, *initial_learners))
    # An exactly-once sink waits for the broker at every checkpoint. Behind a partitioner it does so in a thread of its
    # own; chained to a stage it would hold up the alerts. Rescaling to the same parallelism keeps each row's order.
    tables.create_results_view(sql, "alerting", scoring.results)
    tables.create_results_view(sql, "deciding", scoring.results.rescale())
    tables.create_refused_view(sql, "refused", scoring.dead_letters.rescale())
    tables.create_refused_view(sql, "repeated", scoring.duplicates.rescale())
    tables.create_headed_view(sql, "trying", scoring.shadow_alerts.rescale(), headers=1)
    if has_evidence := bool(evidence_policy(settings).services):
        tables.create_headed_view(sql, "asking", scoring.evidence_requests.rescale(), headers=1)
        tables.create_sink(sql, settings, "requests", topics.evidence_requests, is_exactly_once=False, headers=True)
    tables.create_sink(sql, settings, "alerts", topics.alerts, is_exactly_once=False, headers=False)
    tables.create_sink(sql, settings, "decisions", topics.decisions, is_exactly_once=True, headers=False)
    tables.create_sink(sql, settings, "dead_letters", topics.dead_letters, is_exactly_once=True, headers=True)
    tables.create_sink(sql, settings, "duplicates", topics.duplicates, is_exactly_once=True, headers=True)
    tables.create_sink(sql, settings, "shadow_alerts", topics.shadow_alerts, is_exactly_once=False, headers=True)
    statements = sql.create_statement_set()
    statements.add_insert_sql(tables.insert_pairs("alerts", "alerting", "f2", "f3"))
    statements.add_insert_sql(tables.insert_pairs("decisions", "deciding", "f0", "f1"))
    statements.add_insert_sql(tables.insert_refused("dead_letters", "refused"))
    statements.add_insert_sql(tables.insert_refused("duplicates", "repeated"))
    statements.add_insert_sql(tables.insert_headed("shadow_alerts", "trying", (LIVE_OUTCOME_HEADER,)))
    if has_evidence:
        statements.add_insert_sql(tables.insert_headed("requests", "asking", (SERVICE_HEADER,)))
    statements.attach_as_datastream()
    environment.execute_async(JOB_NAME)


@click.command(help="Submit the scoring job to the Flink cluster of the environment. `weir score` does it for you.")
@click.option("--parallelism", type=int, help="Slots to use.")
@click.option("--shards", type=int, help="Entity shards; fixed for the state's life.")
@click.option("--microbatch-ms", type=int, help="Milliseconds that records are gathered for.")
@click.option("--risk-labels", type=click.Choice(["raw", "matured"]), help="Labels that the risk features count.")
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
