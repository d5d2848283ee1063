"""The tree part of a model, compiled: many rows pass a split at a time, and no branch depends on a row.

ONNX Runtime walks each tree for each row, and every step waits for the one before it. Here each leaf of a tree is a
bit, counted from the left; a split that sends a row to the right takes away the bits of the leaves on its left, and
the first bit that is left is the leaf. Splits are taken feature by feature in the order of their thresholds, so those
that no row of the block exceeds are never looked at.

References
----------
Lucchese, Nardini, Orlando, Perego, Tonellotto, Venturini, "QuickScorer: a fast algorithm to rank documents with
additive ensembles of regression trees", SIGIR 2015, https://doi.org/10.1145/2766462.2767733; in vectors: "Exploiting
CPU SIMD extensions to speed-up document scoring with tree ensembles", SIGIR 2016,
https://doi.org/10.1145/2911451.2914758
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from models.scoring.attribution import Trees
from schemas.columns import F32, F64, I64, U32

LEAVES = 32
"""A tree's leaves are the bits of one word."""
ROWS = 64
"""Of a block. Fewer pay for the entry into the loop over them, more fall out of the nearest cache."""
_LARGEST = float(np.finfo(np.float32).max)
_ALL = 0xFFFFFFFF

_KERNEL: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
# No value is NaN where this is used, and which of two equal ones is the largest does not matter.
_WITHOUT_NAN = {**_KERNEL, "fastmath": {"nnan", "nsz", "reassoc"}}


@dataclass(frozen=True, slots=True)
class TreeScorer:
    """Splits of an ensemble, by column and threshold.

    A column of the features occurs twice: once with missing values at the far left, for splits that send them there,
    and once at the far right. `key` is 2 * column, plus 1 for the latter.
    """

    key: I64  # (keys,) ascending
    start: I64  # (keys + 1,) first split of each key
    threshold: F32  # (splits,) ascending within a key; a row goes right where it is larger
    tree: I64  # (splits,)
    kept: U32  # (splits,) leaves that remain of the tree where a row goes right
    leaf: F64  # (trees, 32) log-odds, leaves from left to right

    @classmethod
    def compile(cls, trees: Trees) -> Self | None:
        """Return a scorer; None where a tree has more than 32 leaves."""
        splits: list[tuple[int, float, int, int]] = []
        leaf = np.zeros((len(trees.roots), LEAVES))
        for tree, root in enumerate(trees.roots.tolist()):
            leaves: list[float] = []
            _collect(trees, root, tree, leaves, splits)
            if len(leaves) > LEAVES:
                return None
            leaf[tree, : len(leaves)] = leaves
        splits.sort()
        keys = np.array([split[0] for split in splits], np.int64)
        key, start = np.unique(keys, return_index=True)
        return cls(
            key=key,
            start=np.append(start, len(splits)).astype(np.int64),
            threshold=np.array([split[1] for split in splits], np.float32),
            tree=np.array([split[2] for split in splits], np.int64),
            kept=np.array([split[3] for split in splits], np.uint32),
            leaf=leaf,
        )

    def log_odds(self, X: F32) -> F64:
        """Return each row's raw prediction, the sum of its leaves in the order of the trees.

        Parameters
        ----------
        X
            (n, F) feature values in the model's order; NaN is missing.
        """
        out = np.zeros(len(X))
        if len(X):
            columns = np.empty((len(self.key), ROWS), np.float32)
            bits = np.empty((len(self.leaf), ROWS), np.uint32)
            _score(X, self.key, self.start, self.threshold, self.tree, self.kept, self.leaf, columns, bits, out)
        return out


def _collect(trees: Trees, node: int, tree: int, leaves: list[float], splits: list[tuple[int, float, int, int]]) -> int:
    """Walk a tree from left to right; return the bits of the leaves below a node."""
    if trees.feature[node] < 0:
        leaves.append(float(trees.value[node]))
        return 1 << max(LEAVES - len(leaves), 0)
    left = _collect(trees, int(trees.left[node]), tree, leaves, splits)
    right = _collect(trees, int(trees.right[node]), tree, leaves, splits)
    # An infinite threshold sends only missing values to the right: every other value is at most the largest.
    threshold = min(float(trees.threshold[node]), _LARGEST)
    key = 2 * int(trees.feature[node]) + (0 if trees.default_left[node] else 1)
    splits.append((key, threshold, tree, _ALL & ~left))
    return left | right


@intrinsic
def _leading_zeros(typing_context: Any, value: Any) -> Any:
    """Count the zeros before the first bit."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint32(types.uint32), generate


@njit(**_KERNEL)
def _gather(X, first, key, columns):  # type: ignore[no-untyped-def]
    last = len(X) - 1
    largest = np.float32(_LARGEST)
    for k in range(len(key)):
        column = key[k] >> 1
        missing = np.float32(np.inf) if key[k] & 1 else np.float32(-np.inf)
        for r in range(ROWS):
            value = X[min(first + r, last), column]
            value = largest if value > largest else value
            columns[k, r] = missing if np.isnan(value) else value


@njit(**_WITHOUT_NAN)
def _take_away(columns, start, threshold, tree, kept, bits):  # type: ignore[no-untyped-def]
    every = np.uint32(_ALL)
    for k in range(len(columns)):
        largest = columns[k, 0]
        for r in range(ROWS):
            largest = columns[k, r] if columns[k, r] > largest else largest
        for i in range(start[k], start[k + 1]):
            limit = threshold[i]
            if largest <= limit:
                break
            remaining = kept[i]
            t = tree[i]
            for r in range(ROWS):
                bits[t, r] &= remaining if columns[k, r] > limit else every


@njit(**_KERNEL)
def _score(X, key, start, threshold, tree, kept, leaf, columns, bits, out):  # type: ignore[no-untyped-def]
    total = np.zeros(ROWS)
    for first in range(0, len(X), ROWS):
        bits[:] = np.uint32(_ALL)
        _gather(X, first, key, columns)
        _take_away(columns, start, threshold, tree, kept, bits)
        total[:] = 0.0
        for t in range(len(leaf)):
            for r in range(ROWS):
                total[r] += leaf[t, np.int64(_leading_zeros(bits[t, r]))]
        for r in range(min(ROWS, len(X) - first)):
            out[first + r] = total[r]
