"""Where the touches of a block go: each to its part, its results to their place among those of its role."""

from __future__ import annotations

import numpy as np
from numba import njit

from models.features.kernels.squares import KERNEL
from models.features.touches import LABEL

_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # of keys that a caller numbered: the golden ratio in 64 bits
_TOP_BITS = np.uint64(61)


@njit(inline="always", **KERNEL)
def _part_of(entity, parts):
    return np.int64(((entity * _SPREAD) >> _TOP_BITS) % np.uint64(parts)) if parts > 1 else 0


@njit(**KERNEL)
def count_touches(touches, of_part, of_role):
    """Count touches by part and by role; the last of `of_role` counts roles that there are not."""
    for i in range(len(touches)):
        of_role[min(np.int64(touches[i]["role"]), len(of_role) - 1)] += 1
        of_part[_part_of(touches[i]["entity"], len(of_part))] += 1


@njit(**KERNEL)
def place_touches(touches, first, part_at, row_at, value_at, columns, sorted_touches, values_at, events, sequences):
    """Sort touches by part, and say of each where its results go.

    `part_at`, `row_at` and `value_at` hold where the next touch of each part, and the next row and value of each role,
    goes; they are moved on. `first` is the number of the first touch.
    """
    for i in range(len(touches)):
        touch = touches[i]
        part = _part_of(touch["entity"], len(part_at))
        to = part_at[part]
        part_at[part] += 1
        copy = sorted_touches[to]
        copy["entity"] = touch["entity"]
        copy["other"] = touch["other"]
        copy["time_ms"] = touch["time_ms"]
        copy["amount"] = touch["amount"]
        copy["event"] = touch["event"]
        copy["role"] = touch["role"]
        copy["is_fraud"] = touch["is_fraud"]
        copy["padding"] = 0
        role = np.int64(touch["role"])
        if role == LABEL:
            values_at[to] = 0  # a label reads nothing
            continue
        events[row_at[role]] = touch["event"]
        sequences[row_at[role]] = first + i
        row_at[role] += 1
        values_at[to] = value_at[role]
        value_at[role] += columns[role]
