"""An online forest of randomised trees: bagged, bounded, renewed while the stream runs.

Every tree learns each row a Poisson number of times (online bagging). A leaf holds some random tests, a feature and a
threshold each, and counts both classes on both sides of each; it splits by the best test once its information gain,
summed over the rows counted, passes a number of nats. That is a likelihood ratio, and so judges rare frauds fairly
without weights. Tests that tell nothing are given up for new ones. A further tree grows in the background; at regular
intervals it takes the place of the tree with the highest recent log loss if its own is lower, and another one begins:
so the forest follows drift, as an Adaptive Random Forest does by detectors.

References
----------
Saffari, Leistner, Santner, Godec, Bischof: On-line random forests, 2009, https://doi.org/10.1109/ICCVW.2009.5457447
Gomes et al.: Adaptive random forests for evolving data stream classification, 2017,
https://doi.org/10.1007/s10994-017-5642-8
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from online_learning.learners.errors import InputError
from online_learning.learners.forest_kernels import begin_tree, leaf_shares, learn, score
from online_learning.learners.packed import pack, unpack
from online_learning.learners.rows import as_labels, as_rows, as_weights, row_of
from schemas.columns import F32, I16, I32, U8, Bool

VERSION = 1
"""Of snapshot and parameters. Raised when the meaning of a field changes; other versions are refused."""
KIND = "online-forest"
PARAMETERS_KIND = "online-forest-parameters"


@dataclass(frozen=True, slots=True)
class ForestSettings:
    """Size and growth of the forest.

    Parameters
    ----------
    trees
        That score; one more grows in the background.
    nodes
        Of a tree at most.
    tests
        Of a leaf at a time.
    check_interval
        Rows (by weight) of a leaf between two looks at its tests.
    evidence
        Nats of information that a test must have gathered for a split.
    prior_mass
        Rows that a leaf's inherited share of frauds counts for.
    leaf_memory
        Rows of a leaf at which its counts are halved: leaves forget.
    bag_mean
        Mean number of times that a tree learns a row.
    renewal
        Labels between two chances for the tree in the background.
    """

    trees: int = 20
    nodes: int = 511
    tests: int = 32
    check_interval: float = 20.0
    evidence: float = 6.0
    prior_mass: float = 2.0
    leaf_memory: float = 100_000.0
    bag_mean: float = 1.0
    renewal: int = 50_000


class OnlineForest:
    """Online random forest; needs no scaling.

    Scores are worth trusting after about a hundred frauds. Memory: with the default settings about 4 MB, for any
    number of features.

    Parameters
    ----------
    feature_names
        The F columns, in their order; fewer than 32,768.
    seed
        Of bagging and tests.
    settings
        Size and growth.

    Examples
    --------
    >>> learner = OnlineForest(("amount",))
    >>> for i in range(2000):
    ...     learner.learn_one({"amount": float(i % 10)}, y=i % 10 == 5)
    >>> learner.predict_proba_one({"amount": 5.0})[True] > 0.8 > 0.2 > learner.predict_proba_one({"amount": 8.0})[True]
    True
    """

    name = KIND

    def __init__(self, feature_names: tuple[str, ...], seed: int = 0, settings: ForestSettings | None = None) -> None:
        if not 0 < len(feature_names) < 1 << 15:
            raise InputError(f"{len(feature_names)} features, expected 1 to 32,767")
        self.feature_names = feature_names
        self.settings = s = settings or ForestSettings()
        self._seed = seed
        trees, slots = s.trees + 1, s.nodes // 2 + 1
        self._counts = np.zeros(1, np.int64)  # labels seen
        self._last_legitimate = np.full(len(feature_names), np.nan, np.float32)
        self._order = np.arange(trees)  # trees by place; the last place is the background
        self._loss = np.zeros(trees)  # log loss, fading
        self._nodes = np.ones(trees, np.int64)
        self._feature = np.full((trees, s.nodes), -1, np.int16)  # -1 for a leaf
        self._threshold = np.zeros((trees, s.nodes), np.float32)
        self._child = np.zeros((trees, s.nodes), np.int32)  # the left one; the right one follows it
        self._mass = np.zeros((trees, s.nodes, 2))  # rows by class
        self._prior = np.zeros((trees, s.nodes))  # share of frauds of the parent when it split
        self._slot = np.zeros((trees, s.nodes), np.int32)  # of a leaf, in the arrays below
        self._test_feature = np.full((trees, slots, s.tests), -1, np.int16)  # -1 where free
        self._test_threshold = np.zeros((trees, slots, s.tests), np.float32)
        self._test_mass = np.zeros((trees, slots, s.tests, 2, 2), np.float32)  # rows by side and class
        self._checked_mass = np.zeros((trees, slots))  # of the leaf when its tests were last looked at
        for t in range(trees):
            begin_tree(
                t, 0.5, self._loss, self._nodes, self._feature, self._mass, self._prior, self._slot,
                self._test_feature, self._test_mass, self._checked_mass,
            )  # fmt: skip

    @property
    def labels_seen(self) -> int:
        """How many labels were learned."""
        return int(self._counts[0])

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays held."""
        return sum(array.nbytes for array in self._arrays().values())

    def learn_many(self, X: F32, y: U8 | Bool, weight: F32 | None = None) -> None:
        """Learn rows in their order; see `Learner.learn_many`. Equal to a loop of `learn_one`, bit for bit."""
        rows = as_rows(X, len(self.feature_names))
        s = self.settings
        learn(
            rows, as_labels(y, len(rows)), as_weights(weight, len(rows)), self._seed, self._counts,
            self._last_legitimate, self._order, self._loss, self._nodes,
            self._feature, self._threshold, self._child, self._mass, self._prior, self._slot,
            self._test_feature, self._test_threshold, self._test_mass, self._checked_mass,
            s.prior_mass, s.leaf_memory, s.check_interval, s.evidence, s.bag_mean, s.renewal,
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
        """Return trees without what they grow by: 14 bytes a node, so 143 KB at most with the default settings."""
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
        learner = cls(tuple(fields["feature_names"]), fields["seed"], ForestSettings(**fields["settings"]))
        for name, array in learner._arrays().items():
            array[...] = packed.arrays[name]
        return learner

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        names = (
            "counts", "last_legitimate", "order", "loss", "nodes", "feature", "threshold", "child", "mass", "prior",
            "slot", "test_feature", "test_threshold", "test_mass", "checked_mass",
        )  # fmt: skip
        return {name: getattr(self, "_" + name) for name in names}

    def _scorer(self) -> ForestScorer:
        scoring = self._order[:-1]
        width = int(self._nodes[scoring].max())
        shares = np.zeros((len(scoring), width), np.float32)
        leaf_shares(self._nodes[scoring], self._mass[scoring], self._prior[scoring], self.settings.prior_mass, shares)
        return ForestScorer(
            self.feature_names, self.labels_seen,
            self._feature[scoring, :width], self._threshold[scoring, :width], self._child[scoring, :width], shares,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ForestScorer:
    """Trees, ready to score: (T, M) features tested (-1 for a leaf), thresholds, left children, shares of frauds."""

    feature_names: tuple[str, ...]
    labels_seen: int
    feature: I16
    threshold: F32
    child: I32
    shares: F32

    def score_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud."""
        rows = as_rows(X, len(self.feature_names))
        scores = np.empty(len(rows), np.float32)
        score(rows, self.feature, self.threshold, self.child, self.shares, scores)
        return scores

    def pack(self) -> bytes:
        """Return the scorer as bytes."""
        fields: dict[str, Any] = {"feature_names": list(self.feature_names), "labels_seen": self.labels_seen}
        arrays: dict[str, npt.NDArray[Any]] = {
            "feature": self.feature,
            "threshold": self.threshold,
            "child": self.child,
            "shares": self.shares,
        }
        return pack(PARAMETERS_KIND, VERSION, fields, arrays)

    @classmethod
    def unpack(cls, parameters: bytes) -> Self:
        """Return the scorer that `pack` was called on."""
        packed = unpack(parameters, PARAMETERS_KIND, VERSION)
        return cls(tuple(packed.fields["feature_names"]), packed.fields["labels_seen"], **packed.arrays)
