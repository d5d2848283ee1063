"""What a learner is: River's contract, on columns.

Rows are (n, F) float32 in the order of `feature_names`; a missing value is NaN, and an infinity counts as missing.
Scores are float32 in [0, 1], higher = more suspicious, and valid before the first label. Rows are learned in the
order given: how a stream was cut into blocks leaves no trace in the state. No learner keeps or changes the arrays
that it was given.

A learner has two forms as bytes. `snapshot` is its whole state: a learner restored from it continues bit for bit like
the original. `parameters` is what scoring needs and no more; `online_learning.learners.scoring` applies them.

References
----------
River, a library for online machine learning, https://riverml.xyz/latest/api/base/Classifier/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

from schemas.columns import F32, U8, Bool


class Scorer(Protocol):
    """Parameters, ready to score: small, immutable, and independent of the learner that exported them."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The F columns, in their order."""

    @property
    def labels_seen(self) -> int:
        """Labels that the learner had seen when it exported them; rows, for a detector."""

    def score_many(self, X: F32) -> F32:
        """Return (n,) scores in [0, 1]; each depends on its own row alone.

        Raises
        ------
        InputError
            If X is not (n, F).
        """


class Learner(Protocol):
    """Learns from labelled rows, one pass, in bounded memory."""

    @property
    def name(self) -> str:
        """What kind of learner this is, as in the registry."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The F columns, in their order."""

    @property
    def labels_seen(self) -> int:
        """How many labels were learned, those of weight 0 among them."""

    def learn_many(self, X: F32, y: U8 | Bool, weight: F32 | None = None) -> None:
        """Learn rows (n, F) with labels (n,), true = fraud, in their order.

        Parameters
        ----------
        X, y
            Rows and labels; n may be 0.
        weight
            (n,) importance of each label, finite and not negative, 1 if None. A label of weight 0 is counted in
            `labels_seen` and its row may be used where labels are not needed (scaling); it teaches nothing else.

        Raises
        ------
        InputError
            If a shape, a label or a weight is wrong; nothing is learned then.
        """

    def learn_one(self, x: Mapping[str, float], y: bool) -> None:
        """Learn one row; features that x lacks are missing, unknown ones are ignored."""

    def predict_proba_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud: what `parameters` gives when applied."""

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """Return the probabilities of False and True."""

    def parameters(self) -> bytes:
        """Return what scoring needs, to be applied by `scorer_of`."""

    def snapshot(self) -> bytes:
        """Return the whole state; equal states give equal bytes."""

    @classmethod
    def restore(cls, snapshot: bytes) -> Self:
        """Return the learner that `snapshot` was taken of.

        Raises
        ------
        SnapshotError
            If the snapshot is damaged, or of another learner or version.
        """

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays held; bounded by the settings, whatever is learned."""


class AnomalyDetector(Protocol):
    """Learns what is usual from rows without labels, one pass, in bounded memory."""

    @property
    def name(self) -> str:
        """What kind of learner this is, as in the registry."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The F columns, in their order."""

    @property
    def rows_seen(self) -> int:
        """How many rows were learned."""

    def learn_many(self, X: F32) -> None:
        """Learn rows (n, F) in their order; n may be 0.

        Raises
        ------
        InputError
            If X is not (n, F); nothing is learned then.
        """

    def learn_one(self, x: Mapping[str, float]) -> None:
        """Learn one row; features that x lacks are missing, unknown ones are ignored."""

    def score_many(self, X: F32) -> F32:
        """Return (n,) scores in [0, 1], higher = more unusual: what `parameters` gives when applied."""

    def score_one(self, x: Mapping[str, float]) -> float:
        """Return the score of one row."""

    def parameters(self) -> bytes:
        """Return what scoring needs, to be applied by `scorer_of`."""

    def snapshot(self) -> bytes:
        """Return the whole state; equal states give equal bytes."""

    @classmethod
    def restore(cls, snapshot: bytes) -> Self:
        """Return the detector that `snapshot` was taken of.

        Raises
        ------
        SnapshotError
            If the snapshot is damaged, or of another detector or version.
        """

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays held; bounded by the settings, whatever is learned."""
