"""Compiled loops of the online forest: routing, growing, scoring. `forest.py` says what the arrays mean."""

from __future__ import annotations

import numpy as np
from numba import njit

from online_learning.learners.counter_random import random_below, random_poisson, random_unit

LEAF = -1


@njit(cache=True, nogil=True, inline="always")
def _leaf_of(row, feature, threshold, child):  # type: ignore[no-untyped-def]
    """Return the leaf that a row falls into: left up to the threshold, right above it or where the value is missing."""
    node = np.int64(0)
    while feature[node] >= 0:
        value = row[feature[node]]
        is_left = np.isfinite(value) and value <= threshold[node]
        node = np.int64(child[node]) + (0 if is_left else 1)
    return node


@njit(cache=True, nogil=True, inline="always")
def _fraud_share(mass, prior, node, prior_mass):  # type: ignore[no-untyped-def]
    """Return a node's share of frauds, drawn towards what its parent's was when it split."""
    return (mass[node, 1] + prior_mass * prior[node]) / (mass[node, 0] + mass[node, 1] + prior_mass)


@njit(cache=True, nogil=True)
def leaf_shares(nodes, mass, prior, prior_mass, shares):  # type: ignore[no-untyped-def]
    """Write the share of frauds of each node of each tree into shares (T, M)."""
    for t in range(len(nodes)):
        for node in range(nodes[t]):
            shares[t, node] = _fraud_share(mass[t], prior[t], node, prior_mass)


@njit(cache=True, nogil=True)
def score(X, feature, threshold, child, shares, scores):  # type: ignore[no-untyped-def]
    """Write the mean over trees of the leaves' shares into scores (n,)."""
    trees = len(feature)
    for i in range(len(X)):
        total = 0.0
        for t in range(trees):
            total += shares[t, _leaf_of(X[i], feature[t], threshold[t], child[t])]
        scores[i] = total / trees


@njit(cache=True, nogil=True)
def learn(  # type: ignore[no-untyped-def]
    X, y, weight, seed, counts, last_legitimate, order, loss, nodes,
    feature, threshold, child, mass, prior, slot, test_feature, test_threshold, test_mass, checked_mass,
    prior_mass, leaf_memory, check_interval, evidence, bag_mean, renewal,
):  # fmt: skip
    """Learn rows (n, F) with labels and weights (n,) in their order, in every tree."""
    trees = len(order)
    fading = 4.0 / renewal
    for i in range(len(X)):
        row = X[i]
        label = np.int64(y[i])
        number = counts[0]
        counts[0] += 1
        for position in range(trees):
            t = order[position]
            draw = number * trees + position
            leaf = _leaf_of(row, feature[t], threshold[t], child[t])
            share = _fraud_share(mass[t], prior[t], leaf, prior_mass)
            miss = -np.log(max(share if label == 1 else 1.0 - share, 1e-6))
            loss[t] += fading * min(weight[i], 1.0) * (miss - loss[t])
            amount = random_poisson(bag_mean, random_unit(seed, draw)) * weight[i]
            if amount == 0.0:
                continue
            mass[t, leaf, label] += amount
            leaf_mass = mass[t, leaf, 0] + mass[t, leaf, 1]
            if leaf_mass > leaf_memory:
                mass[t, leaf] *= 0.5
                checked_mass[t, slot[t, leaf]] *= 0.5
                leaf_mass *= 0.5
            s = np.int64(slot[t, leaf])
            _add_tests(row, label, seed + 1, draw, last_legitimate, test_feature[t, s], test_threshold[t, s])
            _count(row, label, amount, test_feature[t, s], test_threshold[t, s], test_mass[t, s])
            if leaf_mass >= checked_mass[t, s] + check_interval:
                checked_mass[t, s] = leaf_mass
                if mass[t, leaf, 0] > 0.0 and mass[t, leaf, 1] > 0.0:
                    _try_split(
                        t, leaf, evidence, prior_mass, nodes, feature, threshold, child, mass, prior, slot,
                        test_feature, test_threshold, test_mass, checked_mass,
                    )  # fmt: skip
        if label == 0 and weight[i] > 0.0:
            last_legitimate[:] = row
        if (number + 1) % renewal == 0:
            renew(order, loss, nodes, feature, mass, prior, slot, test_feature, test_mass, checked_mass)


@njit(cache=True, nogil=True)
def _add_tests(row, label, seed, draw, last_legitimate, test_feature, test_threshold):  # type: ignore[no-untyped-def]
    """Fill free tests of a leaf: the first half one by every row, the second half four by every fraud."""
    tests = len(test_feature)
    begin, end, most = (tests // 2, tests, 4) if label == 1 else (0, tests // 2, 1)
    added = 0
    for k in range(begin, end):
        if test_feature[k] >= 0:
            continue
        counter = (draw * tests + k) * 2
        j = random_below(seed, counter, len(row))
        value = np.float64(row[j])
        if not np.isfinite(value):
            break  # the next row may have one
        # Three of four tests by frauds lie between the classes; the fourth has the fraud's own value, which discrete
        # features need.
        if label == 1 and k % 4 != 3 and np.isfinite(last_legitimate[j]):
            value += random_unit(seed, counter + 1) * (np.float64(last_legitimate[j]) - value)
        test_feature[k] = j
        test_threshold[k] = value
        added += 1
        if added == most:
            break


@njit(cache=True, nogil=True)
def _count(row, label, amount, test_feature, test_threshold, test_mass):  # type: ignore[no-untyped-def]
    """Add a row to both sides' sums of every test."""
    for k in range(len(test_feature)):
        j = test_feature[k]
        if j >= 0:
            is_left = np.isfinite(row[j]) and row[j] <= test_threshold[k]
            test_mass[k, 0 if is_left else 1, label] += amount


@njit(cache=True, nogil=True, inline="always")
def _entropy_mass(legitimate, fraud):  # type: ignore[no-untyped-def]
    """Return the entropy of two classes in nats, times their mass."""
    total = legitimate + fraud
    entropy = 0.0
    if legitimate > 0.0:
        entropy -= legitimate * np.log(legitimate / total)
    if fraud > 0.0:
        entropy -= fraud * np.log(fraud / total)
    return entropy


@njit(cache=True, nogil=True)
def _try_split(  # type: ignore[no-untyped-def]
    t, leaf, evidence, prior_mass, nodes, feature, threshold, child, mass, prior, slot,
    test_feature, test_threshold, test_mass, checked_mass,
):  # fmt: skip
    """Split a leaf by its best test if that has evidence enough; else give the worst quarter of its tests up."""
    s = np.int64(slot[t, leaf])
    tests = test_feature.shape[2]
    gains = np.full(tests, -1.0)
    for k in range(tests):
        if test_feature[t, s, k] >= 0:
            left, right = test_mass[t, s, k, 0], test_mass[t, s, k, 1]
            if left[0] + left[1] > 0.0 and right[0] + right[1] > 0.0:
                whole = _entropy_mass(np.float64(left[0]) + right[0], np.float64(left[1]) + right[1])
                gains[k] = whole - _entropy_mass(left[0], left[1]) - _entropy_mass(right[0], right[1])
            else:
                gains[k] = 0.0
    best = np.argmax(gains)
    if gains[best] < evidence or nodes[t] + 2 > feature.shape[1]:
        limit = np.sort(gains)[tests // 4]
        for k in range(tests):
            if test_feature[t, s, k] >= 0 and gains[k] <= limit and k != best:
                test_feature[t, s, k] = LEAF
                test_mass[t, s, k] = 0.0
        return
    left_node = nodes[t]
    share = _fraud_share(mass[t], prior[t], leaf, prior_mass)
    feature[t, leaf] = test_feature[t, s, best]
    threshold[t, leaf] = test_threshold[t, s, best]
    child[t, leaf] = left_node
    nodes[t] += 2
    for side in range(2):
        node = left_node + side
        feature[t, node] = LEAF
        mass[t, node] = test_mass[t, s, best, side]
        prior[t, node] = share
    # Each split makes one leaf more: the left one inherits the slot, the right one takes the next free one.
    slot[t, left_node] = s
    slot[t, left_node + 1] = nodes[t] // 2
    for node in range(left_node, left_node + 2):
        own = slot[t, node]
        test_feature[t, own] = LEAF
        test_mass[t, own] = 0.0
        checked_mass[t, own] = mass[t, node, 0] + mass[t, node, 1]


@njit(cache=True, nogil=True)
def renew(order, loss, nodes, feature, mass, prior, slot, test_feature, test_mass, checked_mass):  # type: ignore[no-untyped-def]
    """Let the tree in the background take the worst tree's place where it is better; begin a new one."""
    last = len(order) - 1
    worst = 0
    for position in range(last):
        if loss[order[position]] > loss[order[worst]]:
            worst = position
    if loss[order[last]] < loss[order[worst]]:
        order[worst], order[last] = order[last], order[worst]
    fresh = order[last]
    overall = 0.0
    for position in range(last):
        root = mass[order[position], 0]
        overall += root[1] / max(root[0] + root[1], 1.0) / last
    begin_tree(fresh, overall, loss, nodes, feature, mass, prior, slot, test_feature, test_mass, checked_mass)


@njit(cache=True, nogil=True)
def begin_tree(t, share, loss, nodes, feature, mass, prior, slot, test_feature, test_mass, checked_mass):  # type: ignore[no-untyped-def]
    """Make tree t one leaf that expects a share of frauds."""
    loss[t] = 0.7  # nats: of somebody who knows nothing
    nodes[t] = 1
    feature[t] = LEAF
    mass[t] = 0.0
    prior[t] = share
    slot[t] = 0
    test_feature[t] = LEAF
    test_mass[t] = 0.0
    checked_mass[t] = 0.0
