"""Avro's binary encoding for compiled code: varints, strings and bounds.

A function that reads takes the address of a buffer, the position in it and the end of the record; it returns the
position after what it read, or a negative number: minus one of the errors below. Nothing is read at or beyond `end`,
whatever the bytes say.

References
----------
Apache Avro specification, Binary Encoding, https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

from __future__ import annotations

import numpy as np
from numba import njit

from schemas.memory import load_u8, load_u64

_HIGH_BITS = np.uint64(0x8080808080808080)

TRUNCATED = 1
VARINT_TOO_LONG = 2
NEGATIVE_LENGTH = 3
BEYOND_END = 4
NOT_UTF8 = 5
BAD_BRANCH = 6
BAD_SYMBOL = 7
BAD_BOOLEAN = 8
INT_OUT_OF_RANGE = 9
BAD_BLOCK = 10
TRAILING_BYTES = 11
NOT_FINITE = 12

ERROR_TEXTS = {
    TRUNCATED: "the record ends in the middle of a value",
    VARINT_TOO_LONG: "a variable-length integer does not fit in 64 bits",
    NEGATIVE_LENGTH: "a length is negative",
    BEYOND_END: "a length reaches beyond the end of the record",
    NOT_UTF8: "a string is not valid UTF-8",
    BAD_BRANCH: "a union names a branch that its schema does not have",
    BAD_SYMBOL: "an enum names a symbol that its schema does not have",
    BAD_BOOLEAN: "a boolean is neither 0 nor 1",
    INT_OUT_OF_RANGE: "an int does not fit in 32 bits",
    BAD_BLOCK: "the size of an array or map block disagrees with what it holds",
    TRAILING_BYTES: "bytes are left over after the last field",
    NOT_FINITE: "an attribute is infinite",
}


@njit(cache=True, nogil=True)
def read_long(address, at, end):  # type: ignore[no-untyped-def]
    """Return (value, position after it or minus an error)."""
    if at >= end:
        return np.int64(0), np.int64(-TRUNCATED)
    byte = load_u8(address, at)
    at += 1
    if byte < np.uint64(0x80):  # most lengths, branches and enums take one byte
        return np.int64(byte >> np.uint64(1)) ^ -np.int64(byte & np.uint64(1)), at
    accumulated = byte & np.uint64(0x7F)
    shift = np.uint64(7)
    while at < end:
        byte = load_u8(address, at)
        at += 1
        # The tenth byte carries bit 63 alone.
        if shift == np.uint64(63) and byte > np.uint64(1):
            return np.int64(0), np.int64(-VARINT_TOO_LONG)
        accumulated |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return np.int64(accumulated >> np.uint64(1)) ^ -np.int64(accumulated & np.uint64(1)), at
        shift += np.uint64(7)
    return np.int64(0), np.int64(-TRUNCATED)


@njit(cache=True, nogil=True)
def _is_ascii(address, at, end):  # type: ignore[no-untyped-def]
    if end - at >= 8:
        any_high = np.uint64(0)
        while at < end - 8:
            any_high |= load_u64(address, at)
            at += 8
        any_high |= load_u64(address, end - 8)  # the last word may overlap the one before
        return any_high & _HIGH_BITS == np.uint64(0)
    any_high = np.uint64(0)
    while at < end:
        any_high |= load_u8(address, at)
        at += 1
    return any_high < np.uint64(0x80)


@njit(cache=True, nogil=True)
def _is_utf8(address, at, end):  # type: ignore[no-untyped-def]
    while at < end:
        lead = load_u8(address, at)
        at += 1
        if lead < 0x80:
            continue
        lowest, highest = 0x80, 0xBF  # bounds of the second byte, which rule out overlong forms and surrogates
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                lowest = 0xA0
            elif lead == 0xED:
                highest = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                lowest = 0x90
            elif lead == 0xF4:
                highest = 0x8F
        else:
            return False
        if at + more > end:
            return False
        for k in range(more):
            byte = load_u8(address, at + k)
            if byte < lowest or byte > highest:
                return False
            lowest, highest = 0x80, 0xBF
        at += more
    return True


@njit(cache=True, nogil=True)
def is_utf8(address, at, end):  # type: ignore[no-untyped-def]
    """Tell whether the bytes are well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF)."""
    return _is_ascii(address, at, end) or _is_utf8(address, at, end)


@njit(cache=True, nogil=True)
def read_string(address, at, end):  # type: ignore[no-untyped-def]
    """Return (start, length, position after it or minus an error)."""
    length, at = read_long(address, at, end)
    if at < 0:
        return np.int64(0), np.int64(0), at
    if length < 0:
        return np.int64(0), np.int64(0), np.int64(-NEGATIVE_LENGTH)
    if length > end - at:
        return np.int64(0), np.int64(0), np.int64(-BEYOND_END)
    if not is_utf8(address, at, at + length):
        return np.int64(0), np.int64(0), np.int64(-NOT_UTF8)
    return at, length, at + length


@njit(cache=True, nogil=True)
def write_long(out, at, value):  # type: ignore[no-untyped-def]
    """Write a long and return the position after it; it takes at most 10 bytes."""
    rest = np.uint64((value << 1) ^ (value >> 63))
    while rest >= np.uint64(0x80):
        out[np.uint64(at)] = np.uint8((rest & np.uint64(0x7F)) | np.uint64(0x80))
        rest >>= np.uint64(7)
        at += 1
    out[np.uint64(at)] = np.uint8(rest)
    return at + 1


@njit(cache=True, nogil=True)
def write_bytes(out, at, source, start, length):  # type: ignore[no-untyped-def]
    """Copy `source[start : start + length]` and return the position after it."""
    for i in range(length):
        out[np.uint64(at + i)] = source[np.uint64(start + i)]
    return at + length
