"""Half-Space Trees: unusual is what falls where few rows of the last window fell.

Every tree cuts the space of features at random, without looking at data; its nodes count the rows of the current
window, and scores use the counts of the window before. Values are brought to [0, 1] as 0.5 + z / 16, z being standard
deviations from the mean at the end of the last window, clipped to 8. A missing value sits at the mean.

References
----------
Tan, Ting, Liu: Fast anomaly detection for streaming data, IJCAI 2011,
https://www.ijcai.org/Proceedings/11/Papers/254.pdf
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numba import njit

from online_learning.learners.counter_random import random_below, random_unit
from online_learning.learners.errors import InputError
from online_learning.learners.packed import pack, unpack
from online_learning.learners.rows import as_rows, row_of
from online_learning.learners.scaling import LIMIT, inverse_deviations, observe, standardised
from schemas.columns import F32, F64, I16, I32

VERSION = 1
"""Of snapshot and parameters. Raised when the meaning of a field changes; other versions are refused."""
KIND = "half-space-trees"
PARAMETERS_KIND = "half-space-trees-parameters"


@dataclass(frozen=True, slots=True)
class HalfSpaceSettings:
    """Size of the ensemble.

    Parameters
    ----------
    trees
        25 in the paper.
    height
        Cuts from root to leaf: a tree has 2^(height + 1) - 1 nodes. The paper has 15; 10 take a thirtieth of the
        memory.
    window
        Rows between two changes of the counts that score; 250 in the paper, for far slower streams.
    size_share
        Of the window: a node that fewer rows of the last window fell into is not looked below (the paper's size
        limit, 0.1).
    scaling_memory
        Rows over which mean and variance of a feature are taken, once so many were seen.
    """

    trees: int = 25
    height: int = 10
    window: int = 1000
    size_share: float = 0.1
    scaling_memory: float = 100_000.0


class HalfSpaceTrees:
    """Anomaly detector of constant time and memory.

    Scores are 0 until the first window is full. Then 0.5 is a place as populated as if rows were spread evenly over
    the whole space, and 1 one where the last window had nobody. Memory: with the default settings 0.6 MB, for any
    number of features.

    Parameters
    ----------
    feature_names
        The F columns, in their order; fewer than 32,768.
    seed
        Of the cuts.
    settings
        Size of the ensemble.

    Examples
    --------
    >>> detector = HalfSpaceTrees(("amount", "count"))
    >>> for i in range(1000):
    ...     detector.learn_one({"amount": 20.0 + i % 7, "count": float(i % 3)})
    >>> detector.score_one({"amount": 900.0, "count": 30.0}) > detector.score_one({"amount": 23.0, "count": 1.0})
    True
    """

    name = KIND

    def __init__(
        self, feature_names: tuple[str, ...], seed: int = 0, settings: HalfSpaceSettings | None = None
    ) -> None:
        if not 0 < len(feature_names) < 1 << 15:
            raise InputError(f"{len(feature_names)} features, expected 1 to 32,767")
        self.feature_names = feature_names
        self.settings = s = settings or HalfSpaceSettings()
        self._seed = seed
        features = len(feature_names)
        self._rows = np.zeros(1, np.int64)  # rows seen
        self._scaling = np.zeros((3, features))  # count, mean, variance
        self._frame = np.zeros((2, features))  # mean and 1 / deviation of the last window's end
        self._current = np.zeros((s.trees, (2 << s.height) - 1), np.int32)  # rows of this window by node
        self._reference = np.zeros_like(self._current)  # rows of the last one
        self._feature, self._threshold = _cuts(seed, s.trees, s.height, features)  # a function of the seed: not stored

    @property
    def rows_seen(self) -> int:
        """How many rows were learned."""
        return int(self._rows[0])

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays held."""
        arrays = [*self._arrays().values(), self._feature, self._threshold]
        return sum(array.nbytes for array in arrays)

    def learn_many(self, X: F32) -> None:
        """Learn rows in their order; see `AnomalyDetector.learn_many`. Equal to a loop of `learn_one`, bit for bit."""
        s = self.settings
        _learn(
            as_rows(X, len(self.feature_names)), self._rows, self._scaling, self._frame, self._current,
            self._reference, self._feature, self._threshold, s.height, s.window, s.scaling_memory, LIMIT,
        )  # fmt: skip

    def learn_one(self, x: Mapping[str, float]) -> None:
        """Learn one row."""
        self.learn_many(row_of(x, self.feature_names))

    def score_many(self, X: F32) -> F32:
        """Return (n,) scores."""
        return self._scorer().score_many(X)

    def score_one(self, x: Mapping[str, float]) -> float:
        """Return the score of one row."""
        return float(self.score_many(row_of(x, self.feature_names))[0])

    def parameters(self) -> bytes:
        """Return cuts, counts and scaling: with the default settings 360 KB."""
        return self._scorer().pack()

    def snapshot(self) -> bytes:
        """Return the whole state."""
        fields = {"feature_names": list(self.feature_names), "seed": self._seed, "settings": asdict(self.settings)}
        return pack(KIND, VERSION, fields, self._arrays())

    @classmethod
    def restore(cls, snapshot: bytes) -> Self:
        """Return the detector that the snapshot was taken of."""
        packed = unpack(snapshot, KIND, VERSION)
        fields = packed.fields
        detector = cls(tuple(fields["feature_names"]), fields["seed"], HalfSpaceSettings(**fields["settings"]))
        for name, array in detector._arrays().items():
            array[...] = packed.arrays[name]
        return detector

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "rows": self._rows,
            "scaling": self._scaling,
            "frame": self._frame,
            "current": self._current,
            "reference": self._reference,
        }

    def _scorer(self) -> HalfSpaceScorer:
        s = self.settings
        return HalfSpaceScorer(
            self.feature_names, self.rows_seen, s.height, s.window, s.size_share, self._frame.copy(),
            self._feature, self._threshold, self._reference.copy(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HalfSpaceScorer:
    """Trees, ready to score.

    Parameters
    ----------
    labels_seen
        Rows that were learned.
    frame
        (2, F): mean, and what a difference from it is multiplied by.
    feature, threshold
        (T, 2^height - 1) cuts, in heap order.
    mass
        (T, 2^(height + 1) - 1) rows of the last full window by node.
    """

    feature_names: tuple[str, ...]
    labels_seen: int
    height: int
    window: int
    size_share: float
    frame: F64
    feature: I16
    threshold: F32
    mass: I32

    def score_many(self, X: F32) -> F32:
        """Return (n,) scores."""
        rows = as_rows(X, len(self.feature_names))
        scores = np.zeros(len(rows), np.float32)
        if self.labels_seen >= self.window:
            limit = self.size_share * self.window
            _score(
                rows, self.frame, self.feature, self.threshold, self.mass,
                self.height, self.window, limit, LIMIT, scores,
            )  # fmt: skip
        return scores

    def pack(self) -> bytes:
        """Return the scorer as bytes."""
        fields: dict[str, Any] = {
            "feature_names": list(self.feature_names),
            "labels_seen": self.labels_seen,
            "height": self.height,
            "window": self.window,
            "size_share": self.size_share,
        }
        arrays: dict[str, npt.NDArray[Any]] = {
            "frame": self.frame,
            "feature": self.feature,
            "threshold": self.threshold,
            "mass": self.mass,
        }
        return pack(PARAMETERS_KIND, VERSION, fields, arrays)

    @classmethod
    def unpack(cls, parameters: bytes) -> Self:
        """Return the scorer that `pack` was called on."""
        packed = unpack(parameters, PARAMETERS_KIND, VERSION)
        settings: dict[str, Any] = {**packed.fields, **packed.arrays}
        return cls(**{**settings, "feature_names": tuple(settings["feature_names"])})


@njit(cache=True, nogil=True)
def _cuts(seed, trees, height, features):  # type: ignore[no-untyped-def]
    """Return features and thresholds (T, 2^height - 1): each node halves what is left of one feature's range."""
    inner = (1 << height) - 1
    feature = np.zeros((trees, inner), np.int16)
    threshold = np.zeros((trees, inner), np.float32)
    low = np.empty(features)
    high = np.empty(features)
    for t in range(trees):
        for node in range(inner):
            feature[t, node] = random_below(seed, 2 * (t * inner + node), features)
        for node in range(inner):
            # A work range reaches beyond [0, 1] on both sides, from a random centre (the paper's section 3.2).
            for j in range(features):
                centre = random_unit(seed, 2 * (t * features + j) + 1)
                reach = 2.0 * max(centre, 1.0 - centre)
                low[j], high[j] = centre - reach, centre + reach
            depth = 0
            while (2 << depth) - 1 <= node:
                depth += 1
            path = 0  # the root; then down to `node`, whose number plus one spells the way in binary
            for level in range(depth - 1, -1, -1):
                cut = feature[t, path]
                is_right = ((node + 1) >> level) & 1
                middle = 0.5 * (low[cut] + high[cut])
                if is_right:
                    low[cut] = middle
                else:
                    high[cut] = middle
                path = 2 * path + 1 + is_right
            threshold[t, node] = 0.5 * (low[feature[t, node]] + high[feature[t, node]])
    return feature, threshold


@njit(cache=True, nogil=True, inline="always")
def _place(row, frame, limit, place):  # type: ignore[no-untyped-def]
    """Write a row's coordinates in [0, 1] into place (F,)."""
    for j in range(len(row)):
        value = np.float64(row[j])
        z = standardised(value, frame[0, j], frame[1, j], limit) if np.isfinite(value) else 0.0
        place[j] = 0.5 + z / (2.0 * limit)


@njit(cache=True, nogil=True)
def _learn(X, rows, scaling, frame, current, reference, feature, threshold, height, window, memory, limit):  # type: ignore[no-untyped-def]
    place = np.empty(X.shape[1])
    for i in range(len(X)):
        observe(X[i], memory, scaling[0], scaling[1], scaling[2])
        # The first window has no scaling yet: it is placed by what was seen of itself.
        if rows[0] < window:
            frame[0] = scaling[1]
            frame[1] = inverse_deviations(scaling[2])
        _place(X[i], frame, limit, place)
        for t in range(len(current)):
            node = 0
            current[t, 0] += 1
            for _ in range(height):
                node = 2 * node + (1 if place[feature[t, node]] < threshold[t, node] else 2)
                current[t, node] += 1
        rows[0] += 1
        if rows[0] % window == 0:
            reference[:] = current
            current[:] = 0
            frame[0] = scaling[1]
            frame[1] = inverse_deviations(scaling[2])


@njit(cache=True, nogil=True)
def _score(X, frame, feature, threshold, mass, height, window, size_limit, limit, scores):  # type: ignore[no-untyped-def]
    place = np.empty(X.shape[1])
    trees = len(mass)
    for i in range(len(X)):
        _place(X[i], frame, limit, place)
        density = 0.0  # rows at the place, as a multiple of what an even spread would have
        for t in range(trees):
            node = 0
            depth = 0
            while depth < height and mass[t, node] >= size_limit:
                node = 2 * node + (1 if place[feature[t, node]] < threshold[t, node] else 2)
                depth += 1
            density += np.float64(mass[t, node]) * (1 << depth) / window
        scores[i] = 1.0 / (1.0 + density / trees)
