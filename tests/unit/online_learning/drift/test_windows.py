"""Windows against a reference: what moves is found, what does not is left alone, whatever the blocks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.drift_reference import Reference, smoothed_shares, stability_terms
from online_learning.drift.event import DriftEvent
from online_learning.drift.windows import FeatureWindows, WindowSettings
from schemas.columns import F32
from tests.unit.online_learning.drift.feature_streams import DAY_MS, NAMES, a_reference, rows_of_days

REFERENCE = a_reference()
HOUR_MS = 3_600_000


def brief(events: list[DriftEvent]) -> list[tuple[str, str, str]]:
    return [(event.name, event.detector, event.severity) for event in events]


def test_quiet_days_raise_no_more_alarms_than_three_sigmas_promise() -> None:
    windows = FeatureWindows(REFERENCE)
    events = windows.update_many(*rows_of_days(20, 1_500, seed=9, first_day=10)) + windows.flush()
    assert {event.detector for event in events} <= {"three_sigma"}
    assert {event.severity for event in events} <= {"minor", "none"}
    assert sum(event.severity == "minor" for event in events) <= 2  # 80 tests, each wrong with 0.3 %


def test_each_change_of_severity_is_told_once() -> None:
    windows = FeatureWindows(REFERENCE)
    X, times = rows_of_days(8, 1_500, seed=9, first_day=10)
    day = times // DAY_MS - 10
    X[(day >= 2) & (day < 6), 0] *= 5
    events = windows.update_many(X, times) + windows.flush()
    assert brief(events) == [
        ("amount", "population_stability", "major"),
        ("amount", "three_sigma", "major"),
        ("amount", "population_stability", "none"),
        ("amount", "three_sigma", "none"),
    ]
    begin, end = events[0], events[2]
    assert (begin.since_ms, begin.detected_ms) == (12 * DAY_MS, 13 * DAY_MS)
    assert (end.since_ms, end.detected_ms) == (16 * DAY_MS, 17 * DAY_MS)
    assert begin.current_value == pytest.approx(5 * REFERENCE.mean[0], rel=0.2)
    assert begin.reference_value == REFERENCE.mean[0]
    assert begin.statistic > begin.threshold >= 0.1
    assert begin.rows == np.sum(day == 2)
    assert "above" in begin.explanation


def test_values_that_go_missing_are_drift() -> None:
    windows = FeatureWindows(REFERENCE)
    X, times = rows_of_days(2, 1_500, seed=9, first_day=10)
    X[:, 0] = np.nan
    events = windows.update_many(X, times) + windows.flush()
    assert brief(events) == [("amount", "population_stability", "major")]
    assert events[0].current_value is None
    assert events[0].explanation.startswith("missing: 9")


def test_a_feature_without_a_value_in_the_reference_is_not_judged() -> None:
    X, times = rows_of_days(5, 1_000)
    X[:, 0] = np.nan
    windows = FeatureWindows(Reference.of(NAMES, X, times))
    now, now_times = rows_of_days(3, 1_000, seed=4, first_day=10)
    assert [e for e in windows.update_many(now, now_times) + windows.flush() if e.name == "amount"] == []


def test_a_constant_that_moves_is_drift() -> None:
    windows = FeatureWindows(REFERENCE)
    X, times = rows_of_days(1, 1_500, seed=9, first_day=10)
    X[:, 3] = 6.5
    events = windows.update_many(X, times) + windows.flush()
    assert brief(events) == [("constant", "population_stability", "major"), ("constant", "three_sigma", "major")]
    assert events[1].statistic == 999.0


def test_what_differs_from_day_to_day_by_itself_is_no_drift() -> None:
    X, times = rows_of_days(6, 1_000)
    X[:, 0] = times // DAY_MS % 2
    windows = FeatureWindows(Reference.of(NAMES, X, times))
    later, later_times = rows_of_days(4, 1_000, seed=3, first_day=20)
    later[:, 0] = later_times // DAY_MS % 2
    assert windows.update_many(later, later_times) + windows.flush() == []


def test_scores_may_be_watched_like_features() -> None:
    X, times = rows_of_days(5, 1_000)
    reference = Reference.of(("score:batch",), X[:, :1], times)
    windows = FeatureWindows(reference)
    events = windows.update_many(X[:, :1] * 9, times) + windows.flush()
    assert {(event.subject, event.name) for event in events} == {("score", "batch")}


def test_a_window_of_few_rows_is_not_judged() -> None:
    windows = FeatureWindows(REFERENCE)
    X, times = rows_of_days(1, 499, first_day=10)
    assert windows.update_many(X * 100, times) + windows.flush() == []


def test_late_rows_are_counted_and_left_out() -> None:
    windows = FeatureWindows(REFERENCE, WindowSettings(lateness_ms=HOUR_MS))
    X, _ = rows_of_days(1, 4)
    windows.update_many(X, np.array([0, DAY_MS + HOUR_MS - 1, DAY_MS - 1, DAY_MS + HOUR_MS]))
    assert windows.late_rows == 0
    windows.update_many(X[:2], np.array([DAY_MS - 1, DAY_MS]))
    assert windows.late_rows == 1


def oracle_stability(
    reference: Reference, X: np.ndarray, times: np.ndarray, s: WindowSettings
) -> dict[int, list[float]]:
    """Return the stability index of every judged window, by a loop over rows that keeps them all."""
    newest = -(2**62)
    by_window: dict[int, list[F32]] = {}
    for row, time in zip(X, times.tolist(), strict=True):
        newest = max(newest, time)
        number = time // reference.window_ms
        if (number + 1) * reference.window_ms + s.lateness_ms > newest:
            by_window.setdefault(number, []).append(row)
    found = {}
    for number, rows in by_window.items():
        if len(rows) >= s.min_rows:
            counts = np.zeros(reference.shares.shape)
            for row in rows:
                for j, x in enumerate(row.tolist()):
                    edges = reference.edges[j, : int(reference.bins[j]) - 1]
                    counts[j, -1 if np.isnan(x) else int(np.sum(edges < x))] += 1
            terms = stability_terms(smoothed_shares(counts, reference.bins), reference.shares)
            found[number] = terms.sum(axis=1).tolist()
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 400), max_size=5), st.sampled_from([0, HOUR_MS, 2 * DAY_MS]))
def test_windows_are_those_of_a_naive_loop_whatever_blocks_and_restarts(seed: int, at: list[int], late_ms: int) -> None:
    s = WindowSettings(lateness_ms=late_ms, min_rows=20)
    rng = np.random.default_rng(seed)
    X, times = rows_of_days(6, 60, seed=seed, first_day=10)
    X[times // DAY_MS % 2 == 0, 0] *= 20  # on every other day, so that each window is told
    times = times + rng.integers(-20 * HOUR_MS, 1, len(times))  # out of order, some of them late
    whole = FeatureWindows(REFERENCE, s)
    expected = whole.update_many(X, times)
    piecewise, events = FeatureWindows(REFERENCE, s), []
    bounds = sorted({0, len(X), *(cut for cut in at if cut < len(X))})
    for start, end in pairwise(bounds):
        piecewise = FeatureWindows.restore(REFERENCE, piecewise.snapshot())
        events += piecewise.update_many(X[start:end], times[start:end])
    assert piecewise.snapshot() == whole.snapshot()
    assert events == expected
    events += piecewise.flush()
    stability = oracle_stability(REFERENCE, X, times, s)
    assert stability
    for event in events:
        if event.detector == "population_stability":
            number = event.detected_ms // DAY_MS - 1
            assert event.statistic == pytest.approx(stability[number][NAMES.index(event.name)], rel=1e-9)
    # A change is told in the window where it happens, and in no other.
    told = {event.detected_ms // DAY_MS - 1 for event in events if event.name == "amount"}
    assert told <= set(stability)


def test_a_snapshot_of_another_reference_is_refused() -> None:
    X, times = rows_of_days(2, 100)
    other = Reference.of(NAMES[:2], X[:, :2], times)
    with pytest.raises(ValueError, match="begin anew"):
        FeatureWindows.restore(other, FeatureWindows(REFERENCE).snapshot())


def test_memory_does_not_grow_with_the_stream() -> None:
    windows = FeatureWindows(REFERENCE)
    before = windows.memory_bytes
    windows.update_many(*rows_of_days(30, 200, first_day=50))
    assert windows.memory_bytes == before < 1_000 * len(NAMES)
    assert len(windows.snapshot()) < 2 * before + 2_000


def test_rows_of_other_features_are_refused() -> None:
    X, times = rows_of_days(1, 10)
    with pytest.raises(ValueError, match="expected"):
        FeatureWindows(REFERENCE).update_many(X[:, :2], times)


def test_rows_from_the_future_are_left_out_and_counted() -> None:
    windows = FeatureWindows(REFERENCE, WindowSettings(lateness_ms=HOUR_MS))
    X, times = rows_of_days(2, 700, first_day=10)
    told = times.copy()
    told[[5, 900]] += [400 * DAY_MS, HOUR_MS + 1]
    told[6] = times[6] + HOUR_MS  # as far ahead as is allowed
    windows.update_many(X, told, times)
    plain = FeatureWindows(REFERENCE, WindowSettings(lateness_ms=HOUR_MS))
    kept = np.ones(len(X), np.bool_)
    kept[[5, 900]] = False
    plain.update_many(X[kept], told[kept])
    assert (windows.future_rows, plain.future_rows) == (2, 0)
    assert windows.flush() == plain.flush()
