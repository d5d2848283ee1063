"""Boosted trees once the ensemble and the kept rows are full: what is replaced leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_learning.learners.boosting import BoostedTrees, BoostingSettings
from online_learning.learners.checks import FEATURE_NAMES, some_rows
from online_learning.learners.errors import InputError
from online_learning.learners.scoring import scorer_of

SMALL = BoostingSettings(
    trees=5, depth=3, bins=8, kept_rows=300, interval=100, first_interval=20, legitimate_per_fraud=3.0
)


def a_full_learner(rows: int = 4_000) -> BoostedTrees:
    learner = BoostedTrees(FEATURE_NAMES, 3, SMALL)
    learner.learn_many(*some_rows(rows))
    return learner


def naive_log_odds(learner: BoostedTrees, row: np.ndarray) -> float:
    scorer = scorer_of(learner.parameters())
    total = scorer.bias
    for feature, threshold, default_left, leaf in zip(
        scorer.feature, scorer.threshold, scorer.default_left, scorer.leaf, strict=True
    ):
        node = 0
        while node < len(feature):
            left = True
            if feature[node] >= 0:
                value = row[feature[node]]
                left = bool(default_left[node]) if np.isnan(value) else value <= threshold[node]
            node = 2 * node + (1 if left else 2)
        total += leaf[node - len(feature)]
    return float(total)


def test_scores_are_those_of_a_naive_walk_of_the_trees() -> None:
    learner = a_full_learner()
    X, _ = some_rows(200, seed=5)
    expected = [1 / (1 + np.exp(-naive_log_odds(learner, row))) for row in X]
    np.testing.assert_allclose(learner.predict_proba_many(X), expected, rtol=1e-6)


def test_the_margins_kept_are_what_the_trees_say_after_many_were_replaced() -> None:
    learner = a_full_learner()
    assert learner._counts[4] > 5 * SMALL.trees
    assert learner._counts[3] > 2 * SMALL.kept_rows
    expected = [naive_log_odds(learner, row) - learner._bias[0] for row in learner._rows]
    np.testing.assert_allclose(learner._margin, expected, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 1_500), max_size=5), st.integers(0, 2_000))
def test_a_full_learner_does_not_see_where_the_stream_was_cut_or_restored(cuts: list[int], restored_at: int) -> None:
    X, y = some_rows(2_000)
    at_once = BoostedTrees(FEATURE_NAMES, 3, SMALL)
    at_once.learn_many(X, y)
    learner = BoostedTrees(FEATURE_NAMES, 3, SMALL)
    ends = sorted({min(cut, 2_000) for cut in (*np.cumsum(cuts).tolist(), restored_at, 2_000)})
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        learner.learn_many(X[begin:end], y[begin:end])
        if end == restored_at:
            learner = BoostedTrees.restore(learner.snapshot())
    assert learner.snapshot() == at_once.snapshot()
    np.testing.assert_array_equal(learner._binned, at_once._binned)


def test_it_follows_a_fraud_that_changes() -> None:
    rng = np.random.default_rng(2)
    X = rng.standard_normal((16_000, 2)).astype(np.float32)
    y = np.concatenate([X[:8_000, 0] > 1.3, X[8_000:, 1] > 1.3])
    learner = BoostedTrees(("a", "b"), 1, BoostingSettings(trees=30, kept_rows=2_000))
    learner.learn_many(X[:8_000], y[:8_000])
    new = np.array([[0.0, 2.5]], np.float32)
    before = learner.predict_proba_many(new)[0]
    learner.learn_many(X[8_000:], y[8_000:])
    assert before < 0.3
    assert learner.predict_proba_many(new)[0] > 0.7
    assert learner.predict_proba_many(np.array([[2.5, 0.0]], np.float32))[0] < 0.3


def test_kept_legitimate_rows_stand_for_all() -> None:
    rng = np.random.default_rng(0)
    y = rng.random(40_000) < 0.02
    X = (rng.standard_normal((40_000, 2)) + y[:, None]).astype(np.float32)
    learner = BoostedTrees(("a", "b"))
    learner.learn_many(X, y)
    kept = slice(0, int(learner._counts[3]))
    label, weight = learner._row_label[kept], learner._row_weight[kept]
    assert label.sum() == y.sum()
    assert len(label) < len(y) / 2
    assert weight[label == 0].sum() == pytest.approx((~y).sum(), rel=0.05)
    assert learner.predict_proba_many(X).mean() == pytest.approx(y.mean(), rel=0.15)


@pytest.mark.parametrize("wrong", [{"bins": 1}, {"bins": 256}])
def test_bins_that_do_not_fit_a_byte_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="bins"):
        BoostedTrees(("a",), settings=BoostingSettings(**wrong))
