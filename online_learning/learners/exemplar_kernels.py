"""Compiled loops of the exemplars: whitening by the legitimate rows, a direction for each, and its weight."""

from __future__ import annotations

import numpy as np
from numba import njit

LIMIT = 6.0
"""Standard deviations: no single value decides alone. Passed as an argument: numba would freeze it into its cache."""

SEEN, LEGITIMATE, MISSED, SINCE = range(4)
"""Places in the counts: labels, legitimate rows, missed frauds, and rows since the last refresh."""


@njit(cache=True, nogil=True)
def squash(row, out):  # type: ignore[no-untyped-def]
    """Write sign(x) log(1 + |x|) of each value; what is missing stays so."""
    for j in range(len(row)):
        x = np.float64(row[j])
        out[j] = np.sign(x) * np.log1p(np.abs(x)) if np.isfinite(x) else np.nan


@njit(cache=True, nogil=True)
def standardise(squashed, mean, scale, limit, out):  # type: ignore[no-untyped-def]
    """Write standardised values, 0 where one is missing."""
    for j in range(len(squashed)):
        z = (np.float64(squashed[j]) - mean[j]) * scale[j]
        out[j] = min(max(z, -limit), limit) if np.isfinite(z) else 0.0


@njit(cache=True, nogil=True)
def invert(matrix):  # type: ignore[no-untyped-def]
    """Invert a positive definite (F, F) matrix by Cholesky, in an order of sums that is always the same."""
    n = len(matrix)
    lower = np.zeros((n, n))
    for j in range(n):
        for i in range(j, n):
            total = matrix[i, j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(max(total, 1e-9)) if i == j else total / lower[j, j]
    inverse = np.zeros((n, n))
    column = np.zeros(n)
    for c in range(n):
        for i in range(n):
            total = 1.0 if i == c else 0.0
            for k in range(i):
                total -= lower[i, k] * column[k]
            column[i] = total / lower[i, i]
        for i in range(n - 1, -1, -1):
            total = column[i]
            for k in range(i + 1, n):
                total -= lower[k, i] * inverse[k, c]
            inverse[i, c] = total / lower[i, i]
    return inverse


@njit(cache=True, nogil=True)
def whiten(rows, ridge, limit, mean, scale, inverse):  # type: ignore[no-untyped-def]
    """Fill mean and scale of squashed legitimate rows (n, F), and the inverse of their covariance with a ridge."""
    n, features = rows.shape
    for j in range(features):
        count, centre, square = 0, np.float64(0.0), np.float64(0.0)
        for i in range(n):
            x = np.float64(rows[i, j])
            if np.isfinite(x):
                count += 1
                step = x - centre
                centre += step / count
                square += step * (x - centre)
        mean[j] = centre
        scale[j] = np.sqrt(count / square) if square > 1e-9 * max(count, 1) else 0.0
    covariance = np.zeros((features, features))
    z = np.empty(features)
    for i in range(n):
        standardise(rows[i], mean, scale, limit, z)
        for j in range(features):
            if z[j] != 0.0:
                for k in range(features):
                    covariance[j, k] += z[j] * z[k]
    for j in range(features):
        for k in range(features):
            covariance[j, k] /= n
        covariance[j, j] += ridge
    inverse[:] = invert(covariance)


@njit(cache=True, nogil=True)
def direct(slot, exemplars, legitimate, share, limit, mean, scale, inverse, directions, thresholds):  # type: ignore[no-untyped-def]
    """Set direction and threshold of one exemplar: only `share` of the legitimate rows lie beyond the threshold."""
    features = len(mean)
    z, direction = np.empty(features), np.empty(features)
    standardise(exemplars[slot], mean, scale, limit, z)
    length = 0.0
    for j in range(features):
        direction[j] = 0.0
        for k in range(features):
            direction[j] += inverse[j, k] * z[k]
        length += direction[j] * z[j]
    # In whitened space the direction has length 1, so that margins of different exemplars compare.
    length = np.sqrt(max(length, 1e-9))
    for j in range(features):
        directions[j, slot] = direction[j] / length
        direction[j] = directions[j, slot]  # as rounded to float32
    margins = np.empty(len(legitimate))
    for i in range(len(legitimate)):
        standardise(legitimate[i], mean, scale, limit, z)
        margins[i] = 0.0
        for j in range(features):
            margins[i] += z[j] * direction[j]
    margins.sort()
    thresholds[slot] = margins[int((1.0 - share) * (len(margins) - 1))]


@njit(cache=True, nogil=True)
def count_support(used, exemplars, limit, mean, scale, directions, thresholds, votes):  # type: ignore[no-untyped-def]
    """Weigh each exemplar by log2(2 + others that lie beyond its threshold)."""
    features = len(mean)
    z = np.empty(features)
    votes[:] = 0.0
    votes[:used] = 1.0
    for other in range(used):
        standardise(exemplars[other], mean, scale, limit, z)
        for slot in range(used):
            if slot == other:
                continue
            total = 0.0
            for j in range(features):
                total += z[j] * directions[j, slot]
            if total > thresholds[slot]:
                votes[slot] += 1.0
    for slot in range(used):
        votes[slot] = np.log2(1.0 + votes[slot])


@njit(cache=True, nogil=True)
def evidence_of(squashed, limit, mean, scale, directions, thresholds, votes, z, margins):  # type: ignore[no-untyped-def]
    """Return the largest of votes times margin among the exemplars whose threshold a squashed row lies beyond."""
    standardise(squashed, mean, scale, limit, z)
    slots = len(thresholds)
    for slot in range(slots):
        margins[slot] = -thresholds[slot]
    for j in range(len(z)):
        value, of_feature = z[j], directions[j]
        if value != 0.0:
            for slot in range(slots):
                margins[slot] += value * of_feature[slot]
    strongest = 0.0
    for slot in range(slots):
        strongest = max(strongest, votes[slot] * margins[slot])
    return strongest


@njit(cache=True, nogil=True)
def score(X, limit, mean, scale, directions, thresholds, votes, unit, scores):  # type: ignore[no-untyped-def]
    """Write g^2 / (g^2 + unit^2) of each row's evidence g."""
    squashed, z, margins = np.empty(X.shape[1]), np.empty(X.shape[1]), np.empty(len(thresholds))
    for i in range(len(X)):
        squash(X[i], squashed)
        g = evidence_of(squashed, limit, mean, scale, directions, thresholds, votes, z, margins)
        scores[i] = g * g / (g * g + unit * unit) if g > 0.0 else 0.0


@njit(cache=True, nogil=True)
def learn(  # type: ignore[no-untyped-def]
    X, y, weight, is_found, counts, legitimate, exemplars, mean, scale, inverse, directions, thresholds, votes, unit,
    least_legitimate, share, ridge, refresh, limit,
):  # fmt: skip
    """Learn rows in their order; `is_found` are frauds that need no exemplar."""
    features = X.shape[1]
    squashed, z, margins = np.empty(features), np.empty(features), np.empty(len(thresholds))
    for i in range(len(X)):
        counts[SEEN] += 1
        if weight[i] == 0.0 or (y[i] == 1 and is_found[i]):
            continue
        squash(X[i], squashed)
        counts[SINCE] += 1
        if y[i] == 0:
            legitimate[counts[LEGITIMATE] % len(legitimate)] = squashed
            counts[LEGITIMATE] += 1
        else:
            slot = counts[MISSED] % len(exemplars)
            exemplars[slot] = squashed
            counts[MISSED] += 1
        kept = legitimate[: min(counts[LEGITIMATE], len(legitimate))]
        used = min(counts[MISSED], len(exemplars))
        if len(kept) < least_legitimate:
            continue
        if counts[SINCE] >= refresh or unit[0] == 0.0:
            counts[SINCE] = 0
            whiten(kept, ridge, limit, mean, scale, inverse)
            for slot in range(used):
                direct(slot, exemplars, kept, share, limit, mean, scale, inverse, directions, thresholds)
            count_support(used, exemplars, limit, mean, scale, directions, thresholds, votes)
            evidence = np.empty(len(kept))
            for k in range(len(kept)):
                evidence[k] = evidence_of(kept[k], limit, mean, scale, directions, thresholds, votes, z, margins)
            evidence.sort()
            # Evidence is measured in that which `share` of the legitimate rows exceed.
            unit[0] = max(evidence[int((1.0 - share) * (len(kept) - 1))], 0.1)
        elif y[i] == 1:
            direct(slot, exemplars, kept, share, limit, mean, scale, inverse, directions, thresholds)
            count_support(used, exemplars, limit, mean, scale, directions, thresholds, votes)
