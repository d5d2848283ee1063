"""Gradient-boosted trees that follow the stream: a new tree at intervals, of rows kept, in place of the oldest.

The learner keeps the newest frauds and a sample of the legitimate rows: the more suspicious they looked the likelier,
and weighted so that they stand for all. After every so many labels one tree is grown on a sample of what is kept: a
Newton step of the log loss from where the ensemble stands. Once the ensemble is full the oldest tree leaves first, so
the new one also makes good what went with it. The ensemble renews itself for ever, at the cost of one tree an interval
and not of all of them, as a training from scratch would.

References
----------
Friedman: Greedy function approximation: a gradient boosting machine, 2001, https://doi.org/10.1214/aos/1013203451
Chen, Guestrin: XGBoost: a scalable tree boosting system, 2016, https://doi.org/10.1145/2939672.2939785
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from online_learning.learners.boosting_kernels import bin_rows, learn, score
from online_learning.learners.errors import InputError
from online_learning.learners.packed import pack, unpack
from online_learning.learners.rows import as_labels, as_rows, as_weights, row_of
from schemas.columns import F32, F64, I16, U8, Bool

VERSION = 1
"""Of snapshot and parameters. Raised when the meaning of a field changes; other versions are refused."""
KIND = "boosted-trees"
PARAMETERS_KIND = "boosted-trees-parameters"


@dataclass(frozen=True, slots=True)
class BoostingSettings:
    """Size and growth of the ensemble.

    Parameters
    ----------
    trees
        Of the ensemble at most.
    depth
        Of a tree: 2^depth leaves.
    bins
        Intervals of a feature's values among whose ends a split is chosen; at most 255.
    kept_rows
        Newest frauds and drawn legitimate rows that are kept.
    legitimate_per_fraud
        Legitimate rows that are drawn for each fraud, whatever they look like.
    hard_share
        Of a legitimate row's score: how likely it is drawn for that, too. At 20, each that scores 0.05 is.
    interval, first_interval, patience
        A tree is grown after labels / `patience` labels, but at least `first_interval` and at most `interval`: often
        when there is little to go through, and seldom later.
    learning_rate
        Share of the Newton step that a tree takes.
    l2
        Pull of a leaf's value towards zero, in units of the second derivative.
    least_hessian
        Sum of second derivatives on each side of a split.
    row_share, feature_share
        Of the kept rows and of the features, drawn for each tree.
    largest_leaf
        Bound of a leaf's value in log-odds, and so of what one tree can do.
    """

    trees: int = 150
    depth: int = 5
    bins: int = 128
    kept_rows: int = 65_536
    legitimate_per_fraud: float = 5.0
    hard_share: float = 20.0
    interval: int = 2048
    first_interval: int = 64
    patience: int = 32
    learning_rate: float = 0.15
    l2: float = 3.0
    least_hessian: float = 1.0
    row_share: float = 0.7
    feature_share: float = 0.5
    largest_leaf: float = 2.0


_EDGE_SAMPLE = 2048
"""Kept rows of each class of which quantiles are taken."""


class BoostedTrees:
    """Online gradient boosting on kept rows; needs no scaling.

    Scores are worth trusting after about a hundred frauds. Memory: with the default settings 65,536 rows of 5 bytes a
    feature and 13 bytes besides, and 71 KB of trees: 15 MB for 42 features.

    Parameters
    ----------
    feature_names
        The F columns, in their order; fewer than 32,768.
    seed
        Of all that is drawn.
    settings
        Size and growth.

    Examples
    --------
    >>> learner = BoostedTrees(("amount",))
    >>> for i in range(4000):
    ...     learner.learn_one({"amount": float(i % 10)}, y=i % 10 == 5)
    >>> learner.predict_proba_one({"amount": 5.0})[True] > 0.6 > 0.2 > learner.predict_proba_one({"amount": 8.0})[True]
    True
    """

    name = KIND

    def __init__(self, feature_names: tuple[str, ...], seed: int = 0, settings: BoostingSettings | None = None) -> None:
        if not 0 < len(feature_names) < 1 << 15:
            raise InputError(f"{len(feature_names)} features, expected 1 to 32,767")
        self.feature_names = feature_names
        self.settings = s = settings or BoostingSettings()
        if not 2 <= s.bins <= 255:
            raise InputError(f"{s.bins} bins, expected 2 to 255")
        self._seed = seed
        features, inner = len(feature_names), (1 << s.depth) - 1
        kept = s.kept_rows
        # Labels; of them legitimate, and frauds; rows kept, ever; trees grown, ever; labels at which the next one is;
        # trees at which edges are set anew.
        self._counts = np.zeros(7, np.int64)
        self._bias = np.zeros(1)  # log-odds of the stream's share of frauds
        self._rows = np.zeros((kept, features), np.float32)  # a ring
        self._row_label = np.zeros(kept, np.uint8)
        self._row_weight = np.zeros(kept, np.float32)  # labels that a kept row stands for
        self._margin = np.zeros(kept)  # what the trees say of it, log-odds without the bias
        self._edges = np.full((features, s.bins - 1), np.inf, np.float32)  # rising
        self._binned = np.zeros((kept, features), np.uint8)  # follows from rows and edges
        self._feature = np.full((s.trees, inner), -1, np.int16)  # tested, by level; -1 where all rows go left
        self._threshold = np.zeros((s.trees, inner), np.float32)  # greatest value that goes left
        self._default_left = np.ones((s.trees, inner), np.uint8)  # whether a missing one does
        self._leaf = np.zeros((s.trees, inner + 1))  # log-odds

    @property
    def labels_seen(self) -> int:
        """How many labels were learned."""
        return int(self._counts[0])

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays held."""
        return self._binned.nbytes + sum(array.nbytes for array in self._arrays().values())

    def learn_many(self, X: F32, y: U8 | Bool, weight: F32 | None = None) -> None:
        """Learn rows in their order; see `Learner.learn_many`. Equal to a loop of `learn_one`, bit for bit."""
        rows = as_rows(X, len(self.feature_names))
        s = self.settings
        learn(
            rows, as_labels(y, len(rows)), as_weights(weight, len(rows)), self._seed, self._counts, self._bias,
            self._rows, self._row_label, self._row_weight, self._margin, self._binned, self._edges,
            self._feature, self._threshold, self._default_left, self._leaf,
            s.legitimate_per_fraud, s.hard_share, s.interval, s.first_interval, s.patience, s.learning_rate, s.l2,
            s.least_hessian, s.row_share, s.feature_share, s.largest_leaf, _EDGE_SAMPLE,
        )  # fmt: skip

    def learn_one(self, x: Mapping[str, float], y: bool) -> None:
        """Learn one row."""
        self.learn_many(row_of(x, self.feature_names), np.array([y], np.bool_))

    def predict_proba_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud."""
        return self._scorer().score_many(X)

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """Return the probabilities of False and True."""
        fraud = float(self.predict_proba_many(row_of(x, self.feature_names))[0])
        return {False: 1.0 - fraud, True: fraud}

    def parameters(self) -> bytes:
        """Return the trees alone: 71 KB with the default settings."""
        return self._scorer().pack()

    def snapshot(self) -> bytes:
        """Return the whole state."""
        fields = {"feature_names": list(self.feature_names), "seed": self._seed, "settings": asdict(self.settings)}
        return pack(KIND, VERSION, fields, self._arrays())

    @classmethod
    def restore(cls, snapshot: bytes) -> Self:
        """Return the learner that the snapshot was taken of."""
        packed = unpack(snapshot, KIND, VERSION)
        fields = packed.fields
        learner = cls(tuple(fields["feature_names"]), fields["seed"], BoostingSettings(**fields["settings"]))
        for name, array in learner._arrays().items():
            array[...] = packed.arrays[name]
        kept = min(int(learner._counts[3]), learner.settings.kept_rows)
        bin_rows(learner._rows, 0, kept, learner._edges, learner.settings.bins, learner._binned)
        return learner

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        names = (
            "counts", "bias", "rows", "row_label", "row_weight", "margin", "edges",
            "feature", "threshold", "default_left", "leaf",
        )  # fmt: skip
        return {name: getattr(self, "_" + name) for name in names}

    def _scorer(self) -> BoostedScorer:
        trees = min(int(self._counts[4]), self.settings.trees)
        return BoostedScorer(
            self.feature_names, self.labels_seen, float(self._bias[0]),
            self._feature[:trees].copy(), self._threshold[:trees].copy(), self._default_left[:trees].copy(),
            self._leaf[:trees].copy(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class BoostedScorer:
    """Trees, ready to score: (T, 2^depth - 1) features, thresholds and sides of missing values, (T, 2^depth) leaves.

    Parameters
    ----------
    bias
        Log-odds that the leaves' values are added to.
    """

    feature_names: tuple[str, ...]
    labels_seen: int
    bias: float
    feature: I16
    threshold: F32
    default_left: U8
    leaf: F64

    def score_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud."""
        rows = as_rows(X, len(self.feature_names))
        scores = np.empty(len(rows), np.float32)
        score(rows, self.bias, self.feature, self.threshold, self.default_left, self.leaf, scores)
        return scores

    def pack(self) -> bytes:
        """Return the scorer as bytes."""
        fields: dict[str, Any] = {
            "feature_names": list(self.feature_names),
            "labels_seen": self.labels_seen,
            "bias": self.bias,
        }
        arrays: dict[str, npt.NDArray[Any]] = {
            "feature": self.feature,
            "threshold": self.threshold,
            "default_left": self.default_left,
            "leaf": self.leaf,
        }
        return pack(PARAMETERS_KIND, VERSION, fields, arrays)

    @classmethod
    def unpack(cls, parameters: bytes) -> Self:
        """Return the scorer that `pack` was called on."""
        packed = unpack(parameters, PARAMETERS_KIND, VERSION)
        names, labels_seen, bias = (packed.fields[name] for name in ("feature_names", "labels_seen", "bias"))
        return cls(tuple(names), labels_seen, bias, **packed.arrays)
