"""A Redis command over columns of strings, written in one compiled pass: redis-py takes a microsecond for each word.

References
----------
Redis serialization protocol, https://redis.io/docs/latest/develop/reference/protocol-spec/: a command is an array of
bulk strings, `*N\\r\\n` and then `$LENGTH\\r\\nBYTES\\r\\n` for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from schemas.columns import I32, I64, U8, StringColumn

_MOST_DIGITS = 10
_AROUND = _MOST_DIGITS + 5  # of each string: `$`, its length, and two line ends


def command(words: Sequence[bytes], columns: Sequence[StringColumn]) -> bytes:
    """Return the command of some words and then every string of the columns, none of which is null.

    Examples
    --------
    >>> command([b"HMGET", b"h"], [StringColumn.from_values(["a", "bc"])])
    b'*4\\r\\n$5\\r\\nHMGET\\r\\n$1\\r\\nh\\r\\n$1\\r\\na\\r\\n$2\\r\\nbc\\r\\n'
    """
    count = len(words) + sum(len(column) for column in columns)
    parts = [b"*%d\r\n" % count]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    for column in columns:
        out = np.empty(int(column.lengths.sum()) + _AROUND * len(column), np.uint8)
        end = _write(out, column.buffer, column.offsets, column.lengths)
        parts.append(out[:end].tobytes())
    return b"".join(parts)


def warm_up() -> None:
    """Compile what writes commands, or load it: for columns as they come out of a batch, and for some of their rows."""
    some = StringColumn.from_values(["a"])
    for offsets, lengths in ((some.offsets, some.lengths), (_read_only(some.offsets), _read_only(some.lengths))):
        command([], [StringColumn(some.buffer, offsets, lengths)])


def _read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    copied = values.copy()
    copied.flags.writeable = False
    return copied


@njit(cache=True, nogil=True)
def _write(out: U8, buffer: U8, offsets: I64, lengths: I32) -> int:
    at = 0
    for row in range(len(lengths)):
        length = np.int64(lengths[row])
        out[at] = 36  # $
        digits = 1
        while digits < _MOST_DIGITS and length >= 10**digits:
            digits += 1
        rest = length
        for place in range(digits):
            out[at + digits - place] = 48 + rest % 10
            rest //= 10
        at += 1 + digits
        out[at] = 13
        out[at + 1] = 10
        at += 2
        start = offsets[row]
        for i in range(length):
            out[at + i] = buffer[start + i]
        at += int(length)
        out[at] = 13
        out[at + 1] = 10
        at += 2
    return at
