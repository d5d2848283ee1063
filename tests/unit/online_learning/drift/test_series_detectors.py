"""ADWIN and Page-Hinkley: River's alarms, whatever the blocks and restarts, and where the change began."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift as river

from online_learning.drift.adwin import Adwin, AdwinSettings
from online_learning.drift.page_hinkley import PageHinkley, PageHinkleySettings
from online_learning.learners.errors import SnapshotError
from schemas.columns import F64

# Three levels in turn, each for some rows: series with changes that are found, and series without.
levels = st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(1, 700)), min_size=1, max_size=4)
cuts = st.lists(st.integers(0, 2_800), max_size=6)
detectors = pytest.mark.parametrize("make", [Adwin, lambda: PageHinkley(PageHinkleySettings(threshold=5.0))])


def a_series(parts: list[tuple[float, int]], seed: int = 0) -> F64:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.beta(1 + 5 * level, 6 - 5 * level, rows) for level, rows in parts])


def alarms_of(detector: Any, series: F64) -> list[int]:
    found = []
    for i, x in enumerate(series.tolist()):
        detector.update(x)
        if detector.drift_detected:
            found.append(i)
    return found


@settings(max_examples=60, deadline=None)
@given(levels, st.integers(0, 99), st.sampled_from([0.002, 0.05, 0.5]), st.sampled_from([1, 8, 32]))
def test_adwin_is_rivers(parts: list[tuple[float, int]], seed: int, delta: float, clock: int) -> None:
    series = a_series(parts, seed)
    oracle = river.ADWIN(delta=delta, clock=clock)
    ours = Adwin(AdwinSettings(delta=delta, clock=clock))
    found = ours.update_many(series, np.arange(len(series)))
    assert [d.row for d in found] == alarms_of(oracle, series)
    assert ours.width == oracle.width
    assert ours.estimation == oracle.estimation
    assert ours.drift_detected == oracle.drift_detected


@settings(max_examples=60, deadline=None)
@given(levels, st.integers(0, 99), st.sampled_from([1.0, 5.0, 50.0]), st.sampled_from([0.0, 0.005, 0.1]))
def test_page_hinkley_is_rivers(parts: list[tuple[float, int]], seed: int, threshold: float, delta: float) -> None:
    series = a_series(parts, seed)
    oracle = river.PageHinkley(threshold=threshold, delta=delta)
    ours = PageHinkley(PageHinkleySettings(threshold=threshold, delta=delta))
    found = ours.update_many(series, np.arange(len(series)))
    assert [d.row for d in found] == alarms_of(oracle, series)
    assert ours.drift_detected == oracle.drift_detected


@detectors
@settings(max_examples=25, deadline=None)
@given(parts=levels, at=cuts)
def test_blocks_and_restarts_leave_no_trace(make: Any, parts: list[tuple[float, int]], at: list[int]) -> None:
    series = a_series(parts)
    times = np.arange(len(series)) * 1_000
    whole = make()
    expected = whole.update_many(series, times)
    piecewise = make()
    found = []
    bounds = sorted({0, len(series), *(cut for cut in at if cut < len(series))})
    for start, end in pairwise(bounds):
        piecewise = type(piecewise).restore(piecewise.snapshot())
        part = piecewise.update_many(series[start:end], times[start:end])
        found += [(start + d.row, d.since_ms, d.reference_value, d.current_value, d.statistic) for d in part]
    assert found == [(d.row, d.since_ms, d.reference_value, d.current_value, d.statistic) for d in expected]
    assert piecewise.snapshot() == whole.snapshot()


@detectors
def test_an_alarm_says_since_when_and_from_what_to_what(make: Any) -> None:
    rng = np.random.default_rng(5)
    series = np.concatenate([rng.uniform(0.0, 0.2, 2_000), rng.uniform(0.6, 0.8, 400)])
    first = make().update_many(series, 10_000 + np.arange(len(series)))[0]
    assert 2_000 <= first.row < 2_064
    assert first.detected_ms == 10_000 + first.row
    assert 11_950 <= first.since_ms <= 12_010
    assert first.reference_value == pytest.approx(0.1, abs=0.02)
    assert 0.3 < first.current_value < 0.8
    assert first.statistic > first.threshold > 0


@detectors
def test_the_mean_may_fall_as_well(make: Any) -> None:
    series = np.repeat([0.9, 0.1], 1_000)
    first = make().update_many(series, np.arange(2_000))[0]
    assert first.row >= 1_000
    assert first.current_value < first.reference_value


@detectors
def test_values_that_are_not_finite_are_left_out(make: Any) -> None:
    series = a_series([(0.1, 400), (0.9, 400)])
    holes = np.insert(series, [0, 100, 450], [np.nan, np.inf, -np.inf])
    plain, with_holes = make(), make()
    expected = [d.current_value for d in plain.update_many(series, np.zeros(len(series), np.int64))]
    found = [d.current_value for d in with_holes.update_many(holes, np.zeros(len(holes), np.int64))]
    assert found == expected != []
    assert with_holes.snapshot() == plain.snapshot()


@detectors
def test_columns_of_different_lengths_and_damaged_snapshots_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        make().update_many(np.zeros(3), np.zeros(2, np.int64))
    snapshot = bytearray(make().snapshot())
    snapshot[-9] ^= 1
    with pytest.raises(SnapshotError):
        type(make()).restore(bytes(snapshot))


def test_memory_does_not_grow_with_the_stream() -> None:
    detector = Adwin()
    empty = len(detector.snapshot())
    rng = np.random.default_rng(1)
    for _ in range(5):
        detector.update_many(rng.uniform(size=200_000), np.zeros(200_000, np.int64))
    assert abs(len(detector.snapshot()) - empty) < 16  # the header's digits may differ
