"""The learning stage watches scores and features: the same events, whatever the cuts and restarts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from models.features.drift_reference import Reference
from models.state_map import MemoryState
from online_learning.drift.event import DriftEvent
from online_learning.drift.windows import FeatureWindows
from online_learning.learning_stage import DECISIONS, LABELS, LearningSettings, LearningStage
from schemas.columns import I64
from schemas.encode import encode_decisions, encode_labels
from schemas.records import decode_record, encode_record
from tests.builders import a_label, label_columns
from tests.ledger import decision_columns

SETTINGS = LearningSettings(FEATURE_SET, FEATURE_NAMES, 1, 1)
START_MS = 1_700_000_000_000
N = 3_000


def told(size: int, restarts: bool, is_shifted: bool) -> tuple[list[DriftEvent], LearningStage]:
    """Feed decisions one a second, whose model score rises fourfold in the middle; return events and stage."""
    rng = np.random.default_rng(5)
    times = START_MS + 1_000 * np.arange(N)
    scores = rng.uniform(0.05, 0.15, N).astype(np.float32)
    if is_shifted:
        scores[N // 2 :] *= 4
    X = rng.normal(size=(N, len(FEATURE_NAMES))).astype(np.float32)
    columns = replace(
        decision_columns([f"t{i}" for i in range(N)], START_MS, X), model_score=scores, event_time_ms=times
    )
    values = encode_decisions(columns)
    state = MemoryState()
    stage = LearningStage(SETTINGS, state)
    events: list[DriftEvent] = []
    last = encode_labels(label_columns([a_label(transaction_id="nobody", label_time_ms=START_MS)]))
    zero = np.zeros(1, np.int32)
    stage.take(LABELS, zero, np.zeros(1, np.int64), np.array([times[-1] + 10]), [*last])
    for start in range(0, N, size):
        n = min(size, N - start)
        stage.take(
            DECISIONS, np.zeros(n, np.int32), np.arange(start, start + n), times[start : start + n],
            [*values[start : start + n]],
        )  # fmt: skip
        events += stage.take_drifts()
        if restarts:
            stage = LearningStage(SETTINGS, state)
    return events, stage


def test_a_score_that_moves_is_told_and_quickens_learning() -> None:
    events, stage = told(N, restarts=False, is_shifted=True)
    first = next(event for event in events if event.name == "model")
    middle = START_MS + 1_000 * (N // 2)
    assert (first.subject, first.severity) == ("score", "major")
    assert middle < first.detected_ms < middle + 300_000
    assert 1.4 < stage.counts.rate_factor <= 1.5


def test_a_score_that_stays_is_not_told() -> None:
    events, stage = told(N, restarts=False, is_shifted=False)
    assert [event for event in events if event.subject == "score" and event.name == "model"] == []
    assert stage.counts.rate_factor == 1.0


@pytest.mark.parametrize("size", [97, 1_000])
def test_cuts_and_restarts_leave_no_trace(size: int) -> None:
    whole, cut = told(N, restarts=False, is_shifted=True), told(size, restarts=True, is_shifted=True)
    assert whole[0] == cut[0]
    assert whole[1].counts == cut[1].counts
    assert whole[1].monitor.snapshot() == cut[1].monitor.snapshot()


def judged(missed_from: int, size: int, restarts: bool) -> tuple[list[DriftEvent], LearningStage]:
    """Feed 600 decisions with scores and labels; frauds score 0.8, those from the row `missed_from` on 0.1."""
    n = 600
    times = START_MS + 60_000 * np.arange(n)
    is_fraud = np.arange(n) % 3 == 0
    score = np.where(is_fraud & (np.arange(n) < missed_from), 0.8, 0.1).astype(np.float32)
    X = np.random.default_rng(3).normal(size=(n, len(FEATURE_NAMES))).astype(np.float32)
    columns = replace(
        decision_columns([f"t{i}" for i in range(n)], START_MS, X),
        model_score=score, learner_score=score, event_time_ms=times,
    )  # fmt: skip
    labels = [
        a_label(
            transaction_id=f"t{i}", event_time_ms=int(times[i]), label_time_ms=int(times[i]), is_fraud=bool(is_fraud[i])
        )
        for i in range(n)
    ]
    values = {DECISIONS: [*encode_decisions(columns)], LABELS: [*encode_labels(label_columns(labels))]}
    state = MemoryState()
    stage, events = LearningStage(SETTINGS, state), []
    for start in range(0, n, size):
        rows = np.arange(start, min(start + size, n))
        for topic, some in values.items():
            stage.take(
                topic, np.zeros(len(rows), np.int32), rows, times[rows] + topic, [some[row] for row in rows.tolist()]
            )
        events += stage.take_drifts()
        if restarts:
            state = state.copy()
            stage = LearningStage(SETTINGS, state)
    return events, stage


def test_frauds_that_are_missed_are_told_after_a_few_labels_and_quicken_learning() -> None:
    events, stage = judged(missed_from=450, size=600, restarts=False)
    found = [event for event in events if event.name == "learner-on-frauds"]
    assert {(event.severity, event.is_rising) for event in found} == {("major", True)}
    assert {event.detector for event in found} == {"adwin", "page_hinkley"}
    assert 450 < (found[0].detected_ms - START_MS) / 60_000 < 450 + 3 * 12  # every third is a fraud
    assert stage.counts.rate_factor > 3.0
    cut, restored = judged(missed_from=450, size=37, restarts=True)
    assert [event for event in cut if event.name == "learner-on-frauds"] == found
    assert restored.monitor_of_frauds.snapshot() == stage.monitor_of_frauds.snapshot()
    assert restored.learner.snapshot() == stage.learner.snapshot()


def test_frauds_that_are_found_are_not_told() -> None:
    events, _ = judged(missed_from=600, size=600, restarts=False)
    assert [event for event in events if event.name.endswith("-on-frauds")] == []


DAY_MS = 86_400_000
HOUR_MS = 3_600_000
RNG = np.random.default_rng(8)
REFERENCE = Reference.of(
    FEATURE_NAMES,
    RNG.normal(size=(6_000, len(FEATURE_NAMES))).astype(np.float32),
    START_MS + RNG.integers(0, 5 * DAY_MS, 6_000),
)
WATCHING = replace(SETTINGS, reference=REFERENCE)
MOVED = FEATURE_NAMES.index("device_count_1d")


@dataclass(frozen=True)
class Days:
    """Encoded decisions of four days, the feature MOVED shifted from the third on, and when each was written."""

    values: list[bytes]
    record_ms: I64


def days(stray: dict[int, int]) -> Days:
    """Make the decisions; `stray` sets the event time of some of them."""
    rng = np.random.default_rng(6)
    first_day = START_MS // DAY_MS + 10
    n = 4 * 600
    times = first_day * DAY_MS + np.sort(rng.integers(0, 4 * DAY_MS, n))
    X = rng.normal(size=(n, len(FEATURE_NAMES))).astype(np.float32)
    X[times >= (first_day + 2) * DAY_MS, MOVED] += 2
    told_ms = times.copy()
    for row, event_ms in stray.items():
        told_ms[row] = event_ms
    columns = replace(decision_columns([f"t{i}" for i in range(n)], START_MS, X), event_time_ms=told_ms)
    return Days([*encode_decisions(columns)], times + 1_000)


def found_in(
    some: Days, cuts: list[int], restarts: bool, asked: LearningSettings = WATCHING
) -> tuple[list[DriftEvent], LearningStage]:
    """Feed decisions cut into blocks, the labels' partition being far ahead; return what features were told of."""
    state = MemoryState()
    stage = LearningStage(asked, state)
    zero, n = np.zeros(1, np.int32), len(some.values)
    nobody = encode_labels(label_columns([a_label(transaction_id="nobody", label_time_ms=START_MS)]))
    stage.take(LABELS, zero, np.zeros(1, np.int64), some.record_ms[-1:] + DAY_MS, [*nobody])
    events: list[DriftEvent] = []
    for start, end in pairwise([0, *sorted(cut for cut in set(cuts) if cut < n), n]):
        if start == end:
            continue
        rows = np.arange(start, end)
        stage.take(
            DECISIONS, np.zeros(len(rows), np.int32), rows, some.record_ms[start:end], some.values[start:end]
        )  # fmt: skip
        events += [event for event in stage.take_drifts() if event.subject == "feature"]
        if restarts:
            state = state.copy()
            stage = LearningStage(asked, state)
    return events, stage


def test_a_feature_that_moves_is_told_by_name_how_much_and_since_when() -> None:
    events, stage = found_in(days({}), [], restarts=False)
    third_day = (START_MS // DAY_MS + 12) * DAY_MS
    moved = [event for event in events if event.name == "device_count_1d"]
    assert {event.detector for event in moved} == {"population_stability", "three_sigma"}
    assert {event.severity for event in moved} == {"major"}
    assert {event.since_ms for event in moved} == {third_day}
    assert {event.detected_ms for event in moved} == {third_day + DAY_MS}
    assert moved[0].current_value == pytest.approx(2.0, abs=0.2)
    assert moved[0].reference_value == pytest.approx(0.0, abs=0.1)
    decode_record(encode_record("drift", moved[0].as_record()), name="drift")
    others = {event.name for event in events} - {"device_count_1d"}
    assert len(others) <= 4  # of 300 tests by three sigmas, each wrong with 0.3 %
    assert stage._metrics()["features_drifted"] >= 1
    assert 1.0 < stage.counts.rate_factor <= 1.5


def test_without_a_reference_no_feature_is_watched() -> None:
    events, stage = found_in(days({}), [], restarts=False, asked=SETTINGS)
    assert events == []
    assert stage.windows is None
    assert "features_drifted" not in stage._metrics()


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 2_400), max_size=12), st.dictionaries(st.integers(0, 2_399), st.integers(-5, 40)))
def test_features_are_told_of_alike_whatever_the_cuts_and_restarts(cuts: list[int], stray: dict[int, int]) -> None:
    some = days({row: int(START_MS + day * DAY_MS) for row, day in stray.items()})
    expected, whole = found_in(some, [], restarts=False)
    events, stage = found_in(some, cuts, restarts=True)
    assert events == expected
    assert stage.windows is not None
    assert whole.windows is not None
    assert stage.windows.snapshot() == whole.windows.snapshot()
    assert stage.counts == whole.counts


def test_event_times_of_the_future_close_no_window() -> None:
    quiet, _ = found_in(days({}), [], restarts=False)
    some = days({100: START_MS + 400 * DAY_MS, 700: START_MS + 15 * DAY_MS})
    events, stage = found_in(some, [], restarts=False)
    assert stage.windows is not None
    assert (stage.windows.future_rows, stage.windows.late_rows) == (2, 0)
    assert [(e.name, e.detector, e.severity) for e in events] == [(e.name, e.detector, e.severity) for e in quiet]


def test_another_reference_begins_the_windows_anew() -> None:
    some, state = days({}), MemoryState()
    stage = LearningStage(WATCHING, state)
    rows = np.arange(600)
    stage.take(LABELS, np.zeros(1, np.int32), np.zeros(1, np.int64), some.record_ms[-1:], [b"junk"])
    stage.take(DECISIONS, np.zeros(600, np.int32), rows, some.record_ms[:600], some.values[:600])
    assert stage.windows is not None
    assert LearningStage(WATCHING, state).windows.snapshot() == stage.windows.snapshot()  # type: ignore[union-attr]
    other = Reference.of(FEATURE_NAMES, np.ones((10, len(FEATURE_NAMES)), np.float32), np.zeros(10, np.int64))
    anew = LearningStage(replace(WATCHING, reference=other), state).windows
    assert anew is not None
    assert anew.snapshot() == FeatureWindows(other).snapshot()
    assert LearningStage(SETTINGS, state).windows is None
