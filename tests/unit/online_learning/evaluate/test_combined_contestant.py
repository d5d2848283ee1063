"""The combination of the bench learns each label with the scores its row had, however rows are cut."""

from __future__ import annotations

import numpy as np
import pytest

from online_learning.combination.mix import MixScorer, ScoreMix
from schemas.columns import F32
from tests.bench.combined import Combined

N, DELAY, TRAINED = 400, 50, 60


class Counting:
    """Scores by how many labels it saw: each score tells when it was made."""

    seen = 0

    def predict_proba_many(self, X: F32) -> F32:
        return np.full(len(X), 0.1 + 0.8 * self.seen / N, np.float32)

    def learn_many(self, X: F32, y: np.ndarray, weight: F32 | None = None) -> None:  # type: ignore[type-arg]
        self.seen += len(y)


@pytest.mark.parametrize("size", [1, 7, 20])
def test_the_mix_learns_the_scores_as_scored(size: int) -> None:
    X = np.random.default_rng(2).uniform(0.05, 0.5, (N, 1)).astype(np.float32)
    y = X[:, 0] > 0.3
    combined = Combined(lambda rows: rows[:, 0], TRAINED, Counting())
    as_scored = np.empty(N, np.float32)
    learned = 0
    for at in range(0, N, size):
        end = min(at + size, N)
        as_scored[at:end] = 0.1 + 0.8 * learned / N
        combined.score_many(X[at:end])
        ripe = max(0, end - DELAY)
        combined.learn_many(X[learned:ripe], y[learned:ripe])
        learned = ripe
    expected = ScoreMix()
    expected.learn_many(X[TRAINED:learned, 0], as_scored[TRAINED:learned], y[TRAINED:learned])
    probe = np.array([0.2, 0.4], np.float32)
    found = MixScorer(combined._mix.parameters()).score_many(probe, probe)
    np.testing.assert_array_equal(found, MixScorer(expected.parameters()).score_many(probe, probe))
