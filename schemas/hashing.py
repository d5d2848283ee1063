"""64-bit hashes of identifiers: the keys under which entities are stored and sharded.

The function is XXH64, so any language can compute the key of an entity from its id.

References
----------
xxHash fast digest algorithm, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

from __future__ import annotations

import numpy as np
from numba import njit

from schemas.columns import U64, StringColumn
from schemas.layout import dense_slices
from schemas.memory import address_of, load_u8, load_u32, load_u64

# Primes of the specification.
_PRIME_1 = np.uint64(0x9E3779B185EBCA87)
_PRIME_2 = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME_3 = np.uint64(0x165667B19E3779F9)
_PRIME_4 = np.uint64(0x85EBCA77C2B2AE63)
_PRIME_5 = np.uint64(0x27D4EB2F165667C5)


@njit(cache=True, nogil=True, inline="always")
def _rotate_left(value, bits):  # type: ignore[no-untyped-def]
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@njit(cache=True, nogil=True)
def _round(accumulator, word):  # type: ignore[no-untyped-def]
    return _rotate_left(accumulator + word * _PRIME_2, 31) * _PRIME_1


@njit(cache=True, nogil=True)
def _merge(accumulator, lane):  # type: ignore[no-untyped-def]
    return (accumulator ^ _round(np.uint64(0), lane)) * _PRIME_1 + _PRIME_4


@njit(cache=True, nogil=True)
def xxh64_at(address, length, seed):  # type: ignore[no-untyped-def]
    """Hash `length` bytes at an address; `seed` is a uint64. Callable from other compiled code."""
    at = np.int64(0)
    end = np.int64(length)
    if length >= 32:
        v1 = seed + _PRIME_1 + _PRIME_2
        v2 = seed + _PRIME_2
        v3 = seed
        v4 = seed - _PRIME_1
        while at <= end - 32:
            v1 = _round(v1, load_u64(address, at))
            v2 = _round(v2, load_u64(address, at + 8))
            v3 = _round(v3, load_u64(address, at + 16))
            v4 = _round(v4, load_u64(address, at + 24))
            at += 32
        h = _rotate_left(v1, 1) + _rotate_left(v2, 7) + _rotate_left(v3, 12) + _rotate_left(v4, 18)
        h = _merge(h, v1)
        h = _merge(h, v2)
        h = _merge(h, v3)
        h = _merge(h, v4)
    else:
        h = seed + _PRIME_5
    h += np.uint64(length)
    while at + 8 <= end:
        h = _rotate_left(h ^ _round(np.uint64(0), load_u64(address, at)), 27) * _PRIME_1 + _PRIME_4
        at += 8
    if at + 4 <= end:
        h = _rotate_left(h ^ (load_u32(address, at) * _PRIME_1), 23) * _PRIME_2 + _PRIME_3
        at += 4
    while at < end:
        h = _rotate_left(h ^ (load_u8(address, at) * _PRIME_5), 11) * _PRIME_1
        at += 1
    h = (h ^ (h >> np.uint64(33))) * _PRIME_2
    h = (h ^ (h >> np.uint64(29))) * _PRIME_3
    return h ^ (h >> np.uint64(32))


@njit(cache=True, nogil=True)
def xxh64(buffer, start, length, seed):  # type: ignore[no-untyped-def]
    """Hash `buffer[start : start + length]`; `seed` is a uint64. Callable from other compiled code."""
    return xxh64_at(address_of(buffer) + start, length, seed)


@njit(cache=True, nogil=True)
def _hash_slices(buffer, offsets, lengths, seed, out):  # type: ignore[no-untyped-def]
    address = address_of(buffer)
    for i in range(len(offsets)):
        out[i] = xxh64_at(address + offsets[i], lengths[i], seed) if lengths[i] >= 0 else np.uint64(0)


def hash_strings(column: StringColumn, seed: int = 0) -> U64:
    """Return the XXH64 of every string of a column, (n,); a null string gives 0.

    Examples
    --------
    >>> [hex(h) for h in hash_strings(StringColumn.from_values(["abc", None]))]
    ['0x44bc2cf5ad770999', '0x0']
    """
    buffer, offsets, lengths = dense_slices(column)
    out = np.empty(len(offsets), np.uint64)
    _hash_slices(buffer, offsets, lengths, np.uint64(seed), out)
    return out
