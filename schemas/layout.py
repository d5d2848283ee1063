"""Arrays in the one layout that compiled code is built for.

numba compiles a function again for each combination of element type, contiguity and writability of its arguments.
Inputs therefore always cross into compiled code contiguous and read-only: one compilation for each function.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from schemas.columns import I32, I64, U8, StringColumn

T = TypeVar("T", bound=np.generic)


def dense(array: npt.ArrayLike, dtype: type[T]) -> npt.NDArray[T]:
    """Return an array as contiguous and read-only, converted (and copied) only where it is not so already."""
    return read_only(np.ascontiguousarray(array, dtype))


def dense_bytes(array: npt.NDArray[Any]) -> U8:
    """Return the little-endian bytes of a one- or two-dimensional array as rows, (n, bytes in a row)."""
    contiguous = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return read_only(contiguous.view(np.uint8).reshape(len(array), contiguous.nbytes // max(len(array), 1)))


def read_only(array: npt.NDArray[T]) -> npt.NDArray[T]:
    """Return a read-only view: one array type for compiled code, whoever owns the bytes.

    numba compiles a function again for each combination of writable and read-only arguments.
    """
    view = array.view()
    view.flags.writeable = False
    return view


def dense_slices(column: StringColumn) -> tuple[U8, I64, I32]:
    """Return buffer, offsets and lengths of a column in the one layout that compiled code is built for."""
    return (
        read_only(np.ascontiguousarray(column.buffer)),
        np.ascontiguousarray(column.offsets, np.int64),
        np.ascontiguousarray(column.lengths, np.int32),
    )
