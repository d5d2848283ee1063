"""Unaligned loads by address, for compiled code that reads bytes.

An array handed from one compiled function to another travels as seven words and a reference count; an address is one
word. The caller checks bounds, and keeps the array alive meanwhile.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic


def _loader(bits: int) -> Any:
    @intrinsic
    def load(typing_context, address, offset):  # type: ignore[no-untyped-def]
        """Load an unsigned little-endian integer at `address + offset`, widened to 64 bits."""

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            word = ir.IntType(bits)
            pointer = builder.inttoptr(builder.add(arguments[0], arguments[1]), word.as_pointer())
            return builder.zext(builder.load(pointer, align=1), ir.IntType(64))

        return types.uint64(types.int64, types.int64), generate

    return load


load_u8 = _loader(8)
load_u32 = _loader(32)
load_u64 = _loader(64)


@njit(cache=True, nogil=True, inline="always")
def address_of(array):  # type: ignore[no-untyped-def]
    """Return the address of an array's first byte."""
    return array.ctypes.data
