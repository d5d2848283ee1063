"""Which bin each value falls into: the compiled loop behind references and windows."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def bin_of(x, edges, edge_count):  # type: ignore[no-untyped-def]
    """Return the first bin whose upper edge is at least x, or `edge_count` behind the last edge."""
    low, high = 0, edge_count
    while low < high:
        middle = (low + high) // 2
        if edges[middle] < x:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def count_row(row, weight, edges, bins, counts, weights, sums):  # type: ignore[no-untyped-def]
    """Add one row to counts (F, B), and its finite values to weights (F,) and sums (F,)."""
    missing = counts.shape[1] - 1
    for j in range(len(row)):
        x = np.float64(row[j])
        if np.isnan(x):
            counts[j, missing] += weight
            continue
        counts[j, bin_of(x, edges[j], bins[j] - 1)] += weight
        if np.isfinite(x):
            weights[j] += weight
            sums[j] += weight * x


@njit(cache=True, nogil=True)
def count_rows(X, weight, edges, bins, counts, weights, sums):  # type: ignore[no-untyped-def]
    """Add rows in their order; see `count_row`."""
    for i in range(len(X)):
        count_row(X[i], weight[i], edges, bins, counts, weights, sums)
