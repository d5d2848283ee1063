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


class RowDetector(Protocol):
    """The part of an anomaly detector that an evaluation needs; see `online_learning.learners.contract`."""

    def score_many(self, X: F32) -> F32:
        """Return (n,) scores in [0, 1]."""

    def learn_many(self, X: F32) -> None:
        """Learn rows without labels."""


@dataclass(frozen=True, slots=True)
class Detecting:
    """An anomaly detector; it learns rows when their labels come, and does not look at those."""

    detector: RowDetector

    def score_many(self, X: F32) -> Scores:
        """Return the detector's scores."""
        return self.detector.score_many(X)

    def learn_many(self, X: F32, y: Bool, weight: F32 | None = None) -> None:
        """Let it learn the rows."""
        self.detector.learn_many(X)


@dataclass(slots=True)
class Clocked:
    """A contestant whose seconds are counted.

    Parameters
    ----------
    contestant
        Scores and learns.
    clock
        Seconds since some moment: of the wall, or of the processor.
    """

    contestant: Contestant
    clock: Callable[[], float]
    scoring_seconds: float = 0.0
    learning_seconds: float = 0.0
    rows_scored: int = 0
    labels_learned: int = 0

    def score_many(self, X: F32) -> Scores:
        """Return the contestant's scores."""
        begun = self.clock()
        scores = self.contestant.score_many(X)
        self.scoring_seconds += self.clock() - begun
        self.rows_scored += len(X)
        return scores

    def learn_many(self, X: F32, y: Bool, weight: F32 | None = None) -> None:
        """Let the contestant learn."""
        begun = self.clock()
        self.contestant.learn_many(X, y, weight)
        self.learning_seconds += self.clock() - begun
        self.labels_learned += len(X)
