"""Which features moved a tree ensemble's answer: Saabas' path attribution, compiled.

On its way down a tree an example passes nodes whose expected values differ; the difference at each split is credited to
the split's feature. The credits of all trees and the ensemble's base value add up to the raw prediction (log-odds)
exactly, for a cost of one walk per tree. Credits of correlated features differ from SHAP values: the feature nearest
to the root takes the larger part.

References
----------
Ando Saabas, Interpreting random forests, 2014, http://blog.datadive.net/interpreting-random-forests/
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit

from models.scoring.errors import ModelError
from schemas.columns import F32, F64, I32, U8


@dataclass(frozen=True, slots=True)
class Trees:
    """All nodes of an ensemble in flat arrays, node ids counting over the whole ensemble.

    A node sends an example to `left` where its feature is <= `threshold`, and a missing value to `left` where
    `default_left` is 1. A leaf has feature -1. `value` is a leaf's output in log-odds, and for an inner node the mean
    output of the training examples below it.
    """

    feature: I32  # (nodes,) column of the model's features; -1 for a leaf
    threshold: F64  # (nodes,) rounded to float32, as the ONNX graph compares
    left: I32  # (nodes,)
    right: I32  # (nodes,)
    value: F64  # (nodes,)
    default_left: U8  # (nodes,)
    roots: I32  # (trees,)

    @classmethod
    def load(cls, path: Path, feature_count: int) -> Trees:
        """Read the arrays of an `.npz` file and check that every walk stays inside them."""
        with np.load(path, allow_pickle=False) as arrays:
            missing = sorted(set(cls.__slots__) - set(arrays.files))
            if missing:
                raise ModelError(f"{path}: arrays {', '.join(missing)} are missing; export the trees again")
            trees = cls(
                feature=arrays["feature"].astype(np.int32),
                threshold=arrays["threshold"].astype(np.float64),
                left=arrays["left"].astype(np.int32),
                right=arrays["right"].astype(np.int32),
                value=arrays["value"].astype(np.float64),
                default_left=arrays["default_left"].astype(np.uint8),
                roots=arrays["roots"].astype(np.int32),
            )
        trees._check(path, feature_count)
        return trees

    def _check(self, path: Path, feature_count: int) -> None:
        nodes = len(self.feature)
        inner = np.flatnonzero(self.feature >= 0)
        same_length = all(len(getattr(self, name)) == nodes for name in ("threshold", "left", "right", "value"))
        # Children lie behind their parent: a walk ends, whatever the values are.
        sound = (
            same_length
            and len(self.default_left) == nodes
            and bool(np.all(self.feature < feature_count))
            and all(bool(np.all((child[inner] > inner) & (child[inner] < nodes))) for child in (self.left, self.right))
            and bool(np.all((self.roots >= 0) & (self.roots < nodes)))
        )
        if not sound:
            raise ModelError(
                f"{path}: expected arrays of one length, features below {feature_count} and children behind their "
                "parents; export the trees again"
            )

    @property
    def base_value(self) -> float:
        """Raw prediction before any feature is looked at: the sum of the roots' values."""
        return float(self.value[self.roots].sum())

    def contributions(self, X: F32) -> F64:
        """Attribute each row's raw prediction to the features.

        Parameters
        ----------
        X
            (m, F) feature values in the model's order; NaN is missing.

        Returns
        -------
        (m, F) log-odds; a row's sum plus `base_value` is its raw prediction.
        """
        out = np.zeros(X.shape, np.float64)
        _walk(
            np.ascontiguousarray(X, np.float32),
            self.feature,
            self.threshold,
            self.left,
            self.right,
            self.value,
            self.default_left,
            self.roots,
            out,
        )
        return out


@njit(cache=True, nogil=True)
def _walk(X, feature, threshold, left, right, value, default_left, roots, out):  # type: ignore[no-untyped-def]
    for row in range(X.shape[0]):
        for root in roots:
            node = root
            while feature[node] >= 0:
                column = feature[node]
                x = np.float64(X[row, column])
                goes_left = default_left[node] == 1 if np.isnan(x) else x <= threshold[node]
                child = left[node] if goes_left else right[node]
                out[row, column] += value[child] - value[node]
                node = child
