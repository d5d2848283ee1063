"""What decides in the scoring job, as a contestant: a batch model that ages, a learner, and their mix."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from online_learning.combination.mix import MixScorer, ScoreMix
from online_learning.evaluate.contestant import ProbabilityLearner
from schemas.columns import F32, Bool


class Combined:
    """Scores with the mix; the mix learns each label with the two scores that its row had when it was scored.

    Labels must come in the order in which rows were scored, as they do where all have the same delay.

    Parameters
    ----------
    batch
        Scores (n,) of features (n, F), 0 to 1: a model that was trained once.
    trained_rows
        Rows of the stream that it was trained on: its scores of these teach the mix nothing.
    learner
        Learns from every label.
    """

    def __init__(self, batch: Callable[[F32], F32], trained_rows: int, learner: ProbabilityLearner) -> None:
        self._batch, self._learner = batch, learner
        self._mix = ScoreMix()
        self._untaught = trained_rows
        self._scores: deque[tuple[F32, F32]] = deque()  # of rows whose labels are to come

    def score_many(self, X: F32) -> F32:
        """Return (n,) scores."""
        batch, learner = self._batch(X), self._learner.predict_proba_many(X)
        self._scores.append((batch, learner))
        return MixScorer(self._mix.parameters()).score_many(batch, learner)

    def learn_many(self, X: F32, y: Bool, weight: F32 | None = None) -> None:
        """Learn (n, F) rows with labels (n,), the oldest that were scored."""
        batch, learner = self._oldest(len(y))
        new = np.arange(len(y)) >= self._untaught
        self._untaught = max(0, self._untaught - len(y))
        self._mix.learn_many(batch[new], learner[new], np.asarray(y)[new])
        self._learner.learn_many(X, y, weight)

    def _oldest(self, n: int) -> tuple[F32, F32]:
        taken, left = [(np.zeros(0, np.float32), np.zeros(0, np.float32))], n
        while left:
            batch, learner = self._scores.popleft()
            if len(batch) > left:
                self._scores.appendleft((batch[left:], learner[left:]))
                batch, learner = batch[:left], learner[:left]
            taken.append((batch, learner))
            left -= len(batch)
        return np.concatenate([b for b, _ in taken]), np.concatenate([s for _, s in taken])
