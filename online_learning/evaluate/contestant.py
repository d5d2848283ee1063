"""What an evaluation scores with: anything that scores columns, and perhaps learns from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from schemas.columns import F32, Bool

Scores = npt.NDArray[np.float32] | npt.NDArray[np.float64]


class Contestant(Protocol):
    """A scorer that takes part in an evaluation."""

    def score_many(self, X: F32) -> Scores:
        """Return (n,) scores in [0, 1] of (n, F) features; higher is more suspicious."""

    def learn_many(self, X: F32, y: Bool, weight: F32 | None = None) -> None:
        """Learn (n, F) features with (n,) labels, true = fraud, in the order in which the labels became known."""


class ProbabilityLearner(Protocol):
    """The part of a learner that an evaluation needs; see `online_learning.learners.contract.Learner`."""

    def predict_proba_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud."""

    def learn_many(self, X: F32, y: Bool, weight: F32 | None = None) -> None:
        """Learn rows with labels."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """Scores with a function and never learns: the batch model, or a learner that is held still."""

    predict: Callable[[F32], Scores]

    def score_many(self, X: F32) -> Scores:
        """Return the function's scores."""
        return self.predict(X)

    def learn_many(self, X: F32, y: Bool, weight: F32 | None = None) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Learning:
    """A learner that scores and learns as the stream goes."""

    learner: ProbabilityLearner

    def score_many(self, X: F32) -> Scores:
        """Return the learner's probabilities of fraud."""
        return self.learner.predict_proba_many(X)

    def learn_many(self, X: F32, y: Bool, weight: F32 | None = None) -> None:
        """Let it learn."""
        self.learner.learn_many(X, y, weight)
