"""Decision stage in Flink: batches and partial features in, decisions and alerts out; rules, learners by broadcast.

Where rules or a model are on trial, their would-be alerts follow the decisions of each batch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import KeyedBroadcastProcessFunction, OutputTag, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from jobs.stream import row_types
from jobs.stream.control import LEARNER_PREFIX, Control, ControlError, ControlRecord
from jobs.stream.flink_state import FlinkStateMap, subtask_index
from jobs.stream.reference_redis import RedisReference, RedisReferenceSettings
from jobs.stream.warm_up import warm_up
from models.scoring.decide_batch import Scored, decide_batch
from models.scoring.decider import Decider, rule_columns
from models.scoring.evidence_policy import NO_EVIDENCE, EvidencePolicy
from models.scoring.evidence_requests import requests_of
from models.scoring.model import ScoringModel
from models.scoring.pending import Complete, PendingBatches
from models.scoring.rules import Rule, RuleSet
from models.scoring.shadow import Shadow, shadow_alerts

logger = logging.getLogger(__name__)

CONTROL_DEAD_LETTERS = OutputTag("control-dead-letters", row_types.refused())
SHADOW_ALERTS = OutputTag("shadow-alerts", row_types.shadow_alerts())
EVIDENCE_REQUESTS = OutputTag("evidence-requests", row_types.evidence_requests())


def control_state() -> MapStateDescriptor:
    """Describe the broadcast state: control key -> packed ControlRecord."""
    return MapStateDescriptor("control", Types.STRING(), Types.PICKLED_BYTE_ARRAY())


class DecisionFunction(KeyedBroadcastProcessFunction):
    """Hosts the PendingBatches of each home shard, and the one Decider of this subtask.

    State: where checkpoints may be unaligned, batches that wait for partial features, from arrival to decision; bounded
    by back-pressure. An aligned one finds none: what an entity shard answers to a batch before a barrier comes before
    it too. Broadcast state: the rules as the control topic changed them and the learners' newest parameters, for the
    job's life.
    """

    def __init__(
        self,
        models_dir: str,
        rules: tuple[Rule, ...],
        attribute_names: tuple[str, ...],
        keys: tuple[int, ...],
        control_topic: str,
        updates_topic: str,
        initial_control: tuple[ControlRecord, ...],
        redis_url: str | None,
        reference_budget_seconds: float,
        entity_wait_seconds: float,
        learner: str | None,
        is_learner_shadow: bool,
        shadow_models_dir: str | None = None,
        evidence: EvidencePolicy = NO_EVIDENCE,
        is_unaligned: bool = False,
    ) -> None:
        self._evidence = evidence
        self._is_unaligned = is_unaligned
        self._shadow_models_dir = shadow_models_dir
        self._learner = learner
        self._is_learner_shadow = is_learner_shadow
        self._models_dir = models_dir
        self._rules = rules
        self._attribute_names = attribute_names
        self._keys = keys
        self._control_topic = control_topic
        self._updates_topic = updates_topic
        self._initial_control = initial_control
        self._redis_url = redis_url
        self._reference_budget_seconds = reference_budget_seconds
        self._entity_wait_seconds = entity_wait_seconds

    def open(self, runtime_context: RuntimeContext) -> None:
        """Load the model, connect to the reference data, attach the state."""
        warm_up(Path(self._models_dir))
        self._state = FlinkStateMap(runtime_context, "pending")
        self._pending: dict[int, PendingBatches] = {}
        self._waiting_since: dict[int, dict[int, float]] = {}  # shard -> sequence -> monotonic seconds
        self._has_timer: set[int] = set()
        rules = RuleSet.compile(self._rules, rule_columns(self._attribute_names))
        decider = Decider(ScoringModel.load(Path(self._models_dir)), rules)
        shadow_model = ScoringModel.load(Path(self._shadow_models_dir)) if self._shadow_models_dir else None
        self._control = Control(decider, self._initial_control, self._learner, self._is_learner_shadow, shadow_model)
        self._is_first_subtask = subtask_index(runtime_context) == 0
        self._is_control_restored = False
        self._reference = None
        if self._redis_url and self._reference_budget_seconds > 0:
            budget = RedisReferenceSettings(budget_seconds=self._reference_budget_seconds)
            self._reference = RedisReference.connect(self._redis_url, budget)
        metrics = runtime_context.get_metrics_group()
        self._decisions = metrics.counter("weir_decisions_total")
        self._alerts = metrics.counter("weir_alerts_total")
        self._degraded = metrics.counter("weir_degraded_decisions_total")
        self._shadow_alerts = metrics.counter("weir_shadow_alerts_total")
        self._shadow_new = metrics.counter("weir_shadow_new_alerts_total")
        self._shadow_lost = metrics.counter("weir_shadow_lost_alerts_total")
        self._shadow_failures = metrics.counter("weir_shadow_failures_total")
        self._evidence_requests = metrics.counter("weir_evidence_requests_total")

    def process_element(self, value: Row, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> Iterator[Any]:
        """Take in a batch or partials, and decide on what is complete."""
        self._restore_control(ctx)
        shard, entity_shard, sequence, data = value[0], value[1], value[2], value[3]
        pending = self._pending_of(shard)
        if entity_shard < 0:
            pending.add_batch(data)
            self._waiting_since[shard][sequence] = time.monotonic()
        else:
            pending.add_partials(sequence, entity_shard, data)
        for complete in pending.release():
            yield from self._decide(shard, complete)
        self._set_timer(shard, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext) -> Iterator[Any]:
        """Decide on batches that waited too long, without what is missing."""
        self._restore_control(ctx)
        key = ctx.get_current_key()
        shard = self._keys.index(key[0] if isinstance(key, Row) else key)
        self._has_timer.discard(shard)
        pending = self._pending_of(shard)
        # A restart leaves timers of the past: what counts is how long this instance has waited.
        while (oldest := pending.oldest) is not None:
            waited = time.monotonic() - self._waiting_since[shard].setdefault(oldest, time.monotonic())
            if waited < self._entity_wait_seconds:
                break
            yield from self._decide(shard, pending.give_up())
            for complete in pending.release():
                yield from self._decide(shard, complete)
        self._set_timer(shard, ctx)

    def process_broadcast_element(self, value: Row, ctx: KeyedBroadcastProcessFunction.Context) -> Iterator[Any]:
        """Change rules or learner; a record that cannot be applied is a dead letter, and they stay as they are."""
        state = ctx.get_broadcast_state(control_state())
        self._control.restore(dict(state.items()))
        self._is_control_restored = True
        record = ControlRecord(value[0] or b"", value[1] or b"", value[2])
        try:
            self._control.apply(record)
        except ControlError as error:
            logger.error('control record refused offset="%d": %s', record.offset, error)
            if self._is_first_subtask:  # every subtask sees the record; one dead letter is enough
                topic = self._updates_topic if record.key.startswith(LEARNER_PREFIX.encode()) else self._control_topic
                fields = (topic, "0", str(record.offset), "control", "INVALID_CONTROL", str(error))
                yield CONTROL_DEAD_LETTERS, Row([value[0]], [value[1]], *([text] for text in fields))
            return
        state.put(record.key.decode(), record.to_bytes())

    def _decide(self, shard: int, complete: Complete) -> Iterator[Any]:
        self._waiting_since[shard].pop(complete.batch.sequence, None)
        decision_time_ms = time.time_ns() // 1_000_000
        decider = self._control.decider
        scored: Scored = decide_batch(decider, complete, self._reference, decision_time_ms, evidence=self._evidence)
        self._decisions.inc(len(scored.decisions))
        self._alerts.inc(len(scored.alerts))
        self._degraded.inc(scored.degraded_rows)
        yield Row(scored.decision_keys, scored.decisions, scored.alert_keys, scored.alerts)
        # The row above has left by now: the alerts of this batch wait neither for requests nor for what is tried out.
        if scored.waiting:
            thresholds = decider.model.thresholds if decider.model else None
            requests = requests_of(self._evidence, scored, thresholds, decision_time_ms)
            self._evidence_requests.inc(len(requests))
            yield EVIDENCE_REQUESTS, Row(requests.keys, requests.values, requests.services)
        if self._control.shadow is not None:
            yield from self._try_out(self._control.shadow, scored, decision_time_ms)

    def _try_out(self, shadow: Shadow, scored: Scored, decision_time_ms: int) -> Iterator[Any]:
        try:
            found = shadow_alerts(shadow, scored, decision_time_ms)
        except Exception:  # whatever is wrong with what is on trial, the live job goes on
            self._shadow_failures.inc()
            logger.exception("the shadow failed on a batch; its would-be alerts are missing")
            return
        self._shadow_alerts.inc(len(found.alerts))
        self._shadow_new.inc(found.new)
        self._shadow_lost.inc(found.lost)
        if found.alerts:
            yield SHADOW_ALERTS, Row(found.keys, found.alerts, found.live_outcomes)

    def _set_timer(self, shard: int, ctx: Any) -> None:
        if len(self._pending[shard]) and shard not in self._has_timer:
            due = time.time_ns() // 1_000_000 + int(self._entity_wait_seconds * 1000)
            ctx.timer_service().register_processing_time_timer(due)
            self._has_timer.add(shard)

    def _pending_of(self, shard: int) -> PendingBatches:
        if shard not in self._pending:
            self._pending[shard] = PendingBatches(self._state, is_saved=self._is_unaligned)
            self._waiting_since[shard] = {}
        return self._pending[shard]

    def _restore_control(self, ctx: Any) -> None:
        if not self._is_control_restored:
            self._control.restore(dict(ctx.get_broadcast_state(control_state()).items()))
            self._is_control_restored = True
