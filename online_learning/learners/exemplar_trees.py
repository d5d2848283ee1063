"""Boosted trees, and beside them exemplars: each recent fraud that the trees missed looks for its like at once.

Trees need tens of frauds of a kind to split on it. An exemplar needs itself only: what sets it apart from the
legitimate rows, in the space where those are white, is a direction, and the few legitimate rows that go furthest along
it set its threshold. A fraud that looks like everybody so finds next to nothing, a fraud of a new kind finds its
siblings from the first label on. An exemplar beyond whose threshold other missed frauds lie weighs more; of all
exemplars the strongest one speaks. The probability is that trees or exemplars are right: 1 - (1 - p)(1 - q).

References
----------
Malisiewicz, Gupta, Efros: Ensemble of exemplar-SVMs for object detection and beyond, ICCV 2011,
https://doi.org/10.1109/ICCV.2011.6126229
Hariharan, Malik, Ramanan: Discriminative decorrelation for clustering and classification, ECCV 2012,
https://doi.org/10.1007/978-3-642-33765-9_33
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from online_learning.learners.boosting import BoostedTrees
from online_learning.learners.contract import Scorer
from online_learning.learners.exemplar_kernels import LIMIT, learn, score
from online_learning.learners.packed import pack, unpack
from online_learning.learners.rows import as_labels, as_rows, as_weights, row_of
from schemas.columns import F32, F64, U8, Bool

KIND, PARAMETERS_KIND, VERSION = "exemplar-trees", "exemplar-trees-parameters", 1


@dataclass(frozen=True, slots=True)
class ExemplarSettings:
    """What becomes an exemplar, and how far it reaches.

    Parameters
    ----------
    exemplars
        Newest missed frauds that are kept.
    legitimate_rows
        Newest legitimate rows that exemplars are told apart from.
    least_legitimate
        Of them, before exemplars have a say.
    found_from
        Trees' score of a fraud, before its label was learned, from which on it needs no exemplar.
    share
        Of the legitimate rows beyond an exemplar's threshold; and of those whose evidence counts as one half.
    ridge
        Added to each variance of the standardised legitimate rows: directions in which they hardly vary say little.
    refresh
        Labels after which the exemplars are fitted anew to the legitimate rows. Exemplars of frauds that come between
        are fitted at once.
    """

    exemplars: int = 128
    legitimate_rows: int = 2048
    least_legitimate: int = 200
    found_from: float = 0.9
    share: float = 0.003
    ridge: float = 0.3
    refresh: int = 256


class ExemplarTrees:
    """Boosted trees with exemplars of the frauds that they missed.

    Scores are worth trusting when those of the trees are. Memory: that of the trees, and some 1.1 MB for 100 features.

    Parameters
    ----------
    feature_names
        The F columns, in their order.
    seed
        Of the trees.
    settings
        Of the exemplars.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> learner = ExemplarTrees(("amount", "devices"))
    >>> learner.learn_many(rng.normal(size=(600, 2)).astype(np.float32), np.zeros(600, np.bool_))
    >>> learner.learn_one({"amount": 0.0, "devices": 400.0}, y=True)
    >>> learner.predict_proba_one({"amount": 0.5, "devices": 300.0})[True] > 0.5
    True
    """

    name = KIND

    def __init__(self, feature_names: tuple[str, ...], seed: int = 0, settings: ExemplarSettings | None = None) -> None:
        self.feature_names = feature_names
        self.settings = s = settings or ExemplarSettings()
        self._trees = BoostedTrees(feature_names, seed)
        features = len(feature_names)
        self._counts = np.zeros(4, np.int64)
        self._legitimate = np.zeros((s.legitimate_rows, features), np.float32)  # squashed; NaN is missing
        self._exemplars = np.zeros((s.exemplars, features), np.float32)
        self._mean, self._scale = np.zeros(features), np.zeros(features)
        self._inverse = np.zeros((features, features))  # of the legitimate rows' covariance
        self._directions = np.zeros((features, s.exemplars), np.float32)
        self._thresholds, self._votes = np.zeros(s.exemplars), np.zeros(s.exemplars)
        self._unit = np.zeros(1)  # evidence that counts as one half; 0 before exemplars have a say

    @property
    def labels_seen(self) -> int:
        """How many labels were learned."""
        return self._trees.labels_seen

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays held."""
        return self._trees.memory_bytes + sum(array.nbytes for array in self._arrays().values())

    def learn_many(self, X: F32, y: U8 | Bool, weight: F32 | None = None) -> None:
        """Learn rows in their order; see `Learner.learn_many`. Equal to a loop of `learn_one`, bit for bit."""
        rows = as_rows(X, len(self.feature_names))
        labels, weights = as_labels(y, len(rows)), as_weights(weight, len(rows))
        s = self.settings
        learn(
            rows, labels, weights, self._learn_trees(rows, labels, weights), self._counts, self._legitimate,
            self._exemplars, self._mean, self._scale, self._inverse, self._directions, self._thresholds, self._votes,
            self._unit, s.least_legitimate, s.share, s.ridge, s.refresh, LIMIT,
        )  # fmt: skip

    def _learn_trees(self, rows: F32, labels: U8, weights: F32) -> Bool:
        """Teach the trees; return (n,) which frauds they had found before they were told."""
        is_found = np.zeros(len(rows), np.bool_)
        done = 0
        for row in np.flatnonzero(labels).tolist():
            self._trees.learn_many(rows[done:row], labels[done:row], weights[done:row])
            is_found[row] = self._trees.predict_proba_many(rows[row : row + 1])[0] >= self.settings.found_from
            done = row
        self._trees.learn_many(rows[done:], labels[done:], weights[done:])
        return is_found

    def learn_one(self, x: Mapping[str, float], y: bool) -> None:
        """Learn one row."""
        self.learn_many(row_of(x, self.feature_names), np.array([y], np.bool_))

    def predict_proba_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud."""
        rows = as_rows(X, len(self.feature_names))
        return either(self._trees.predict_proba_many(rows), self._exemplar_score().score_many(rows))

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """Return the probabilities of False and True."""
        fraud = float(self.predict_proba_many(row_of(x, self.feature_names))[0])
        return {False: 1.0 - fraud, True: fraud}

    def parameters(self) -> bytes:
        """Return those of the trees, and the exemplars' directions."""
        fields = {"feature_names": list(self.feature_names), "labels_seen": self.labels_seen}
        arrays = self._exemplar_score().arrays()
        return pack(PARAMETERS_KIND, VERSION, fields, {**arrays, "trees": _bytes_of(self._trees.parameters())})

    def snapshot(self) -> bytes:
        """Return the whole state."""
        fields = {"feature_names": list(self.feature_names), "settings": asdict(self.settings)}
        return pack(KIND, VERSION, fields, {**self._arrays(), "trees": _bytes_of(self._trees.snapshot())})

    @classmethod
    def restore(cls, snapshot: bytes) -> Self:
        """Return the learner that the snapshot was taken of."""
        packed = unpack(snapshot, KIND, VERSION)
        settings = ExemplarSettings(**packed.fields["settings"])
        learner = cls(tuple(packed.fields["feature_names"]), settings=settings)
        learner._trees = BoostedTrees.restore(packed.arrays["trees"].tobytes())
        for name, array in learner._arrays().items():
            array[...] = packed.arrays[name]
        return learner

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        names = (
            "counts", "legitimate", "exemplars", "mean", "scale", "inverse", "directions", "thresholds", "votes",
            "unit",
        )  # fmt: skip
        return {name: getattr(self, "_" + name) for name in names}

    def _exemplar_score(self) -> ExemplarVotes:
        return ExemplarVotes(
            self._mean.copy(), self._scale.copy(), self._directions.copy(), self._thresholds.copy(),
            self._votes.copy(), self._unit.copy(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExemplarVotes:
    """K exemplars, ready to score.

    Parameters
    ----------
    mean, scale
        (F,) each, of squashed legitimate rows.
    directions
        (F, K) of the exemplars.
    thresholds, votes
        (K,) each.
    unit
        (1,) evidence that counts as one half; 0 while exemplars have no say.
    """

    mean: F64
    scale: F64
    directions: F32
    thresholds: F64
    votes: F64
    unit: F64

    def score_many(self, rows: F32) -> F32:
        """Return (n,) how likely the exemplars hold rows for fraud that the trees do not see."""
        scores = np.zeros(len(rows), np.float32)
        if self.unit[0] > 0.0:
            score(
                rows, LIMIT, self.mean, self.scale, self.directions, self.thresholds, self.votes,
                float(self.unit[0]), scores,
            )  # fmt: skip
        return scores

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ExemplarTreesScorer:
    """Trees and exemplars, ready to score."""

    feature_names: tuple[str, ...]
    labels_seen: int
    trees: Scorer
    votes: ExemplarVotes

    def score_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud."""
        rows = as_rows(X, len(self.feature_names))
        return either(self.trees.score_many(rows), self.votes.score_many(rows))

    @classmethod
    def unpack(cls, parameters: bytes, scorer_of: Callable[[bytes], Scorer]) -> Self:
        """Return the scorer; `scorer_of` reads the parameters of the trees."""
        packed = unpack(parameters, PARAMETERS_KIND, VERSION)
        trees = scorer_of(packed.arrays.pop("trees").tobytes())
        names, labels_seen = packed.fields["feature_names"], packed.fields["labels_seen"]
        return cls(tuple(names), int(labels_seen), trees, ExemplarVotes(**packed.arrays))


def either(first: F32, second: F32) -> F32:
    """Return (n,) the probability that one of two independent reasons holds.

    Examples
    --------
    >>> either(np.array([0.5], np.float32), np.array([0.5], np.float32)).tolist()
    [0.75]
    """
    both: F32 = (1.0 - (1.0 - first.astype(np.float64)) * (1.0 - second.astype(np.float64))).astype(np.float32)
    return both


def _bytes_of(blob: bytes) -> U8:
    return np.frombuffer(blob, np.uint8)
