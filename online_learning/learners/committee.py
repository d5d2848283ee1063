"""Several learners that learn alike and vote: the mean of their log-odds.

A linear model, a forest and boosted trees err on different frauds; the mean of their log-odds ranks better than any of
them (a logarithmic opinion pool). It costs what they cost together.

References
----------
Genest, Zidek: Combining probability distributions, Statistical Science 1986, https://doi.org/10.1214/ss/1177013825
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from online_learning.learners.boosting import BoostedTrees
from online_learning.learners.contract import Learner, Scorer
from online_learning.learners.forest import OnlineForest
from online_learning.learners.logistic import LogisticRegression
from online_learning.learners.packed import pack, unpack
from online_learning.learners.rows import row_of
from schemas.columns import F32, U8, Bool

KIND, PARAMETERS_KIND, VERSION = "committee", "committee-parameters", 1

_LOWEST = 1e-6
"""Scores are taken to be between this and 1 - this: no member outvotes the others by being certain."""

MEMBERS: tuple[type[Any], ...] = (LogisticRegression, OnlineForest, BoostedTrees)


class Committee:
    """A logistic regression, an online forest and boosted trees, side by side.

    Parameters
    ----------
    feature_names
        The F columns, in their order.
    seed
        Of every member.
    """

    name = KIND

    def __init__(self, feature_names: tuple[str, ...], seed: int = 0) -> None:
        self.feature_names = feature_names
        self._members: list[Learner] = [member(feature_names, seed) for member in MEMBERS]

    @property
    def labels_seen(self) -> int:
        """How many labels were learned."""
        return self._members[0].labels_seen

    @property
    def memory_bytes(self) -> int:
        """Bytes of the members' arrays."""
        return sum(member.memory_bytes for member in self._members)

    def learn_many(self, X: F32, y: U8 | Bool, weight: F32 | None = None) -> None:
        """Learn rows in their order, each member for itself; see `Learner.learn_many`."""
        for member in self._members:  # the first one refuses what all would refuse
            member.learn_many(X, y, weight)

    def learn_one(self, x: Mapping[str, float], y: bool) -> None:
        """Learn one row."""
        self.learn_many(row_of(x, self.feature_names), np.array([y], np.bool_))

    def predict_proba_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud."""
        return pooled([member.predict_proba_many(X) for member in self._members])

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """Return the probabilities of False and True."""
        fraud = float(self.predict_proba_many(row_of(x, self.feature_names))[0])
        return {False: 1.0 - fraud, True: fraud}

    def parameters(self) -> bytes:
        """Return those of all members."""
        fields = {"feature_names": list(self.feature_names), "labels_seen": self.labels_seen}
        return pack(PARAMETERS_KIND, VERSION, fields, {m.name: _bytes_of(m.parameters()) for m in self._members})

    def snapshot(self) -> bytes:
        """Return the whole state of all members."""
        fields = {"feature_names": list(self.feature_names)}
        return pack(KIND, VERSION, fields, {m.name: _bytes_of(m.snapshot()) for m in self._members})

    @classmethod
    def restore(cls, snapshot: bytes) -> Self:
        """Return the learner that the snapshot was taken of."""
        packed = unpack(snapshot, KIND, VERSION)
        learner = cls(tuple(packed.fields["feature_names"]))
        learner._members = [member.restore(packed.arrays[member.name].tobytes()) for member in MEMBERS]
        return learner


@dataclass(frozen=True, slots=True)
class CommitteeScorer:
    """The members' parameters, ready to score."""

    feature_names: tuple[str, ...]
    labels_seen: int
    members: tuple[Scorer, ...]

    def score_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud."""
        return pooled([member.score_many(X) for member in self.members])

    @classmethod
    def unpack(cls, parameters: bytes, scorer_of: Callable[[bytes], Scorer]) -> Self:
        """Return the scorer; `scorer_of` reads the parameters of a member."""
        packed = unpack(parameters, PARAMETERS_KIND, VERSION)
        members = tuple(scorer_of(packed.arrays[member.name].tobytes()) for member in MEMBERS)
        return cls(tuple(packed.fields["feature_names"]), int(packed.fields["labels_seen"]), members)


def pooled(scores: list[F32]) -> F32:
    """Return (n,) the probability whose log-odds are the mean of those of the members' (n,) each.

    Examples
    --------
    >>> pooled([np.array([0.5, 0.9], np.float32), np.array([0.5, 0.1], np.float32)]).round(6).tolist()
    [0.5, 0.5]
    """
    total = np.zeros(len(scores[0]))
    for score in scores:
        bounded = np.clip(score.astype(np.float64), _LOWEST, 1.0 - _LOWEST)
        total += np.log(bounded / (1.0 - bounded))
    mean: F32 = (1.0 / (1.0 + np.exp(-total / len(scores)))).astype(np.float32)
    return mean


def _bytes_of(blob: bytes) -> U8:
    return np.frombuffer(blob, np.uint8)
