"""Predict then learn, with the real delay: equal to a naive loop, and measured as defined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.metrics import average_precision
from online_learning.evaluate.contestant import Frozen, Learning
from online_learning.evaluate.measures import DAY_MS, Judged, by_pattern, by_week, calibration, measure
from online_learning.evaluate.prequential import StoredFeatures, prequential_scores
from online_learning.evaluate.timeline import NEVER
from schemas.columns import F32, Bool


class CountingLearner:
    """Remembers every row it learned; its score depends on all of them and on their order."""

    def __init__(self) -> None:
        self.learned: list[tuple[float, bool]] = []

    def predict_proba_many(self, X: F32) -> F32:
        state = hash(tuple(self.learned)) % 1_000 / 1_000
        return np.asarray((X[:, 0] + state) / 2, np.float32)

    def learn_many(self, X: F32, y: Bool, weight: F32 | None = None) -> None:
        self.learned += list(zip(X[:, 0].tolist(), y.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), st.integers(1, 60))), max_size=50), st.integers(1, 8))
def test_scores_are_those_of_a_naive_loop(stream: list[tuple[int, int | None]], block_rows: int) -> None:
    n = len(stream)
    event = np.cumsum([gap for gap, _ in stream], dtype=np.int64)
    label = np.array(
        [NEVER if d is None else t + d for t, (_, d) in zip(event.tolist(), stream, strict=True)], np.int64
    )
    rng = np.random.default_rng(n)
    X, fraud = rng.random((n, 2), np.float32), rng.random(n) < 0.3
    ours, oracle = CountingLearner(), CountingLearner()
    contestants = {"learning": Learning(ours), "frozen": Frozen(lambda X: X[:, 1])}
    done: list[int] = []
    found = prequential_scores(
        StoredFeatures(X), contestants, event, label, fraud, block_rows, block_ms=1, advance=done.append
    )
    expected = np.full(n, np.nan)
    told: set[int] = set()
    start = 0
    while start < n:
        due = [row for row in range(start) if label[row] <= event[start] and row not in told]
        due.sort(key=lambda row: (label[row], row))
        told.update(due)
        if due:
            oracle.learn_many(X[due], fraud[due])
        stop = start
        while stop < n and event[stop] == event[start] and stop - start < block_rows:
            stop += 1
        expected[start:stop] = oracle.predict_proba_many(X[start:stop])
        start = stop
    np.testing.assert_array_equal(found["learning"], expected)
    np.testing.assert_array_equal(found["frozen"], X[:, 1].astype(np.float64))
    assert sum(done) == n


def a_judged(n: int = 400) -> tuple[Judged, np.ndarray]:
    rng = np.random.default_rng(4)
    fraud = rng.random(n) < 0.2
    pattern = tuple(np.where(fraud, np.where(rng.random(n) < 0.5, "card_testing", "cycle"), "legitimate").tolist())
    times = 100 * DAY_MS + np.sort(rng.integers(0, 16 * DAY_MS, n))
    return Judged(fraud, rng.integers(0, 50, n), times, pattern), np.clip(0.5 * fraud + rng.random(n) / 2, 0, 1)


def test_measures_of_all_are_those_of_the_handbook_and_of_calibration() -> None:
    judged, score = a_judged()
    found = measure(judged, score)
    assert (found.transactions, found.frauds) == (400, int(judged.is_fraud.sum()))
    assert found.average_precision == average_precision(judged.is_fraud, score)
    assert found.auc_roc > 0.9
    assert found.brier == pytest.approx(np.mean((score - judged.is_fraud) ** 2))
    assert found.calibration_error == calibration(judged, score).expected_calibration_error > 0


def test_weeks_are_seven_days_and_hold_every_transaction() -> None:
    judged, score = a_judged()
    weeks = by_week(judged, score)
    assert list(weeks) == [day * DAY_MS for day in (100, 107, 114)]
    assert sum(week.transactions for week in weeks.values()) == 400


def test_a_pattern_is_measured_against_all_legitimate_transactions() -> None:
    judged, score = a_judged()
    patterns = by_pattern(judged, score)
    legitimate = int((~judged.is_fraud).sum())
    assert list(patterns) == ["card_testing", "cycle"]
    assert sum(found.frauds for found in patterns.values()) == int(judged.is_fraud.sum())
    assert all(found.transactions == legitimate + found.frauds for found in patterns.values())


def test_without_frauds_the_ranking_is_unknown_and_the_calibration_is_not() -> None:
    judged = Judged(np.zeros(3, np.bool_), np.arange(3), np.arange(3))
    found = measure(judged, np.array([0.0, 0.5, 0.0]))
    assert math.isnan(found.average_precision)
    assert math.isnan(found.auc_roc)
    assert found.brier == pytest.approx(0.25 / 3)
    assert by_pattern(judged, np.zeros(3)) == {}
