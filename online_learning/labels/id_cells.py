"""Identifiers in cells of a fixed size, so that they fit into rows: what a log of rows keeps of strings.

The empty rest of a cell is zeros, which the log's compression takes away.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from schemas.columns import U8, StringColumn
from schemas.layout import dense_slices
from schemas.validate import MAX_ID_BYTES

CELL = np.dtype([("length", "<u2"), ("bytes", "u1", (MAX_ID_BYTES,))])
"""An id and its length in bytes; no accepted transaction has a longer one."""


@njit(cache=True, nogil=True)
def _fill(buffer, offsets, lengths, cells):  # type: ignore[no-untyped-def]
    for i in range(len(offsets)):
        for k in range(lengths[i]):
            cells[i, k] = buffer[offsets[i] + k]


def cells_of(ids: StringColumn) -> npt.NDArray[np.void]:
    """Return ids as cells, (n,) of CELL.

    Raises
    ------
    ValueError
        If an id has more than 256 bytes.
    """
    longest = int(ids.lengths.max(initial=0))
    if longest > MAX_ID_BYTES:
        raise ValueError(f"an identifier has {longest} bytes, at most {MAX_ID_BYTES} are kept")
    found = np.zeros(len(ids), CELL)
    content: U8 = np.zeros((len(ids), MAX_ID_BYTES), np.uint8)
    _fill(*dense_slices(ids), content)
    found["length"], found["bytes"] = np.maximum(ids.lengths, 0), content
    return found


def ids_of(cells: npt.NDArray[np.void]) -> StringColumn:
    """Return the ids of cells."""
    n = len(cells)
    content = np.ascontiguousarray(cells["bytes"]).reshape(n * MAX_ID_BYTES)
    return StringColumn(content, np.arange(n, dtype=np.int64) * MAX_ID_BYTES, cells["length"].astype(np.int32))
