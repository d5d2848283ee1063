"""The compiled loop that runs the programs of `programs.py` over a block of records."""

from __future__ import annotations

import numpy as np
from numba import njit

from schemas.binary import (
    BAD_BLOCK,
    BAD_BOOLEAN,
    BAD_BRANCH,
    BAD_SYMBOL,
    BEYOND_END,
    INT_OUT_OF_RANGE,
    NEGATIVE_LENGTH,
    NOT_FINITE,
    TRAILING_BYTES,
    read_long,
    read_string,
)
from schemas.hashing import xxh64_at
from schemas.memory import address_of, load_u8, load_u64
from schemas.programs import (
    BOOLEAN,
    DOUBLE_MAP,
    ENUM,
    INT,
    LONG,
    NULL_NUMBER,
    OPTIONAL,
    SET_NUMBER,
    SET_STRING,
    SKIP_BYTES,
    STRING,
    STRING_ARRAY,
)

_INFINITY_BITS = np.uint64(0x7FF0000000000000)
_SIGN_DROPPED = np.uint64(0x7FFFFFFFFFFFFFFF)


@njit(cache=True, nogil=True)
def _read_block_header(address, at, end):  # type: ignore[no-untyped-def]
    """Return (items, where the block must end or -1, position after the header or minus an error)."""
    items, at = read_long(address, at, end)
    if at < 0 or items >= 0:
        return items, np.int64(-1), at
    # A negative count says that the size of the block in bytes follows.
    size, at = read_long(address, at, end)
    if at < 0:
        return items, np.int64(-1), at
    if size < 0 or items == np.iinfo(np.int64).min:
        return items, np.int64(-1), -NEGATIVE_LENGTH
    if size > end - at:
        return items, np.int64(-1), -BEYOND_END
    return -items, at + size, at


@njit(cache=True, nogil=True)
def _read_string_array(address, at, end):  # type: ignore[no-untyped-def]
    """Return (number of items, position after the array or minus an error)."""
    count = np.int64(0)
    while True:
        items, block_end, at = _read_block_header(address, at, end)
        if at < 0 or (items == 0 and block_end < 0):
            return count, at
        for _ in range(items):
            _, _, at = read_string(address, at, end)
            if at < 0:
                return count, at
        count += items
        if block_end >= 0 and block_end != at:
            return count, -BAD_BLOCK


@njit(cache=True, nogil=True)
def _find_name(address, start, length, hashes, columns, names, name_offsets, name_lengths):  # type: ignore[no-untyped-def]
    """Return the column of an attribute's name, or -1."""
    wanted = xxh64_at(address + start, length, np.uint64(0))
    place = np.searchsorted(hashes, wanted)
    if place == len(hashes) or hashes[place] != wanted:
        return np.int64(-1)
    column = columns[place]
    if name_lengths[column] != length:
        return np.int64(-1)
    for i in range(length):
        if names[name_offsets[column] + i] != load_u8(address, start + i):
            return np.int64(-1)
    return column


@njit(cache=True, nogil=True)
def _read_attributes(address, at, end, bits, hashes, columns, names, name_offsets, name_lengths):  # type: ignore[no-untyped-def]
    """Fill one row of attributes; return (whether one is infinite, position after the map or minus an error)."""
    has_infinite = False
    while True:
        items, block_end, at = _read_block_header(address, at, end)
        if at < 0 or (items == 0 and block_end < 0):
            return has_infinite, at
        for _ in range(items):
            start, length, at = read_string(address, at, end)
            if at < 0:
                return has_infinite, at
            if end - at < 8:
                return has_infinite, -BEYOND_END
            word = load_u64(address, at)
            at += 8
            if word & _SIGN_DROPPED == _INFINITY_BITS:
                has_infinite = True
            if len(bits) > 0:
                column = _find_name(address, start, length, hashes, columns, names, name_offsets, name_lengths)
                if column >= 0:
                    bits[column] = word  # of a name that comes twice, the last counts
        if block_end >= 0 and block_end != at:
            return has_infinite, -BAD_BLOCK


@njit(cache=True, nogil=True)
def _skip_bytes(address, at, end, size):  # type: ignore[no-untyped-def]
    if size < 0:
        size, at = read_long(address, at, end)
        if at < 0:
            return at
        if size < 0:
            return -NEGATIVE_LENGTH
    return at + size if size <= end - at else -BEYOND_END


@njit(cache=True, nogil=True)
def run_programs(  # type: ignore[no-untyped-def]
    buffer, starts, ends, program_of, first_operation, operations, table,
    hashes, columns, names, name_offsets, name_lengths,
    string_offsets, string_lengths, numbers, attribute_bits, errors, error_positions,
):  # fmt: skip
    """Decode each record `buffer[starts[i] : ends[i]]` with program `program_of[i]`; -1 leaves it out.

    Fills column i of `string_offsets`, `string_lengths` and `numbers` (one row a slot), row i of `attribute_bits`
    (doubles as bits), and `errors`: 0, or one of `binary.ERROR_TEXTS`, with where in the buffer it was met.
    """
    address = address_of(buffer)
    for i in range(len(starts)):
        program = program_of[i]
        if program < 0:
            continue
        at, end = starts[i], ends[i]
        met_at = at
        has_infinite = False
        operation = first_operation[program]
        last = first_operation[program + 1]
        while operation < last and at >= 0:
            met_at = at
            code, slot = operations[operation, 0], operations[operation, 1]
            argument = operations[operation, 2]
            operation += 1
            if code == STRING:
                start, length, at = read_string(address, at, end)
                string_offsets[slot, i] = start
                string_lengths[slot, i] = length
            elif code in (LONG, INT):
                value, at = read_long(address, at, end)
                if code == INT and at >= 0 and (value < -0x80000000 or value > 0x7FFFFFFF):
                    at = np.int64(-INT_OUT_OF_RANGE)
                if slot >= 0:
                    numbers[slot, i] = value
            elif code == ENUM:
                symbol, at = read_long(address, at, end)
                if at >= 0:
                    if symbol < 0 or symbol >= operations[operation - 1, 3] or table[argument + symbol] < 0:
                        at = np.int64(-BAD_SYMBOL)
                    else:
                        numbers[slot, i] = table[argument + symbol]
            elif code == OPTIONAL:
                branch, at = read_long(address, at, end)
                if at >= 0:
                    if branch < 0 or branch > 1:
                        at = np.int64(-BAD_BRANCH)
                    elif branch == argument:
                        if operations[operation - 1, 3] == 0:
                            at = np.int64(-BAD_BRANCH)
                        slot = operations[operation, 1]
                        if slot >= 0:
                            if operations[operation, 0] == STRING:
                                string_offsets[slot, i] = 0
                                string_lengths[slot, i] = -1
                            elif operations[operation, 0] != DOUBLE_MAP:
                                numbers[slot, i] = NULL_NUMBER
                        operation += 1
            elif code == STRING_ARRAY:
                count, at = _read_string_array(address, at, end)
                if slot >= 0:
                    numbers[slot, i] = count
                    if at >= 0 and count > 0:
                        string_offsets[argument, i] = met_at
                        string_lengths[argument, i] = at - met_at
            elif code == DOUBLE_MAP:
                row = attribute_bits[i] if slot >= 0 else attribute_bits[i, :0]
                infinite, at = _read_attributes(
                    address, at, end, row, hashes, columns, names, name_offsets, name_lengths
                )
                has_infinite |= infinite and slot >= 0
            elif code == BOOLEAN:
                if at >= end:
                    at = np.int64(-BEYOND_END)
                elif load_u8(address, at) > np.uint64(1):
                    at = np.int64(-BAD_BOOLEAN)
                else:
                    if slot >= 0:
                        numbers[slot, i] = np.int64(load_u8(address, at))
                    at += 1
            elif code == SKIP_BYTES:
                at = _skip_bytes(address, at, end, argument)
            elif code == SET_STRING:
                string_offsets[slot, i] = 0
                string_lengths[slot, i] = argument
            elif code == SET_NUMBER:
                numbers[slot, i] = argument
        if at < 0:
            errors[i] = -at
            error_positions[i] = met_at
        elif at != end:
            errors[i] = TRAILING_BYTES
            error_positions[i] = at
        elif has_infinite:
            errors[i] = NOT_FINITE
            error_positions[i] = starts[i]
