"""Compiled loops of the replay network: its inputs, its buffers, its scores."""

from __future__ import annotations

import numpy as np
from numba import njit

from online_learning.learners.counter_random import random_below
from online_learning.learners.scaling import standardised


@njit(cache=True, nogil=True)
def fill_inputs(X, mean, scale, limit, inputs):  # type: ignore[no-untyped-def]
    """Write standardised values (0 where missing) and absences (1 where missing) of rows (n, F) into inputs (n, 2F)."""
    features = X.shape[1]
    for i in range(len(X)):
        for j in range(features):
            value = np.float64(X[i, j])
            is_missing = not np.isfinite(value)
            inputs[i, j] = 0.0 if is_missing else standardised(value, mean[j], scale[j], limit)
            inputs[i, features + j] = 1.0 if is_missing else 0.0


@njit(cache=True, nogil=True)
def remember(fresh, seed, counts, legitimate, frauds):  # type: ignore[no-untyped-def]
    """Put rows with label and weight into the buffers: frauds in a ring, legitimate rows anywhere once it is full."""
    for i in range(len(fresh)):
        label, weight = fresh[i, -2], fresh[i, -1]
        if weight == 0.0:
            continue
        if label == 1.0:
            frauds[counts[3] % len(frauds)] = fresh[i]
            counts[3] += 1
        else:
            at = counts[2]
            if at >= len(legitimate):
                at = random_below(seed, counts[2], len(legitimate))
            legitimate[at] = fresh[i]
            counts[2] += 1


@njit(cache=True, nogil=True)
def replayed(seed, steps, counts, legitimate, frauds, most_legitimate, most_frauds):  # type: ignore[no-untyped-def]
    """Return rows drawn from the buffers, with replacement; none from a buffer that is empty."""
    from_legitimate = most_legitimate if counts[2] > 0 else 0
    from_frauds = most_frauds if counts[3] > 0 else 0
    drawn = np.empty((from_legitimate + from_frauds, frauds.shape[1]), np.float32)
    for k in range(len(drawn)):
        counter = steps * (most_legitimate + most_frauds) + k
        if k < from_legitimate:
            drawn[k] = legitimate[random_below(seed + 1, counter, min(counts[2], len(legitimate)))]
        else:
            drawn[k] = frauds[random_below(seed + 1, counter, min(counts[3], len(frauds)))]
    return drawn


@njit(cache=True, nogil=True, inline="always")
def _add_layer(inputs, weights, bias, outputs):  # type: ignore[no-untyped-def]
    for k in range(len(outputs)):
        outputs[k] = bias[k]
    for j in range(len(inputs)):
        if inputs[j] != 0.0:
            for k in range(len(outputs)):
                outputs[k] += inputs[j] * weights[j, k]


@njit(cache=True, nogil=True, inline="always")
def _probability(logit):  # type: ignore[no-untyped-def]
    return 1.0 / (1.0 + np.exp(-min(max(logit, -30.0), 30.0)))


@njit(cache=True, nogil=True)
def score(inputs, weights_1, bias_1, weights_2, bias_2, weights_3, bias_3, scores):  # type: ignore[no-untyped-def]
    """Write probabilities into scores (n,); row by row, so that a score does not depend on its neighbours' number."""
    first = np.empty(len(bias_1), np.float32)
    second = np.empty(len(bias_2), np.float32)
    last = np.empty(1, np.float32)
    for i in range(len(inputs)):
        _add_layer(inputs[i], weights_1, bias_1, first)
        np.maximum(first, np.float32(0.0), first)
        _add_layer(first, weights_2, bias_2, second)
        np.maximum(second, np.float32(0.0), second)
        _add_layer(second, weights_3, bias_3, last)
        scores[i] = _probability(np.float64(last[0]))
