"""Every learner and detector passes every check; and the checks catch those that break a promise."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from online_learning.learners import checks
from online_learning.learners.logistic import LogisticRegression
from online_learning.learners.network import ReplayNetwork
from online_learning.learners.registry import ALL_DETECTORS, ALL_LEARNERS, DetectorFactory, LearnerFactory
from schemas.columns import F32, U8

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
LEARNERS = [
    pytest.param(factory, id=name, marks=needs_torch if factory is ReplayNetwork else ())
    for name, factory in ALL_LEARNERS.items()
]
DETECTORS = [pytest.param(factory, id=name) for name, factory in ALL_DETECTORS.items()]


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("factory", LEARNERS + DETECTORS)
def test_contract(
    factory: LearnerFactory | DetectorFactory, check: Callable[[LearnerFactory | DetectorFactory], None]
) -> None:
    check(factory)


@pytest.mark.parametrize("check", checks.LEARNER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("factory", LEARNERS)
def test_contract_of_learners(factory: LearnerFactory, check: Callable[[LearnerFactory], None]) -> None:
    check(factory)


class ChangesItsRows(LogisticRegression):
    """Writes into what it was given."""

    def learn_many(self, X: F32, y: U8 | Any, weight: F32 | None = None) -> None:
        X[:1] = 0
        super().learn_many(X, y, weight)


class LearnsByBlocks(LogisticRegression):
    """Drops the last row of each block."""

    def learn_many(self, X: F32, y: U8 | Any, weight: F32 | None = None) -> None:
        super().learn_many(X, y, weight)
        if len(X) > 1:
            super().learn_many(X[-1:], y[-1:])


class ForgetsWhenRestored(LogisticRegression):
    """Restores all but the squares of the gradients."""

    @classmethod
    def restore(cls, snapshot: bytes) -> ForgetsWhenRestored:
        learner = super().restore(snapshot)
        learner._squares[:] = 0
        return learner


class KeepsItsRows(LogisticRegression):
    """Grows with the stream."""

    def __init__(self, feature_names: tuple[str, ...], seed: int = 0) -> None:
        super().__init__(feature_names, seed)
        self.kept: list[F32] = []

    def learn_many(self, X: F32, y: U8 | Any, weight: F32 | None = None) -> None:
        super().learn_many(X, y, weight)
        self.kept.append(X)

    @property
    def memory_bytes(self) -> int:
        return super().memory_bytes + sum(rows.nbytes for rows in self.kept)


class ScoresBeyondOne(LogisticRegression):
    """Returns what is no probability."""

    def predict_proba_many(self, X: F32) -> F32:
        return super().predict_proba_many(X) + np.float32(0.6)


class BelievesEveryLabel(LogisticRegression):
    """Ignores weights."""

    def learn_many(self, X: F32, y: U8 | Any, weight: F32 | None = None) -> None:
        super().learn_many(X, y)


@pytest.mark.parametrize(
    ("factory", "check"),
    [
        (ChangesItsRows, checks.check_inputs_stay_untouched),
        (LearnsByBlocks, checks.check_cuts_of_the_stream_leave_no_trace),
        (ForgetsWhenRestored, checks.check_snapshot_round_trip),
        (KeepsItsRows, checks.check_memory_is_bounded),
        (ScoresBeyondOne, checks.check_scores_lie_between_0_and_1),
        (ScoresBeyondOne, checks.check_parameters_score_like_the_learner),
        (BelievesEveryLabel, checks.check_weights_matter),
    ],
)
def test_a_broken_promise_is_found(factory: LearnerFactory, check: Callable[[LearnerFactory], None]) -> None:
    with pytest.raises(AssertionError):
        check(factory)
