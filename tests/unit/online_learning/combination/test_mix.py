"""The mix: never much worse than the batch model, near the learner where that is better."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_learning.combination.mix import MixScorer, MixSettings, ScoreMix, regret_bound
from online_learning.learners.errors import InputError, SnapshotError
from schemas.columns import F32, Bool

scores = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 1.0, 0.5]))
learner_scores = st.one_of(scores, st.just(float("nan")))
streams = st.lists(st.tuples(scores, learner_scores, st.booleans()), max_size=60)


def columns(rows: list[tuple[float, float, bool]]) -> tuple[F32, F32, Bool]:
    table = np.array(rows, np.float64).reshape(len(rows), 3)
    return table[:, 0].astype(np.float32), table[:, 1].astype(np.float32), table[:, 2] > 0


def a_stream(n: int, seed: int) -> tuple[F32, F32, Bool]:
    """Return a batch model that knows little, a learner that knows more, and the labels."""
    rng = np.random.default_rng(seed)
    known = rng.normal(size=n)
    probability = 1 / (1 + np.exp(-(3 * known - 3)))
    labels = rng.random(n) < probability
    batch = 1 / (1 + np.exp(-(known + 2 * rng.normal(size=n) - 2)))
    return batch.astype(np.float32), probability.astype(np.float32), labels


def log_loss(score: F32, labels: Bool) -> float:
    bounded = np.clip(score.astype(np.float64), 1e-6, 1 - 1e-6)
    return float(-np.log(np.where(labels, bounded, 1 - bounded)).sum())


@settings(max_examples=200, deadline=None)
@given(streams, st.sampled_from([1e-4, 0.01, 0.3]), st.sampled_from([0.01, 0.5]))
def test_it_is_never_worse_than_the_batch_model_by_more_than_the_bound(
    rows: list[tuple[float, float, bool]], share: float, learning_rate: float
) -> None:
    mix = ScoreMix(MixSettings(learning_rate, share))
    batch, learner, labels = columns(rows)
    mix.learn_many(batch, learner, labels)
    assert mix.log_loss[0] == pytest.approx(log_loss(batch, labels), abs=1e-6)
    assert mix.log_loss[2] <= mix.log_loss[0] + regret_bound(len(rows), mix.settings) + 1e-6
    assert 0 <= mix.batch_weight <= 1


def test_the_bound_is_small() -> None:
    assert regret_bound(0) == pytest.approx(math.log(2))
    assert regret_bound(10_000) < 1.2


def test_a_better_learner_is_followed_and_loses_its_weight_when_it_gets_worse() -> None:
    batch, learner, labels = a_stream(20_000, seed=1)
    mix = ScoreMix()
    mix.learn_many(batch, learner, labels)
    alone = log_loss(batch, labels)
    assert mix.log_loss[2] < 0.7 * alone
    assert mix.log_loss[2] < 1.1 * log_loss(learner, labels)
    assert mix.batch_weight < 0.01
    good = MixScorer(mix.parameters()).score_many(batch, learner)
    assert log_loss(good, labels) < 0.7 * alone
    # From here the learner says the opposite of what it knows.
    batch, learner, labels = a_stream(2_000, seed=2)
    before, trusted = mix.log_loss.copy(), mix.learner_weight
    assert trusted > 0.5
    mix.learn_many(batch, 1 - learner, labels)
    assert mix.learner_weight < 0.1 * trusted
    lost = (mix.log_loss - before)[2] - (mix.log_loss - before)[0]
    # To come back from the smallest weight that the share leaves costs its logarithm, once for each turn.
    assert lost < 3 * math.log(2 / mix.settings.share)


@settings(max_examples=60, deadline=None)
@given(streams, st.lists(st.integers(0, 60), max_size=5))
def test_cuts_and_restores_leave_no_trace(rows: list[tuple[float, float, bool]], cuts: list[int]) -> None:
    whole, parts = ScoreMix(), ScoreMix()
    batch, learner, labels = columns(rows)
    whole.learn_many(batch, learner, labels)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in pairwise(bounds):
        parts.learn_many(batch[start:end], learner[start:end], labels[start:end])
        parts = ScoreMix.restore(parts.snapshot())
    assert parts.snapshot() == whole.snapshot()


def test_a_new_mix_says_what_the_batch_model_says() -> None:
    batch, learner, _ = a_stream(100, seed=3)
    found = MixScorer(ScoreMix().parameters()).score_many(batch, learner)
    np.testing.assert_allclose(found, np.clip(batch, 1e-6, 1 - 1e-6), rtol=1e-5)
    missing = MixScorer(ScoreMix().parameters()).score_many(batch, np.full(100, np.nan, np.float32))
    np.testing.assert_allclose(missing, np.clip(batch, 1e-6, 1 - 1e-6), rtol=1e-5)


def test_wrong_input_is_refused_and_changes_nothing() -> None:
    mix = ScoreMix()
    before = mix.snapshot()
    one, two = np.full(1, 0.5, np.float32), np.full(2, 0.5, np.float32)
    for batch, learner, labels in [
        (one, two, [True]),
        (two, two, [True]),
        (one * np.float32("nan"), one, [True]),
        (one.reshape(1, 1), one.reshape(1, 1), [True]),
    ]:
        with pytest.raises(InputError):
            mix.learn_many(batch, learner, np.array(labels))
    assert mix.snapshot() == before
    with pytest.raises(SnapshotError):
        ScoreMix.restore(before[:-1])


def test_frauds_that_are_labelled_more_often_do_not_inflate_the_scores() -> None:
    """A calibrated batch model, a learner that knows more, every fraud labelled and one in 20 of the others."""
    rng = np.random.default_rng(17)
    n = 400_000
    known, hidden = rng.normal(-4.5, 1.2, n), rng.normal(0, 1.5, n)
    is_fraud = rng.random(n) < 1 / (1 + np.exp(-(known + hidden)))
    # What the model knows, calibrated over what it does not.
    draws = rng.normal(0, 1.5, 400)
    grid = np.linspace(known.min(), known.max(), 200)
    share = (1 / (1 + np.exp(-(grid[:, None] + draws)))).mean(axis=1)
    batch = np.interp(known, grid, share).astype(np.float32)
    labelled = is_fraud | (rng.random(n) < 0.05)
    shift = np.log(is_fraud.sum() / (labelled & ~is_fraud).sum()) - np.log(batch.mean() / (1 - batch.mean()))
    learner = (1 / (1 + np.exp(-(known + hidden + shift)))).astype(np.float32)  # learned from such labels
    means = []
    for prior_shift in (shift, 0.0):
        mix = ScoreMix()
        mix.learn_many(batch[labelled], learner[labelled], is_fraud[labelled], prior_shift)
        scores = MixScorer(mix.parameters()).score_many(batch, learner)
        means.append(scores.mean() / is_fraud.mean())
        if prior_shift:
            order = np.argsort(-scores)[: int(is_fraud.sum())]
            by_batch = np.argsort(-batch)[: int(is_fraud.sum())]
            assert is_fraud[order].mean() > is_fraud[by_batch].mean() + 0.1
    assert 0.8 < means[0] < 1.25
    assert means[1] > 2
