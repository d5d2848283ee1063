"""Random draws inside compiled loops: SplitMix64, so that a stream depends on its seed and on nothing else.

Every account gets its own generator per slice, seeded by (seed, slice, account): the order in which accounts are
visited does not matter.

References
----------
Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014),
https://doi.org/10.1145/2660193.2660195
"""

from __future__ import annotations

import math

import numba
import numpy as np

from schemas.columns import U64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30 = np.uint64(30)
_S27 = np.uint64(27)
_S31 = np.uint64(31)
_S11 = np.uint64(11)


@numba.njit(cache=True, nogil=True, inline="always")
def mix(z: np.uint64) -> np.uint64:
    """Scramble 64 bits; a bijection, so different inputs give different outputs."""
    z = (z ^ (z >> _S30)) * _M1
    z = (z ^ (z >> _S27)) * _M2
    mixed: np.uint64 = z ^ (z >> _S31)
    return mixed


@numba.njit(cache=True, nogil=True, inline="always")
def key(seed: np.uint64, a: int, b: int) -> np.uint64:
    """Return a seed for the pair (a, b)."""
    first: np.uint64 = mix(seed + _GOLDEN * np.uint64(a + 1))
    second: np.uint64 = mix(first + _GOLDEN * np.uint64(b + 1))
    return second


@numba.njit(cache=True, nogil=True, inline="always")
def fraction(bits: np.uint64) -> float:
    """Map 64 bits to [0, 1)."""
    return float(np.int64(bits >> _S11)) * 1.1102230246251565e-16  # 2^-53


@numba.njit(cache=True, nogil=True, inline="always")
def unit(state: U64) -> float:
    """Draw from [0, 1)."""
    state[0] += _GOLDEN
    drawn: float = fraction(mix(state[0]))
    return drawn


@numba.njit(cache=True, nogil=True, inline="always")
def normal(state: U64) -> float:
    """Draw from the standard normal distribution (Box-Muller)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - unit(state)))
    return radius * math.cos(2.0 * math.pi * unit(state))


@numba.njit(cache=True, nogil=True)
def poisson(state: U64, mean: float) -> int:
    """Draw a Poisson number (Knuth's product of uniforms; cost grows with the mean)."""
    count: int = 0
    while mean > 30.0:  # exp(-mean) must stay representable; Poisson numbers add up
        count += poisson_below_30(state, 30.0)
        mean -= 30.0
    count += poisson_below_30(state, mean)
    return count


@numba.njit(cache=True, nogil=True)
def poisson_below_30(state: U64, mean: float) -> int:
    """Draw a Poisson number for a mean up to 30."""
    limit = math.exp(-mean)
    product = unit(state)
    count = 0
    while product > limit:
        product *= unit(state)
        count += 1
    return count
