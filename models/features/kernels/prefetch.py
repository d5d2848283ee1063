"""Ask for memory before it is needed: touches come from anywhere, and nearly all their time is waiting for memory.

While one touch is worked on, the table slot of the eighth after it, the block of the sixth, the newest items of the
fourth and the first items of the windows of the second are on their way. A guess that turns out wrong costs nothing but
the request.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from models.features.kernels.memory import (
    BLOCK_HEADER,
    CLASS,
    ENTITIES,
    ENTITY_MASK,
    ENTITY_WORDS,
    HEAD,
    LARGE,
    LARGE_FIELDS,
    LARGE_HEADER,
    LOW,
    OWNER,
    PAIR_MASK,
    PAIR_WORDS,
    PAIRS,
    SMALL_FIELDS,
    TAIL,
    capacity_of,
    pair_home,
    spread,
)
from models.features.kernels.squares import KERNEL

SLOT_AHEAD, BLOCK_AHEAD, ITEMS_AHEAD, EDGES_AHEAD = 8, 6, 4, 2
PAIRS_AHEAD = 8
"""Items whose pairs are asked for before a pass over a late stretch comes to them."""

_LINE = 8  # words of a cache line
_LINES_AHEAD = 8  # of a small track's newest items: the processor goes on by itself once a scan runs
_LATE_LINES_AHEAD = 16  # of a large one's: a late touch works among these
_LAST_AT = 2  # word of a pair's entry: position of its newest item


@intrinsic
def request(typing_context: Any, heap: Any, address: Any) -> Any:
    """Start to load one word's cache line; its value is not waited for."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(array.data, [arguments[1]]), cgutils.voidptr_t)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, ir.IntType(32), ir.IntType(32), ir.IntType(32)])
        function = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        # Read, keep in every cache, data rather than instructions.
        builder.call(function, [pointer, *(ir.Constant(ir.IntType(32), v) for v in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(heap, types.int64), generate


@njit(inline="always", **KERNEL)
def _home(heap, key):
    return heap[ENTITIES] + ENTITY_WORDS * (spread(key) & heap[ENTITY_MASK])


@njit(**KERNEL)
def request_slot(heap, key):
    """Ask for the slot where the entity most likely is."""
    request(heap, _home(heap, key))


@njit(**KERNEL)
def request_block(heap, key, place):
    """Ask for the header of the block whose address is at `place` of the entity's slot."""
    slot = _home(heap, key)
    if heap[slot] == key and heap[slot + place] != 0:
        block = heap[slot + place]
        request(heap, block)
        request(heap, block + _LINE)


@njit(inline="always", **KERNEL)
def request_pair(heap, owner, other):
    """Ask for the entry of (track, other side) where it most likely is."""
    request(heap, heap[PAIRS] + PAIR_WORDS * pair_home(owner, other, heap[PAIR_MASK]))


@njit(**KERNEL)
def request_items(heap, key, place, other):
    """Ask for what a touch of a small track scans; of a large one the newest item, aggregates and the other side's."""
    slot = _home(heap, key)
    if heap[slot] != key or heap[slot + place] == 0:
        return
    block = heap[slot + place]
    if heap[block + CLASS] >= LARGE:
        capacity = capacity_of(heap[block + CLASS])
        end = block + LARGE_HEADER + LARGE_FIELDS * (((heap[block + TAIL] - 1) & (capacity - 1)) + 1)
        for word in range(max(end - _LATE_LINES_AHEAD * _LINE, block + LARGE_HEADER), end, _LINE):
            request(heap, word)
        request_pair(heap, heap[block + OWNER], other)
        for line in range(_LINE, LARGE_HEADER, _LINE):
            request(heap, block + line)
        return
    end = block + BLOCK_HEADER + SMALL_FIELDS * heap[block + TAIL]
    start = max(block + BLOCK_HEADER + SMALL_FIELDS * heap[block + HEAD], end - _LINES_AHEAD * _LINE)
    for word in range(start, end, _LINE):
        request(heap, word)


@njit(**KERNEL)
def request_edges(heap, key, place, other, edge_count):
    """Ask for the first items of a large track's windows, and for the newest one of the same other side."""
    slot = _home(heap, key)
    if heap[slot] != key or heap[slot + place] == 0:
        return
    block = heap[slot + place]
    if heap[block + CLASS] < LARGE:
        return
    mask = capacity_of(heap[block + CLASS]) - 1
    items = block + LARGE_HEADER
    for e in range(edge_count):
        first = items + LARGE_FIELDS * (heap[block + LOW + e] & mask)
        request(heap, first)
        request(heap, first + LARGE_FIELDS - 1)
    entry = heap[PAIRS] + PAIR_WORDS * pair_home(heap[block + OWNER], other, heap[PAIR_MASK])
    if heap[entry] == heap[block + OWNER] and heap[entry + 1] == other:
        request(heap, items + LARGE_FIELDS * (heap[entry + _LAST_AT] & mask))
