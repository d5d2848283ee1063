"""What callers hand to learners, checked and brought into one form: rows, labels, weights.

Missing values are NaN; infinities count as missing, too. A matrix is copied only where its type or order differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from online_learning.learners.errors import InputError
from schemas.columns import F32, U8, Bool


def as_rows(X: npt.NDArray[np.generic], features: int) -> F32:
    """Return X as (n, features) float32 in C order.

    Raises
    ------
    InputError
        If X has another shape.
    """
    if X.ndim != 2 or X.shape[1] != features:
        raise InputError(f"rows have the shape {X.shape}, expected (n, {features})")
    return np.ascontiguousarray(X, np.float32)


def as_labels(y: U8 | Bool, rows: int) -> U8:
    """Return y as (rows,) uint8 of 0 and 1.

    Raises
    ------
    InputError
        If y has another shape, or holds anything else.
    """
    if y.shape != (rows,):
        raise InputError(f"labels have the shape {y.shape}, expected ({rows},)")
    if y.dtype != np.bool_ and y.dtype != np.uint8:
        raise InputError(f"labels are {y.dtype}, expected bool or uint8")
    labels = np.ascontiguousarray(y).view(np.uint8)
    if rows and labels.max() > 1:
        raise InputError(f"labels reach {labels.max()}, expected 0 and 1")
    return labels


def as_weights(weight: npt.NDArray[np.floating[Any]] | None, rows: int) -> F32:
    """Return weights as (rows,) float32; ones where there are none.

    Raises
    ------
    InputError
        If a weight is negative, infinite or NaN, or the shape differs.
    """
    if weight is None:
        return np.ones(rows, np.float32)
    if weight.shape != (rows,):
        raise InputError(f"weights have the shape {weight.shape}, expected ({rows},)")
    weights = np.ascontiguousarray(weight, np.float32)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise InputError("a weight is negative, infinite or NaN")
    return weights


def row_of(x: Mapping[str, float], feature_names: tuple[str, ...]) -> F32:
    """Return x as (1, F) float32; features that x lacks are missing, unknown ones are ignored."""
    return np.array([[x.get(name, np.nan) for name in feature_names]], np.float32).reshape(1, len(feature_names))
