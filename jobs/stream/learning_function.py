"""The learning stage in Flink: records of decisions and labels in; parameters, drift and matured labels out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from pyflink.common import Row
from pyflink.datastream import KeyedProcessFunction, RuntimeContext

from jobs.stream.flink_state import STRIPES, FlinkStateMap
from online_learning.guards.commands import KEY_PREFIX, Command, CommandError
from online_learning.learning_stage import DECISIONS, LABELS, LearningSettings, LearningStage
from schemas.records import encode_record
from schemas.registry import RegistrySchemas

logger = logging.getLogger(__name__)

TICK_MS = 500
"""Between looks at whether to publish, or to go on without a silent partition."""


MATURED_PER_ROW = 1_000
"""Labels that come all at once, as after a long wait, leave in rows of a bounded size."""


class LearningFunction(KeyedProcessFunction):
    """Hosts the one LearningStage.

    State: decisions that wait for labels and labels that wait for decisions, within their lifetimes; records that wait
    for their turn; the learner; drift detectors and windows of features. One shard: what is learned depends on the
    order of all labels.
    """

    def __init__(
        self,
        settings: LearningSettings,
        decisions_topic: str,
        control_topic: str,
        registry_url: str | None,
        publish_interval_seconds: float,
        idle_ms: int,
        initial_commands: tuple[Command, ...] = (),
    ) -> None:
        self._initial_commands = initial_commands
        self._settings = settings
        self._decisions_topic = decisions_topic
        self._control_topic = control_topic
        self._registry_url = registry_url
        self._publish_interval_seconds = publish_interval_seconds
        self._idle_ms = idle_ms

    def open(self, runtime_context: RuntimeContext) -> None:
        """Attach the state; the stage is restored with the first element or timer."""
        self._state = FlinkStateMap(runtime_context, "learning", STRIPES)
        self._registry = RegistrySchemas(self._registry_url) if self._registry_url else None
        self._stage: LearningStage | None = None
        self._published = 0  # labels seen by the parameters published last
        self._published_at = 0.0
        self._set_back = 0
        self._has_timer = False
        metrics = runtime_context.get_metrics_group()
        self._records = metrics.counter("weir_learning_records_total")
        self._labels = metrics.counter("weir_labels_learned_total")
        self._matured = metrics.counter("weir_matured_labels_total")
        self._refused = metrics.counter("weir_learning_commands_refused_total")

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        """Take in one micro-batch of one topic."""
        stage = self._restored()
        if value[1] == self._control_topic:
            self._follow(stage, value)
            return
        before = stage.learner.labels_seen
        stage.take(
            DECISIONS if value[1] == self._decisions_topic else LABELS,
            np.array(value[4], np.int32),
            np.array(value[5], np.int64),
            np.array(value[6], np.int64),
            list(value[2]),
        )
        self._records.inc(len(value[2]))
        self._labels.inc(stage.learner.labels_seen - before)
        yield from self._tell(stage)
        yield from self._publish(stage)
        self._set_timer(ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        """Publish what is due; go on without partitions that are silent."""
        self._has_timer = False
        stage = self._restored()
        if self._idle_ms:
            stage.skip_idle(time.time_ns() // 1_000_000, self._idle_ms)
            yield from self._tell(stage)
        yield from self._publish(stage)
        self._set_timer(ctx)

    def _restored(self) -> LearningStage:
        if self._stage is None:
            self._stage = LearningStage(self._settings, self._state, self._registry)
            for command in self._initial_commands:
                self._stage.command(command)
        return self._stage

    def _follow(self, stage: LearningStage, value: Row) -> None:
        for data, key in zip(value[2], value[3], strict=True):
            if key is None or not key.startswith(KEY_PREFIX.encode()) or not data:
                continue  # rules, which are not for this job
            try:
                stage.command(Command.of_record(key, data))
            except CommandError as error:
                logger.error("command refused: %s", error)
                self._refused.inc()

    def _publish(self, stage: LearningStage) -> Iterator[Row]:
        now = time.monotonic()
        seen = stage.learner.labels_seen
        if stage.counts.rollbacks + stage.counts.resets != self._set_back:
            self._set_back = stage.counts.rollbacks + stage.counts.resets
            self._published = -1  # another learner may have seen as many labels
        if not stage.is_sound or seen == self._published or now - self._published_at < self._publish_interval_seconds:
            return
        self._published, self._published_at = seen, now
        yield Row([f"learner/{stage.learner.name}".encode()], [stage.publication()], [], [], [], [])

    def _tell(self, stage: LearningStage) -> Iterator[Row]:
        """Tell of everything that came of the records just taken in: neither can be told again, nor twice."""
        drifts = stage.take_drifts()
        if drifts:
            keys = [drift.key.encode() for drift in drifts]
            yield Row([], [], keys, [encode_record("drift", drift.as_record()) for drift in drifts], [], [])
        matured = stage.take_matured()
        for start in range(0, len(matured), MATURED_PER_ROW):
            some = matured[start : start + MATURED_PER_ROW]
            self._matured.inc(len(some))
            yield Row([], [], [], [], [key for key, _ in some], [value for _, value in some])

    def _set_timer(self, ctx: Any) -> None:
        if not self._has_timer:
            ctx.timer_service().register_processing_time_timer(time.time_ns() // 1_000_000 + TICK_MS)
            self._has_timer = True
