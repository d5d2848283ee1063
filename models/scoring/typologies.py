"""Typologies: rules that speak of the same pattern, added up to one score each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.scoring.rules import Rule
from schemas.columns import F32, I64, U8, Bool

APPROVE, REVIEW, DECLINE = 0, 1, 2
"""Outcomes in rising order, as the schema's enum `Outcome` lists them."""

_SCALE = 1_000_000
"""Weights and thresholds are counted in millionths: 0.3 + 0.3 + 0.4 reaches a threshold of 1.0, and sums do not depend
on their order."""


@dataclass(frozen=True, slots=True)
class TypologyScores:
    """Scores of n transactions for T typologies, in the order of `Typologies.names`."""

    scores: F32  # (n, T) 0 to 1
    outcomes: U8  # (n, T) what the typology alone asks for

    @property
    def highest(self) -> F32:
        """(n,) highest score of any typology; 0 where there are none."""
        highest: F32 = self.scores.max(axis=1, initial=np.float32(0.0))
        return highest

    @property
    def outcome(self) -> U8:
        """(n,) the strictest outcome that any typology asks for."""
        strictest: U8 = self.outcomes.max(axis=1, initial=np.uint8(APPROVE))
        return strictest


class Typologies:
    """The typologies of a rule set: score = min(1, sum of the weights of the rules that hit).

    A typology's thresholds are the lowest among its rules.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.names: tuple[str, ...] = tuple(sorted({rule.typology for rule in rules}))
        self.of_rule: tuple[int, ...] = tuple(self.names.index(rule.typology) for rule in rules)
        self._weights: I64 = np.zeros((len(rules), len(self.names)), np.int64)
        self._review: I64 = np.full(len(self.names), 2 * _SCALE, np.int64)
        self._decline: I64 = np.full(len(self.names), 2 * _SCALE, np.int64)
        for r, (rule, t) in enumerate(zip(rules, self.of_rule, strict=True)):
            self._weights[r, t] = _millionths(rule.weight)
            self._review[t] = min(self._review[t], _millionths(rule.review_threshold))
            self._decline[t] = min(self._decline[t], _millionths(rule.decline_threshold))

    def score(self, hits: Bool) -> TypologyScores:
        """Add up the hits, (n, R) in the order of the rules."""
        scores = np.zeros((len(hits), len(self.names)), np.float32)
        outcomes = np.zeros(scores.shape, np.uint8)
        rows = np.flatnonzero(hits.any(axis=1))  # few: a product over all rows would cost ten times as much
        millionths = np.minimum(hits[rows].astype(np.int64) @ self._weights, _SCALE)
        scores[rows] = millionths / _SCALE
        outcomes[rows] = np.where(
            millionths >= self._decline, DECLINE, np.where(millionths >= self._review, REVIEW, APPROVE)
        )
        return TypologyScores(scores, outcomes)


def _millionths(value: float) -> int:
    return round(float(value) * _SCALE)
