"""References to evidence as they stand in transactions: the Avro binary of an array of strings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.columns import StringColumn


def pack_references(rows: Sequence[Sequence[str]]) -> StringColumn:
    """Pack the references of n transactions, as `TransactionColumns.evidence` holds them.

    Examples
    --------
    >>> first_references(pack_references([["a", "b"], []]), 0, 9)
    ['a', 'b']
    """
    packed = [_array(row) for row in rows]
    lengths = np.fromiter(map(len, packed), np.int64, len(packed))
    buffer = np.frombuffer(b"".join(packed), np.uint8)
    return StringColumn(buffer, np.cumsum(lengths) - lengths, lengths.astype(np.int32))


def first_references(column: StringColumn, row: int, most: int) -> list[str]:
    """Return the first `most` references of one transaction; what comes after them is not even looked at.

    The bytes are those that the decoder walked through already, so they are a well-formed array.
    """
    data = column.bytes_at(row) or b""
    found: list[str] = []
    at = 0
    while at < len(data) and len(found) < most:
        items, at = _long(data, at)
        if items < 0:  # the size of the block in bytes follows
            items = -items
            _, at = _long(data, at)
        if items == 0:
            break
        for _ in range(min(items, most - len(found))):
            size, at = _long(data, at)
            found.append(data[at : at + size].decode("utf-8", "replace"))
            at += size
    return found


def _array(items: Sequence[str]) -> bytes:
    if not items:
        return b""
    encoded = [item.encode() for item in items]
    return b"".join([_varint(len(encoded)), *(_varint(len(item)) + item for item in encoded), b"\x00"])


def _varint(value: int) -> bytes:
    """Write a number from 0 on as Avro does: zig-zag, seven bits a byte, lowest first."""
    left, out = value << 1, bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _long(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
