"""Every learner and detector by name: what is listed here is checked, compared and can be configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from online_learning.learners.boosting import BoostedTrees
from online_learning.learners.committee import Committee
from online_learning.learners.contract import AnomalyDetector, Learner
from online_learning.learners.exemplar_trees import ExemplarTrees
from online_learning.learners.forest import OnlineForest
from online_learning.learners.half_space_trees import HalfSpaceTrees
from online_learning.learners.logistic import LogisticRegression
from online_learning.learners.network import ReplayNetwork


class LearnerFactory(Protocol):
    """Makes learners: a learner's class."""

    def __call__(self, feature_names: tuple[str, ...], seed: int = 0) -> Learner:
        """Return a new learner."""

    def restore(self, snapshot: bytes) -> Learner:
        """Return the learner that `snapshot` was taken of."""


class DetectorFactory(Protocol):
    """Makes anomaly detectors: a detector's class."""

    def __call__(self, feature_names: tuple[str, ...], seed: int = 0) -> AnomalyDetector:
        """Return a new detector."""

    def restore(self, snapshot: bytes) -> AnomalyDetector:
        """Return the detector that `snapshot` was taken of."""


ALL_LEARNERS: Mapping[str, LearnerFactory] = {
    learner.name: learner
    for learner in (LogisticRegression, OnlineForest, BoostedTrees, ExemplarTrees, ReplayNetwork, Committee)
}
ALL_DETECTORS: Mapping[str, DetectorFactory] = {HalfSpaceTrees.name: HalfSpaceTrees}
