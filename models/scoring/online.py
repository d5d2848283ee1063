"""What scoring asks of parameters that were learned while the stream runs."""

from __future__ import annotations

from typing import Protocol

from schemas.columns import F32

NO_SCORE = -1.0
"""Stands in a decision where a score was not given."""


class OnlineScorer(Protocol):
    """One version of a learner's parameters, and how its score joins the batch model's. Immutable."""

    @property
    def name(self) -> str:
        """Name of the learner."""

    @property
    def version(self) -> str:
        """Version of its parameters."""

    @property
    def sha256(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of its parameters."""

    def score(self, X: F32, model_score: F32) -> tuple[F32, F32]:
        """Score a batch; each row depends on itself alone.

        Parameters
        ----------
        X
            (n, F) features in the catalogue's order; NaN is missing.
        model_score
            (n,) the batch model's scores, 0 to 1.

        Returns
        -------
        (n,) scores of the learner, 0 to 1, NO_SCORE where it has none; (n,) scores to decide by, 0 to 1.
        """
