"""Learn from labels while the stream runs, and publish what was learned.

Reads
    `decisions` (decision.avsc), read_committed, and `labels` (label.avsc); `control` (learning_command.avsc), key
    `learning/ID`.
Writes
    `model-updates` (model_update.avsc), key learner/NAME, exactly once, compacted; `drift` (drift.avsc), exactly once;
    `matured-labels` (matured_label.avsc), key account id, exactly once: each verdict that holds, and its corrections.
Key
    One: what is learned depends on the order of all labels. The job takes one slot.
Event time
    Lifetimes of decisions and labels; the order of learning is that of record timestamps (see StreamOrder).
State
    Decisions and labels that wait for each other, within their lifetimes; the learner; what drift detectors and the
    open windows of the features hold. See LearningFunction.
Guarantee
    The learner's weights are a function of the contents of both topics: killed at any point and restored, they equal
    those of an undisturbed run bit for bit, as long as checkpoints survive and the topics are kept until they are read.
    Under the same conditions a read_committed reader of `matured-labels` finds each matured label once, in their order.
    With `idle_seconds` above 0 this also asks that no partition brings records older than those that learning went on
    without it for.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence
from typing import Any

import click
from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from jobs.drift_reference import drift_reference
from jobs.job_parameters import as_option, learner_parameters
from jobs.settings import Settings, SettingsError
from jobs.stream import row_types, tables
from jobs.stream.control import ControlRecord
from jobs.stream.control_topic import read_newest
from jobs.stream.keyed import by_key
from jobs.stream.learning_function import LearningFunction
from jobs.stream.shard_keys import shard_keys
from jobs.stream.topic_partitions import partitions_of
from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from online_learning.guards.commands import KEY_PREFIX, Command, CommandError
from online_learning.guards.rate_limit import RateLimit
from online_learning.labels.label_join import DAY_MS
from online_learning.learners.registry import ALL_LEARNERS
from online_learning.learning_stage import LearningSettings

JOB_NAME = "update-learners"
MICROBATCH_MS = 100


def learning_settings(settings: Settings, partitions: dict[str, int]) -> LearningSettings:
    """Return the settings that decide what is learned.

    Raises
    ------
    SettingsError
        If there is no such learner, or the features cannot be watched as asked.
    """
    if settings.learner not in ALL_LEARNERS:
        raise SettingsError(f"learner: there is no {settings.learner!r}, choose one of {', '.join(ALL_LEARNERS)}")
    return LearningSettings(
        feature_set=FEATURE_SET,
        feature_names=FEATURE_NAMES,
        decision_partitions=partitions[settings.topics.decisions],
        label_partitions=partitions[settings.topics.labels],
        learner=settings.learner,
        decision_lifetime_ms=int(settings.decision_lifetime_days * DAY_MS),
        label_lifetime_ms=int(settings.label_lifetime_days * DAY_MS),
        rate_limit=RateLimit(settings.labels_per_second, settings.label_burst),
        max_record_bytes=settings.max_record_bytes,
        max_future_ms=settings.max_future_seconds * 1000,
        reference=drift_reference(settings),
    )


def commands_of(records: tuple[ControlRecord, ...]) -> tuple[Command, ...]:
    """Return the commands among control records; what is none, the job reads again and logs."""
    commands = []
    for record in records:
        if record.value and record.key.startswith(KEY_PREFIX.encode()):
            with contextlib.suppress(CommandError):
                commands.append(Command.of_record(record.key, record.value))
    return tuple(commands)


def submit(settings: Settings) -> None:
    """Make the real ends, wire the job between them and submit it."""
    topics = settings.topics
    learning = learning_settings(settings, partitions_of(settings, (topics.decisions, topics.labels)))
    control, _ = read_newest(settings, topics.control)
    configuration = Configuration()
    configuration.set_string("pipeline.global-job-parameters", as_option(learner_parameters(settings)))
    configuration.set_string("parallelism.default", "1")
    configuration.set_string(
        "execution.checkpointing.interval", f"{settings.checkpoint_interval_seconds * 1000:.0f} ms"
    )
    configuration.set_string("execution.checkpointing.mode", "EXACTLY_ONCE")
    configuration.set_string("pipeline.object-reuse", "true")
    # Decisions wait for their labels for weeks: on disk, where a checkpoint saves no more than what is new.
    configuration.set_string("state.backend.type", "rocksdb")
    configuration.set_string("execution.checkpointing.incremental", "true")
    configuration.set_string("state.changelog.enabled", "false")
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    sql = StreamTableEnvironment.create(environment)
    own = settings.model_copy(
        update={"shards": 1, "microbatch_ms": MICROBATCH_MS, "group_id": f"{settings.group_id}-learners"}
    )
    tables.create_source(sql, own, (topics.decisions, topics.labels, topics.control), committed_only=True)
    batches = tables.micro_batches(sql, own, shard_keys(get_gateway().jvm, 1))
    function = LearningFunction(
        learning,
        topics.decisions,
        topics.control,
        settings.schema_registry_url,
        settings.publish_interval_seconds,
        int(settings.idle_seconds * 1000),
        commands_of(control),
    )
    updates = by_key(batches, row_types.micro_batch()).process(function, row_types.learned()).name("learn").uid("learn")
    tables.create_results_view(sql, "learned", updates, columns=6)
    tables.create_sink(sql, settings, "model_updates", topics.model_updates, is_exactly_once=True, headers=False)
    tables.create_sink(sql, settings, "drift", topics.drift, is_exactly_once=True, headers=False)
    tables.create_sink(sql, settings, "matured_labels", topics.matured_labels, is_exactly_once=True, headers=False)
    statements = sql.create_statement_set()
    statements.add_insert_sql(tables.insert_pairs("model_updates", "learned", "f0", "f1"))
    statements.add_insert_sql(tables.insert_pairs("drift", "learned", "f2", "f3"))
    statements.add_insert_sql(tables.insert_pairs("matured_labels", "learned", "f4", "f5"))
    statements.attach_as_datastream()
    environment.execute_async(JOB_NAME)


@click.command(help="Submit the learner job to the Flink cluster of the environment. `weir learn` does it for you.")
@click.option("--learner", help="Learner that follows the labels.")
@click.option("--idle-seconds", type=float, help="Go on without a partition silent for so long; 0 never.")
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
