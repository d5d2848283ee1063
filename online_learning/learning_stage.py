"""What the learner job does, without Flink: records in, parameters out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from models.state_map import StateMap
from online_learning.labels.label_join import DAY_MS, LabelJoin, LabelJoinSettings, MaturedColumns
from online_learning.labels.precedence import SOURCES
from online_learning.learners.contract import Learner
from online_learning.learners.registry import ALL_LEARNERS
from online_learning.stream_order import Run, StreamOrder
from schemas.columns import I32, I64
from schemas.decision_reader import DecisionReader, ScoredColumns
from schemas.labels import LabelDecoder
from schemas.records import encode_record
from schemas.registry import SchemaLookup
from schemas.validate import validate_labels

DECISIONS, LABELS = 0, 1
"""Topics, in the order that records of the same time have."""

HOUR_MS = 3_600_000

_ORDER, _OWN = 3 << 50, 4 << 50  # keys beside those of the label join
_LEARNER, _META = _OWN, _OWN + 1
_ECHO = SOURCES.index("rule")


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """Everything that decides what is learned."""

    feature_set: str
    feature_names: tuple[str, ...]
    decision_partitions: int
    label_partitions: int
    learner: str = "logistic-regression"
    seed: int = 0
    decision_lifetime_ms: int = 30 * DAY_MS
    label_lifetime_ms: int = 7 * DAY_MS
    max_record_bytes: int = 1 << 20
    max_future_ms: int = DAY_MS


@dataclass(slots=True)
class LearningCounts:
    """What was learned from."""

    frauds: int = 0
    echoes: int = 0  # labels by rules: counted, and learned with weight 0
    rejected_decisions: int = 0  # undecodable, or of another feature set
    rejected_labels: int = 0
    hour: int = -(2**31)  # of the newest event time
    trained_from_ms: int = 2**62
    trained_to_ms: int = -(2**62)


@dataclass(slots=True)
class LearningStage:
    """Orders the records of both topics, joins labels with decisions, and learns from what matures.

    The learner's state is a function of the topics' contents alone: how records arrived, how they were cut into blocks
    and where a restart took the state up again leave no trace (see `StreamOrder` for the one exception).

    A correction is learned like a new label: the learner saw the row with the opposite verdict before. A label by a
    rule is the engine's own opinion and teaches nothing.

    Parameters
    ----------
    settings
        Fixed for the state's life.
    state
        Of this stage alone; what it holds is restored.
    registry
        Where to ask for schemas of labels by their Confluent ids.
    """

    settings: LearningSettings
    state: StateMap
    registry: SchemaLookup | None = None
    order: StreamOrder = field(init=False)
    join: LabelJoin = field(init=False)
    learner: Learner = field(init=False)
    counts: LearningCounts = field(init=False)
    _decisions: DecisionReader = field(init=False)
    _labels: LabelDecoder = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self.order = StreamOrder((settings.decision_partitions, settings.label_partitions), self.state, _ORDER)
        lifetimes = (settings.decision_lifetime_ms, settings.label_lifetime_ms)
        self.join = LabelJoin(LabelJoinSettings(len(settings.feature_names), *lifetimes), self.state)
        factory = ALL_LEARNERS[settings.learner]
        snapshot, meta = self.state.get(_LEARNER), self.state.get(_META)
        self.learner = factory(settings.feature_names, settings.seed) if snapshot is None else factory.restore(snapshot)
        stored: dict[str, Any] = {} if meta is None else json.loads(meta)
        self.counts = LearningCounts(**{f.name: stored[f.name] for f in fields(LearningCounts) if f.name in stored})
        self._decisions = DecisionReader(settings.feature_set, len(settings.feature_names))
        self._labels = LabelDecoder(self.registry, settings.max_record_bytes)

    def take(self, topic: int, partition: I32, offset: I64, timestamp_ms: I64, values: list[bytes | None]) -> None:
        """Take in records of DECISIONS or LABELS, each partition's in the order of its offsets."""
        self.order.add(topic, partition, offset, timestamp_ms, [value or b"" for value in values])
        self._learn_what_is_released()

    def skip_idle(self, now_ms: int, idle_ms: int) -> None:
        """Go on without silent partitions; see `StreamOrder.skip_idle`."""
        self.order.skip_idle(now_ms, idle_ms)
        self._learn_what_is_released()

    def publication(self) -> bytes:
        """Return the parameters as a record of `model_update.avsc`; its version is the number of labels seen."""
        parameters = self.learner.parameters()
        has_learned = self.learner.labels_seen > 0
        return encode_record(
            "model_update",
            {
                "name": self.learner.name,
                "version": str(self.learner.labels_seen),
                "sha256": hashlib.sha256(parameters).hexdigest(),
                "parameters": parameters,
                "labels_seen": self.learner.labels_seen,
                "trained_from_ms": self.counts.trained_from_ms if has_learned else None,
                "trained_to_ms": self.counts.trained_to_ms if has_learned else None,
                "metrics": {"frauds": float(self.counts.frauds), "corrections": float(self.join.counts.corrections)},
            },
        )

    def _learn_what_is_released(self) -> None:
        before = (self.learner.labels_seen, asdict(self.counts))
        for run in self.order.release():
            if run.topic == DECISIONS:
                self._take_decisions(run)
            else:
                self._take_labels(run)
        if self.learner.labels_seen != before[0]:
            self.state.put(_LEARNER, self.learner.snapshot())
        if asdict(self.counts) != before[1]:
            self.state.put(_META, json.dumps(asdict(self.counts)).encode())

    def _take_decisions(self, run: Run) -> None:
        scored, _, rejected = self._decisions.decode([*run.values])
        self.counts.rejected_decisions += len(rejected)
        if len(scored) == 0:
            return
        hours = np.maximum.accumulate(np.maximum(scored.event_time_ms // HOUR_MS, self.counts.hour))
        # At the first decision of an hour, wherever a block was cut.
        starts = np.flatnonzero(np.diff(hours, prepend=self.counts.hour) > 0).tolist()
        for start, end in zip([0, *starts], [*starts, len(scored)], strict=True):
            if start == end:
                continue
            if hours[start] > self.counts.hour:
                self.counts.hour = int(hours[start])
                self.join.expire(self.counts.hour * HOUR_MS)
            self._learn(self.join.take_decisions(_rows(scored, start, end)))

    def _take_labels(self, run: Run) -> None:
        labels, rows, rejected = self._labels.decode([*run.values])
        invalid = validate_labels(labels, run.timestamp_ms[rows], self.settings.max_future_ms)
        self.counts.rejected_labels += len(rejected) + len(invalid)
        if invalid:
            is_valid = np.ones(len(rows), np.bool_)
            is_valid[[r.row for r in invalid]] = False
            labels = labels.take(is_valid)
        if len(labels):
            self._learn(self.join.take_labels(labels))

    def _learn(self, matured: MaturedColumns) -> None:
        if len(matured) == 0:
            return
        is_echo = matured.source == _ECHO
        self.learner.learn_many(matured.features, matured.is_fraud, (~is_echo).astype(np.float32))
        self.counts.frauds += int((matured.is_fraud & ~is_echo).sum())
        self.counts.echoes += int(is_echo.sum())
        self.counts.trained_from_ms = min(self.counts.trained_from_ms, int(matured.event_time_ms.min()))
        self.counts.trained_to_ms = max(self.counts.trained_to_ms, int(matured.event_time_ms.max()))


def _rows(scored: ScoredColumns, start: int, end: int) -> ScoredColumns:
    return scored if end - start == len(scored) else scored.take(slice(start, end))
