"""Random numbers as a function of a seed and a counter: no generator state to store, and the same after every restart.

References
----------
Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014, https://doi.org/10.1145/2660193.2660195
(the finaliser of SplitMix64)
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, inline="always")
def random_bits(seed, counter):  # type: ignore[no-untyped-def]
    """Return 64 random bits of a counter >= 0, under a seed."""
    z = np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
    z += np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def random_unit(seed, counter):  # type: ignore[no-untyped-def]
    """Return a random float in [0, 1)."""
    return np.float64(random_bits(seed, counter) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True, inline="always")
def random_below(seed, counter, limit):  # type: ignore[no-untyped-def]
    """Return a random integer in [0, limit)."""
    return np.int64(random_unit(seed, counter) * limit)


@njit(cache=True, nogil=True)
def random_poisson(mean, uniform):  # type: ignore[no-untyped-def]
    """Return the Poisson quantile of a uniform number: 0, 1, ... for a small mean."""
    term = np.exp(-mean)
    cumulated = term
    k = 0
    while uniform >= cumulated and k < 100:
        k += 1
        term *= mean / k
        cumulated += term
    return k
