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
def bins_of_row(row, edges, missing, found):  # type: ignore[no-untyped-def]
    """Write the bin of each of F values to `found`; edges are (B, F) and the same as of `bin_of`, then infinity."""
    features = len(row)
    for j in range(features):
        found[j] = 0 if row[j] == row[j] else missing
    for b in range(edges.shape[0]):
        of_bin = edges[b]
        for j in range(features):
            found[j] += np.int32(of_bin[j] < row[j])  # never of a missing value


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
