"""What the learner job does, without Flink: records in, parameters out."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from models.features.drift_reference import Reference
from models.state_map import StateMap
from online_learning.combination.mix import ScoreMix
from online_learning.drift.adapt import adapt, remembered, still_matters
from online_learning.drift.event import DriftEvent
from online_learning.drift.monitor import FRAUDS_ALONE, DriftMonitor, squared_error
from online_learning.drift.windows import FeatureWindows
from online_learning.guards.commands import Command, CommandLog
from online_learning.guards.kept_states import KeptStates
from online_learning.guards.rate_limit import RateLimit, SourceLimiter
from online_learning.labels.label_join import DAY_MS, LabelJoin, LabelJoinSettings, MaturedColumns
from online_learning.labels.precedence import SOURCES
from online_learning.learners.contract import Learner
from online_learning.learners.registry import ALL_LEARNERS
from online_learning.stream_order import Run, StreamOrder
from schemas.columns import F32, F64, I32, I64, MaturedLabelColumns
from schemas.decision_reader import DecisionReader, ScoredColumns
from schemas.encode import encode_matured_labels
from schemas.labels import LabelDecoder
from schemas.records import encode_record
from schemas.registry import SchemaLookup
from schemas.validate import validate_labels

DECISIONS, LABELS = 0, 1
"""Topics, in the order that records of the same time have."""

HOUR_MS = 3_600_000
TICK_MS = 10_000
TICKS = HOUR_MS // TICK_MS

_SCORE_UNITS = 10**9  # scores are summed as integers: the sum does not depend on how blocks were cut
_LARGEST_SHIFT = 12.0

_ORDER, _OWN = 3 << 50, 4 << 50  # keys beside those of the label join
_LEARNER, _META, _MIX, _DRIFT, _WINDOWS, _DRIFTS, _FRAUDS = (_OWN + number for number in range(7))
_KEPT = _OWN + 16
_ECHO = SOURCES.index("rule")
_SERIES = ("score:model", "score:learner", "error:model", "error:learner")
_ON_FRAUDS = "-on-frauds"
_FRAUD_SERIES = tuple(f"error:{name}{_ON_FRAUDS}" for name in ("model", "learner"))


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
    rate_limit: RateLimit = RateLimit()  # noqa: RUF009 - frozen
    labels_before_combination: int = 50  # of each verdict; until then the learner's score is recorded and nothing more
    reference: Reference | None = None  # what the features of the decisions are watched against; None watches none


@dataclass(slots=True)
class LearningCounts:
    """What was learned from."""

    frauds: int = 0
    legitimate: int = 0
    echoes: int = 0  # labels by rules: counted, and go no further
    rejected_decisions: int = 0  # undecodable, or of another feature set
    rejected_labels: int = 0
    limited: int = 0  # labels beyond what their source may bring
    quarantined: int = 0
    rollbacks: int = 0
    resets: int = 0  # the learner's scores were no numbers any more: it was set back
    tick: int = -(2**40)  # of the newest event time
    model_scored: int = 0  # decisions that the model scored, and the sum of those scores in units of 1e-9
    model_score_sum: int = 0
    rate_factor: float = 1.0  # what drift multiplies the learner's steps by, as of the tick
    prior_shift: float | None = None  # log-odds of fraud among labels less that among decisions, as of the tick
    trained_from_ms: int = 2**62
    trained_to_ms: int = -(2**62)


@dataclass(slots=True)
class LearningStage:
    """Orders the records of both topics, joins labels with decisions, and learns from what matures.

    The learner's state is a function of the topics' contents alone: how records arrived, how they were cut into blocks
    and where a restart took the state up again leave no trace (see `StreamOrder` for the one exception).

    A correction is learned like a new label: the learner saw the row with the opposite verdict before. A label by a
    rule is the engine's own opinion: it teaches nothing, and stands in no other label's way. Scores and errors of model
    and learner are watched for drift (ADWIN, Page-Hinkley), errors on frauds also alone, and the features of the
    decisions against the reference, day by day of event time; drift makes the learner's steps larger for a while, by
    the rules of `drift.adapt`. Windows begin anew with another reference.

    Frauds are labelled more often than what is legitimate, so the mix of batch model and learner is learned at the
    labels' odds and applied at the stream's: `prior_shift` is the difference, taken anew every 10 s of event time from
    the share of frauds among the labels and the batch model's mean score over all decisions. That is exact where
    whether a transaction is labelled depends on its verdict alone (King and Zeng 2001,
    https://doi.org/10.1093/oxfordjournals.pan.a004868), and the batch model is calibrated on the whole.

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
    mix: ScoreMix = field(init=False)
    commands: CommandLog = field(init=False)
    kept: KeptStates = field(init=False)
    monitor: DriftMonitor = field(init=False)
    monitor_of_frauds: DriftMonitor = field(init=False)
    windows: FeatureWindows | None = field(init=False)
    drifts: list[DriftEvent] = field(init=False)  # those that still change how fast is learned
    _new_drifts: list[DriftEvent] = field(init=False)
    _matured: list[tuple[bytes, bytes]] = field(init=False)
    _limiter: SourceLimiter = field(init=False)
    _reference_sha256: str = field(init=False)
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
        mix = self.state.get(_MIX)
        self.mix = ScoreMix() if mix is None else ScoreMix.restore(mix)
        stored: dict[str, Any] = {} if meta is None else json.loads(meta)
        self.counts = LearningCounts(**{f.name: stored[f.name] for f in fields(LearningCounts) if f.name in stored})
        self.commands = CommandLog.from_json(stored["commands"]) if "commands" in stored else CommandLog()
        self.kept = KeptStates(self.state, _KEPT)
        drift = self.state.get(_DRIFT)
        self.monitor = DriftMonitor(_SERIES) if drift is None else DriftMonitor.restore(drift)
        of_frauds = self.state.get(_FRAUDS)
        self.monitor_of_frauds = (
            DriftMonitor(_FRAUD_SERIES, settings=FRAUDS_ALONE) if of_frauds is None else DriftMonitor.restore(of_frauds)
        )
        self._reference_sha256 = "" if settings.reference is None else settings.reference.sha256
        self.windows = self._restored_windows(stored.get("reference_sha256"))
        drifts = self.state.get(_DRIFTS)
        self.drifts = [] if drifts is None else [DriftEvent(**event) for event in json.loads(drifts)]
        self._new_drifts, self._matured = [], []
        self._limiter = SourceLimiter(settings.rate_limit)
        if "limiter" in stored:
            self._limiter.tokens[:], self._limiter.last_ms[:] = stored["limiter"]
        self._decisions = DecisionReader(settings.feature_set, len(settings.feature_names))
        self._labels = LabelDecoder(self.registry, settings.max_record_bytes)

    def _restored_windows(self, of_reference: str | None) -> FeatureWindows | None:
        reference, snapshot = self.settings.reference, self.state.get(_WINDOWS)
        if reference is None:
            return None
        if snapshot is None or of_reference != self._reference_sha256:
            return FeatureWindows(reference)
        return FeatureWindows.restore(reference, snapshot)

    def take(self, topic: int, partition: I32, offset: I64, timestamp_ms: I64, values: list[bytes | None]) -> None:
        """Take in records of DECISIONS or LABELS, each partition's in the order of its offsets."""
        self.order.add(topic, partition, offset, timestamp_ms, [value or b"" for value in values])
        self._learn_what_is_released()

    def take_drifts(self) -> list[DriftEvent]:
        """Return what was found to drift since the last call, in the order in which it was found."""
        found, self._new_drifts = self._new_drifts, []
        return found

    def take_matured(self) -> list[tuple[bytes, bytes]]:
        """Return keys and records of `matured_label.avsc` since the last call, in the order in which labels matured."""
        found, self._matured = self._matured, []
        return found

    def command(self, command: Command) -> None:
        """Take an operator's command in; it is followed at its place among the labels."""
        self.commands.add(command)
        self._save_meta()

    def skip_idle(self, now_ms: int, idle_ms: int) -> None:
        """Go on without silent partitions; see `StreamOrder.skip_idle`."""
        self.order.skip_idle(now_ms, idle_ms)
        self._learn_what_is_released()

    def publication(self) -> bytes:
        """Return the parameters as a record of `model_update.avsc`; its version is the number of labels seen."""
        parameters = self.learner.parameters()
        combination = self.mix.parameters() if self.is_combined else None
        has_learned = self.learner.labels_seen > 0
        return encode_record(
            "model_update",
            {
                "name": self.learner.name,
                "version": str(self.learner.labels_seen),
                "sha256": hashlib.sha256(parameters + (combination or b"")).hexdigest(),
                "parameters": parameters,
                "combination": combination,
                "labels_seen": self.learner.labels_seen,
                "trained_from_ms": self.counts.trained_from_ms if has_learned else None,
                "trained_to_ms": self.counts.trained_to_ms if has_learned else None,
                "metrics": self._metrics(),
            },
        )

    @property
    def is_combined(self) -> bool:
        """Whether both verdicts were labelled often enough for the learner to have a say."""
        return min(self.counts.frauds, self.counts.legitimate) >= self.settings.labels_before_combination

    @property
    def is_sound(self) -> bool:
        """Whether the learner's scores are numbers."""
        probe = np.zeros((2, len(self.settings.feature_names)), np.float32)
        probe[1] = 1.0
        return bool(np.isfinite(self.learner.predict_proba_many(probe)).all())

    def _metrics(self) -> dict[str, float]:
        metrics = {
            "frauds": float(self.counts.frauds),
            "legitimate": float(self.counts.legitimate),
            "corrections": float(self.join.counts.corrections),
            "limited": float(self.counts.limited),
            "quarantined": float(self.counts.quarantined),
            "rollbacks": float(self.counts.rollbacks),
            "resets": float(self.counts.resets),
            "prior_shift": self.counts.prior_shift or 0.0,
            "rate_factor": self.counts.rate_factor,
            "batch_weight": self.mix.batch_weight,
            "learner_weight": self.mix.learner_weight,
        }
        if self.windows is not None:
            metrics |= {
                "features_drifted": float(self.windows.drifted),
                "late_decisions": float(self.windows.late_rows),
                "future_decisions": float(self.windows.future_rows),
            }
        if self.mix.labels_seen:
            names = ("batch_log_loss", "stack_log_loss", "mix_log_loss")
            metrics |= dict(zip(names, (self.mix.log_loss / self.mix.labels_seen).tolist(), strict=True))
        return metrics

    def _learn_what_is_released(self) -> None:
        before = (self.learner, self.learner.labels_seen, self._meta())
        drifts = self.drifts
        run = None
        for run in self.order.release():
            if run.topic == DECISIONS:
                self._take_decisions(run)
            else:
                self._take_labels(run)
        if (self.learner, self.learner.labels_seen) != before[:2]:
            self.state.put(_LEARNER, self.learner.snapshot())
            self.state.put(_MIX, self.mix.snapshot())
            self.state.put(_FRAUDS, self.monitor_of_frauds.snapshot())
        if run is not None:
            self.state.put(_DRIFT, self.monitor.snapshot())
            if self.windows is not None:
                self.state.put(_WINDOWS, self.windows.snapshot())
        if self.drifts is not drifts:
            self.state.put(_DRIFTS, json.dumps([asdict(event) for event in self.drifts]).encode())
        if self._meta() != before[2]:
            self._save_meta()

    def _meta(self) -> dict[str, Any]:
        limiter = [self._limiter.tokens.tolist(), self._limiter.last_ms.tolist()]
        return {
            **asdict(self.counts),
            "commands": self.commands.to_json(),
            "limiter": limiter,
            "reference_sha256": self._reference_sha256,
        }

    def _save_meta(self) -> None:
        self.state.put(_META, json.dumps(self._meta()).encode())

    def _take_decisions(self, run: Run) -> None:
        scored, rows, rejected = self._decisions.decode([*run.values])
        self.counts.rejected_decisions += len(rejected)
        if len(scored) == 0:
            return
        record_time_ms = run.timestamp_ms[rows]
        ticks = np.maximum.accumulate(np.maximum(scored.event_time_ms // TICK_MS, self.counts.tick))
        # At the first decision of a tick, wherever a block was cut.
        starts = np.flatnonzero(np.diff(ticks, prepend=self.counts.tick) > 0).tolist()
        for start, end in zip([0, *starts], [*starts, len(scored)], strict=True):
            if start == end:
                continue
            before, tick = self.counts.tick, int(ticks[start])
            if tick > before:
                self.counts.tick = tick
                self.counts.prior_shift = self._prior_shift()
                self.counts.rate_factor = self._rate_factor(tick * TICK_MS)
                self._set_back_if_broken()
                if tick // TICKS > before // TICKS:
                    if self.learner.labels_seen:
                        self.kept.keep(self.learner.labels_seen, self.learner.snapshot(), self.mix.snapshot())
                    self.join.expire(tick // TICKS * HOUR_MS)
            self._note_scores(scored.model_score[start:end])
            self._watch("score:model", scored.model_score[start:end], scored.event_time_ms[start:end])
            self._watch("score:learner", scored.learner_score[start:end], scored.event_time_ms[start:end])
            if self.windows is not None:
                times = scored.event_time_ms[start:end], record_time_ms[start:end]
                self._note_drifts(self.windows.update_many(scored.features[start:end], *times))
            self._learn(self.join.take_decisions(_rows(scored, start, end)))

    def _watch(self, series: str, values: F32 | F64, time_ms: I64) -> None:
        known = np.isfinite(values)
        self._note_drifts(self.monitor.update_series(series, values[known], time_ms[known]))

    def _note_drifts(self, found: list[DriftEvent]) -> None:
        if not found:
            return
        self.drifts = remembered(self.drifts, found)
        self._new_drifts += found

    def _rate_factor(self, now_ms: int) -> float:
        if not all(still_matters(event, now_ms) for event in self.drifts):
            self.drifts = [event for event in self.drifts if still_matters(event, now_ms)]
        return max(adapt(self.drifts, now_ms, ("learner", f"learner{_ON_FRAUDS}")).rate_factor.values())

    def _note_scores(self, model_score: F32) -> None:
        known = model_score[np.isfinite(model_score)].astype(np.float64)
        self.counts.model_scored += len(known)
        self.counts.model_score_sum += int(np.rint(known * _SCORE_UNITS).astype(np.int64).sum())

    def _prior_shift(self) -> float | None:
        counts = self.counts
        if counts.model_scored == 0:
            return None
        share = counts.model_score_sum / _SCORE_UNITS / counts.model_scored
        share = min(max(share, 1e-6), 1 - 1e-6)
        # One fraud and one legitimate label more than there were: a few labels say little.
        shift = math.log((counts.frauds + 1) / (counts.legitimate + 1)) - math.log(share / (1 - share))
        return min(max(shift, -_LARGEST_SHIFT), _LARGEST_SHIFT)

    def _take_labels(self, run: Run) -> None:
        for start, end, command in self.commands.split(run.timestamp_ms):
            if end > start:
                self._take_label_rows(Run(run.topic, run.values[start:end], run.timestamp_ms[start:end]))
            if command is None:
                continue
            if command.action == "rollback":
                self.counts.rollbacks += 1
                self._set_back(command.labels_seen)
            else:
                self.commands.follow(command)

    def _set_back_if_broken(self) -> None:
        if not self.is_sound:
            self.counts.resets += 1
            # The newest kept state was sound when it was kept.
            self._set_back(self.learner.labels_seen)

    def _set_back(self, labels_seen: int) -> None:
        factory = ALL_LEARNERS[self.settings.learner]
        found = self.kept.back_to(labels_seen)
        if found is None:
            self.learner, self.mix = factory(self.settings.feature_names, self.settings.seed), ScoreMix()
        else:
            self.learner, self.mix = factory.restore(found[0]), ScoreMix.restore(found[1])

    def _take_label_rows(self, run: Run) -> None:
        labels, rows, rejected = self._labels.decode([*run.values])
        invalid = validate_labels(labels, run.timestamp_ms[rows], self.settings.max_future_ms)
        self.counts.rejected_labels += len(rejected) + len(invalid)
        is_kept = np.ones(len(rows), np.bool_)
        is_kept[[r.row for r in invalid]] = False
        is_quarantined = is_kept & self.commands.is_quarantined(labels.source)
        self.counts.quarantined += int(is_quarantined.sum())
        is_kept &= ~is_quarantined
        is_admitted = self._limiter.admit(labels.source[is_kept], run.timestamp_ms[rows][is_kept])
        self.counts.limited += int((~is_admitted).sum())
        is_kept[np.flatnonzero(is_kept)[~is_admitted]] = False
        is_echo = is_kept & (labels.source == _ECHO)
        self.counts.echoes += int(is_echo.sum())
        is_kept &= ~is_echo
        if not is_kept.all():
            labels = labels.take(is_kept)
        if len(labels):
            self._learn(self.join.take_labels(labels))

    def _learn(self, matured: MaturedColumns) -> None:
        if len(matured) == 0:
            return
        records = encode_matured_labels(_published(matured))
        self._matured += [(matured.account_id.bytes_at(i) or b"", value) for i, value in enumerate(records)]
        # Of a label that counts twice the learner takes about twice the step.
        weight = np.full(len(matured), self.counts.rate_factor, np.float32)
        self.learner.learn_many(matured.features, matured.is_fraud, weight)
        for name, score in (("model", matured.model_score), ("learner", matured.learner_score)):
            errors = squared_error(matured.is_fraud, score)
            self._watch(f"error:{name}", errors, matured.label_time_ms)
            frauds = matured.is_fraud & np.isfinite(score)
            self._note_drifts(
                self.monitor_of_frauds.update_series(
                    f"error:{name}{_ON_FRAUDS}",
                    squared_error(matured.is_fraud[frauds], score[frauds]),
                    matured.label_time_ms[frauds],
                )
            )
        if self.counts.prior_shift is not None:
            taught = np.isfinite(matured.model_score)
            self.mix.learn_many(
                matured.model_score[taught], matured.learner_score[taught], matured.is_fraud[taught],
                self.counts.prior_shift,
            )  # fmt: skip
        self.counts.frauds += int(matured.is_fraud.sum())
        self.counts.legitimate += int((~matured.is_fraud).sum())
        self.counts.trained_from_ms = min(self.counts.trained_from_ms, int(matured.event_time_ms.min()))
        self.counts.trained_to_ms = max(self.counts.trained_to_ms, int(matured.event_time_ms.max()))


def _published(matured: MaturedColumns) -> MaturedLabelColumns:
    return MaturedLabelColumns(**{f.name: getattr(matured, f.name) for f in fields(MaturedLabelColumns)})


def _rows(scored: ScoredColumns, start: int, end: int) -> ScoredColumns:
    return scored if end - start == len(scored) else scored.take(slice(start, end))
