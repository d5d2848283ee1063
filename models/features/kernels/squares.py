"""Sums of squares of amounts, exact: a value is high * 2^62 + low with 0 <= low < 2^62.

Two signed limbs of 62 bits need no unsigned arithmetic and no carry flag. Amounts are below 2^46.
"""

from __future__ import annotations

from math import sqrt

from numba import njit

KERNEL = {"cache": True, "nogil": True, "_nrt": False}
"""How the store's kernels are compiled. They allocate nothing, so they need not count references to the arrays they
are given: with `_nrt`, which is on by default, a fifth of their time goes into that."""

_LOW_31 = (1 << 31) - 1
_LOW_30 = (1 << 30) - 1
_LIMB = 1 << 62


@njit(inline="always", **KERNEL)
def add_square(high, low, value):
    """Return (high, low) plus value squared."""
    a = value >> 31
    b = value & _LOW_31
    low += b * b
    if low >= _LIMB:
        low -= _LIMB
        high += 1
    if a != 0:
        ab = a * b  # counts twice, times 2^31
        high += a * a + (ab >> 30)
        low += (ab & _LOW_30) << 32
        if low >= _LIMB:
            low -= _LIMB
            high += 1
    return high, low


@njit(inline="always", **KERNEL)
def subtract(high, low, other_high, other_low):
    """Return the difference of two values."""
    high -= other_high
    low -= other_low
    if low < 0:
        low += _LIMB
        high -= 1
    return high, low


@njit(**KERNEL)
def standard_deviation(count, total, high, low):
    """Return the sample standard deviation of `count` >= 2 whole numbers from their sum and sum of squares.

    With the whole-number mean m and the remainder r, the squared deviations from m sum to squares - m (total + r),
    which is exact in integers; only then is r^2 / count taken off in floating point, so nothing cancels.
    """
    mean = total // count
    remainder = total - mean * count
    factor = total + remainder
    a, b = mean >> 31, mean & _LOW_31
    c, d = factor >> 31, factor & _LOW_31
    cross = a * d + b * c
    product_high = a * c + (cross >> 31)
    product_low = (cross & _LOW_31) << 31
    high, low = subtract(high, low, product_high, product_low)
    high, low = subtract(high, low, 0, b * d)
    spread = high * 4611686018427387904.0 + low - (remainder * remainder) / count
    return sqrt(max(0.0, spread) / (count - 1))
