"""Compiled loops of the boosted trees: keeping, growing, scoring. `boosting.py` says what the arrays mean."""

from __future__ import annotations

import numpy as np
from numba import njit

from online_learning.learners.counter_random import random_unit


@njit(cache=True, nogil=True, inline="always")
def _leaf_of(row, feature, threshold, default_left):  # type: ignore[no-untyped-def]
    """Return the leaf (0 to 2^depth - 1) that a row falls into; a node without a split sends all rows left."""
    node = 0
    inner = len(feature)
    while node < inner:
        j = feature[node]
        is_left = True
        if j >= 0:
            value = row[j]
            is_left = value <= threshold[node] if np.isfinite(value) else default_left[node] == 1
        node = 2 * node + (1 if is_left else 2)
    return node - inner


@njit(cache=True, nogil=True, inline="always")
def _probability(logit):  # type: ignore[no-untyped-def]
    return 1.0 / (1.0 + np.exp(-min(max(logit, -30.0), 30.0)))


@njit(cache=True, nogil=True, inline="always")
def _margin(row, trees, feature, threshold, default_left, leaf):  # type: ignore[no-untyped-def]
    total = 0.0
    for t in range(trees):
        total += leaf[t, _leaf_of(row, feature[t], threshold[t], default_left[t])]
    return total


@njit(cache=True, nogil=True)
def score(X, bias, feature, threshold, default_left, leaf, scores):  # type: ignore[no-untyped-def]
    """Write the probabilities of rows (n, F) into scores (n,)."""
    for i in range(len(X)):
        scores[i] = _probability(bias + _margin(X[i], len(feature), feature, threshold, default_left, leaf))


@njit(cache=True, nogil=True, inline="always")
def _bin_of(value, edges, bins):  # type: ignore[no-untyped-def]
    """Return how many edges are below a value: it is <= edges[b] where its bin is at most b; bins if missing."""
    if not np.isfinite(value):
        return bins
    low, high = 0, bins - 1
    while low < high:
        middle = (low + high) // 2
        if edges[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def bin_rows(rows, begin, end, edges, bins, binned):  # type: ignore[no-untyped-def]
    """Write the bins of some kept rows."""
    for slot in range(begin, end):
        for j in range(rows.shape[1]):
            binned[slot, j] = _bin_of(rows[slot, j], edges[j], bins)


@njit(cache=True, nogil=True)
def _set_edges(rows, row_label, kept, sample, bins, edges):  # type: ignore[no-untyped-def]
    """Set the edges of each feature to quantiles of at most `sample` rows of each class, evenly picked."""
    of_class = np.zeros(2, np.int64)
    for slot in range(kept):
        of_class[row_label[slot]] += 1
    picked = np.empty(2 * sample, np.int64)
    passed, taken = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for slot in range(kept):
        c = row_label[slot]
        wanted = min(sample, of_class[c])
        if taken[c] < wanted and passed[c] * wanted >= taken[c] * of_class[c]:
            picked[taken[0] + taken[1]] = slot
            taken[c] += 1
        passed[c] += 1
    values = np.empty(taken[0] + taken[1], np.float32)
    for j in range(rows.shape[1]):
        found = 0
        for k in range(len(values)):
            value = rows[picked[k], j]
            if np.isfinite(value):
                values[found] = value
                found += 1
        edges[j] = np.inf
        if found:
            ordered = np.sort(values[:found])
            for b in range(bins - 1):
                edges[j, b] = ordered[(b + 1) * (found - 1) // bins]


@njit(cache=True, nogil=True)
def learn(  # type: ignore[no-untyped-def]
    X, y, weight, seed, counts, bias, rows, row_label, row_weight, margin, binned, edges,
    feature, threshold, default_left, leaf,
    legitimate_per_fraud, hard_share, interval, first_interval, patience, learning_rate, l2, least_hessian,
    row_share, feature_share, largest_leaf, sample,
):  # fmt: skip
    """Learn rows (n, F) with labels and weights (n,) in their order."""
    bins = edges.shape[1] + 1
    for i in range(len(X)):
        number = counts[0]
        counts[0] += 1
        if weight[i] > 0.0:
            counts[1 + y[i]] += 1
            trees = min(counts[4], len(feature))
            said = _margin(X[i], trees, feature, threshold, default_left, leaf)
            kept_share = 1.0
            if y[i] == 0:
                kept_share = legitimate_per_fraud * (counts[2] + 1.0) / counts[1] + hard_share * _probability(
                    bias[0] + said
                )
            if random_unit(seed, number) < kept_share:
                slot = counts[3] % len(rows)
                counts[3] += 1
                for j in range(X.shape[1]):
                    value = X[i, j]
                    rows[slot, j] = value if np.isfinite(value) else np.float32(np.nan)
                row_label[slot] = y[i]
                row_weight[slot] = weight[i] / min(kept_share, 1.0)
                margin[slot] = said
                bin_rows(rows, slot, slot + 1, edges, bins, binned)
        if counts[0] >= counts[5]:
            counts[5] = counts[0] + min(interval, max(first_interval, counts[0] // patience))
            if counts[1] == 0 or counts[2] == 0:
                continue
            kept = min(counts[3], len(rows))
            if counts[4] >= counts[6]:  # rarer as the ensemble ages: quantiles settle
                counts[6] = counts[4] + min(16, 1 + counts[4] // 4)
                _set_edges(rows, row_label, kept, sample, bins, edges)
                bin_rows(rows, 0, kept, edges, bins, binned)
            t = counts[4] % len(feature)
            if counts[4] >= len(feature):
                _add_tree(rows, kept, margin, -1.0, feature[t], threshold[t], default_left[t], leaf[t])
            bias[0] = np.log((counts[2] + 0.5) / (counts[1] + 0.5))
            _grow(
                seed + 1, counts[4], bias[0], rows, row_label, row_weight, margin, binned, edges, kept,
                feature[t], threshold[t], default_left[t], leaf[t],
                learning_rate, l2, least_hessian, row_share, feature_share, largest_leaf,
            )  # fmt: skip
            counts[4] += 1
            _add_tree(rows, kept, margin, 1.0, feature[t], threshold[t], default_left[t], leaf[t])


@njit(cache=True, nogil=True)
def _add_tree(rows, kept, margin, sign, feature, threshold, default_left, leaf):  # type: ignore[no-untyped-def]
    """Add a tree's values to the margins of the kept rows, or take them away."""
    for slot in range(kept):
        margin[slot] += sign * leaf[_leaf_of(rows[slot], feature, threshold, default_left)]


@njit(cache=True, nogil=True)
def _grow(  # type: ignore[no-untyped-def]
    seed, number, bias, rows, row_label, row_weight, margin, binned, edges, kept,
    feature, threshold, default_left, leaf,
    learning_rate, l2, least_hessian, row_share, feature_share, largest_leaf,
):  # fmt: skip
    """Grow one tree, level by level, on a sample of kept rows and features: a Newton step of the log loss."""
    bins = edges.shape[1] + 1
    chosen = _chosen_features(seed, number, rows.shape[1], feature_share)
    slots = np.empty(kept, np.int64)
    gradient, hessian = np.empty(kept), np.empty(kept)
    n = 0
    for slot in range(kept):
        if random_unit(seed, number * len(rows) + slot) < row_share:
            p = _probability(bias + margin[slot])
            slots[n] = slot
            gradient[n] = row_weight[slot] * (p - row_label[slot])
            hessian[n] = row_weight[slot] * p * (1.0 - p)
            n += 1
    inner = len(feature)
    node = np.zeros(n, np.int64)
    feature[:] = -1
    begin = 0
    while begin < inner:
        width = begin + 1  # nodes of this level
        sums = np.zeros((width, len(chosen), bins + 1, 2))
        for i in range(n):
            row = binned[slots[i]]
            at = node[i] - begin
            for k in range(len(chosen)):
                b = row[chosen[k]]
                sums[at, k, b, 0] += gradient[i]
                sums[at, k, b, 1] += hessian[i]
        split_bin = np.zeros(width, np.int64)
        for at in range(width):
            k, b, is_left = _best_split(sums[at], l2, least_hessian)
            if k >= 0:
                feature[begin + at] = chosen[k]
                threshold[begin + at] = edges[chosen[k], b]
                default_left[begin + at] = is_left
                split_bin[at] = b
        for i in range(n):
            at = node[i] - begin
            j = feature[node[i]]
            goes_left = True
            if j >= 0:
                b = binned[slots[i], j]
                goes_left = default_left[node[i]] == 1 if b == bins else b <= split_bin[at]
            node[i] = 2 * node[i] + (1 if goes_left else 2)
        begin += width
    totals = np.zeros((len(leaf), 2))
    for i in range(n):
        totals[node[i] - inner, 0] += gradient[i]
        totals[node[i] - inner, 1] += hessian[i]
    for at in range(len(leaf)):
        value = -learning_rate * totals[at, 0] / (totals[at, 1] + l2)
        leaf[at] = min(max(value, -largest_leaf), largest_leaf)


@njit(cache=True, nogil=True)
def _chosen_features(seed, number, features, share):  # type: ignore[no-untyped-def]
    """Return a random sample of the features, at least one."""
    order = np.arange(features)
    size = max(1, int(np.ceil(share * features)))
    for k in range(size):
        other = k + int(random_unit(seed + 1, number * features + k) * (features - k))
        order[k], order[other] = order[other], order[k]
    return np.sort(order[:size])


@njit(cache=True, nogil=True)
def _best_split(sums, l2, least_hessian):  # type: ignore[no-untyped-def]
    """Return feature, bin and side of missing values of the split with the largest gain; -1 where none gains."""
    bins = sums.shape[1] - 1
    best, best_k, best_b, best_left = 1e-6, -1, 0, 1
    for k in range(len(sums)):
        missing_g, missing_h = sums[k, bins, 0], sums[k, bins, 1]
        total_g, total_h = missing_g, missing_h
        for b in range(bins):
            total_g += sums[k, b, 0]
            total_h += sums[k, b, 1]
        before = total_g * total_g / (total_h + l2)
        left_g, left_h = 0.0, 0.0
        for b in range(bins - 1):
            left_g += sums[k, b, 0]
            left_h += sums[k, b, 1]
            for side in range(2):
                if side == 1 and missing_h == 0.0:
                    break
                g = left_g + side * missing_g
                h = left_h + side * missing_h
                rest_h = total_h - h
                if h < least_hessian or rest_h < least_hessian:
                    continue
                gain = g * g / (h + l2) + (total_g - g) ** 2 / (rest_h + l2) - before
                if gain > best:
                    best, best_k, best_b, best_left = gain, k, b, side
    return best_k, best_b, best_left
