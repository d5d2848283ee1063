"""Standardisation that follows the stream: mean and variance of each feature over the values seen.

Once `memory` values were seen, older ones fade exponentially with that time constant. Missing values (NaN,
infinities) are not counted. A standardised value is clipped to [-LIMIT, LIMIT], so that one extreme amount cannot
throw a model; a missing one, and one of a feature that never varied, is 0.

References
----------
Welford: Note on a method for calculating corrected sums of squares and products, 1962,
https://doi.org/10.1080/00401706.1962.10490022
"""

from __future__ import annotations

import numpy as np
from numba import njit

LIMIT = 8.0
"""Standard deviations. Passed to the kernels as an argument: numba would freeze it into its cache."""


@njit(cache=True, nogil=True)
def observe(row, memory, count, mean, variance):  # type: ignore[no-untyped-def]
    """Take a row (F,) into count, mean and variance, (F,) float64 each."""
    for j in range(len(row)):
        value = np.float64(row[j])
        if np.isfinite(value):
            count[j] = min(count[j] + 1.0, memory)
            step = 1.0 / count[j]
            difference = value - mean[j]
            mean[j] += step * difference
            variance[j] += step * (difference * (value - mean[j]) - variance[j])


@njit(cache=True, nogil=True)
def observe_many(X, memory, count, mean, variance):  # type: ignore[no-untyped-def]
    """Take rows (n, F) in their order."""
    for i in range(len(X)):
        observe(X[i], memory, count, mean, variance)


@njit(cache=True, nogil=True, inline="always")
def inverse_deviation(variance):  # type: ignore[no-untyped-def]
    """Return what a difference from the mean is multiplied by; 0 for a feature that never varied."""
    return 1.0 / np.sqrt(variance) if variance > 1e-24 else 0.0


@njit(cache=True, nogil=True)
def inverse_deviations(variance):  # type: ignore[no-untyped-def]
    """Return the same of (F,) variances."""
    scale = np.empty(len(variance))
    for j in range(len(variance)):
        scale[j] = inverse_deviation(variance[j])
    return scale


@njit(cache=True, nogil=True, inline="always")
def standardised(value, mean, scale, limit):  # type: ignore[no-untyped-def]
    """Return a finite value in standard deviations from the mean, clipped."""
    return min(max((value - mean) * scale, -limit), limit)
