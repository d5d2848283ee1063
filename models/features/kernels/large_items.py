"""The items of large tracks: a ring ordered by time, with prefix sums and links, in records of ten words.

Positions only ever grow; an item lies at its position modulo the capacity. Prefix sums leave the item itself out,
so the difference of two of them is exact even after they wrap around. The largest amount of every 32 and of every
1,024 positions stands behind the items.
"""

from __future__ import annotations

from numba import njit

from models.features.kernels.memory import (
    CLASS,
    DISTINCT,
    HEAD,
    LARGE_FIELDS,
    LARGE_HEADER,
    LOW,
    MAX_AT,
    MAX_VALUE,
    NONE,
    OWNER,
    TAIL,
    capacity_of,
    delete_pair,
    find_pair,
    mark,
    mark_range,
)
from models.features.kernels.prefetch import PAIRS_AHEAD, request_pair
from models.features.kernels.squares import KERNEL
from models.features.store_spec import MAX_PAIR_WINDOWS

TIME, AMOUNT, OTHER, NEXT, TOTAL, SQUARES_HIGH, SQUARES_LOW, PREVIOUS, RANK, PAIR_TOTAL = range(10)

LAST_AT = 2  # words of a pair's entry: position of its newest item, then a hint for each pair window
HINTS = 3


@njit(inline="always", **KERNEL)
def item(block, mask, position):
    """Return the address of an item."""
    return block + LARGE_HEADER + LARGE_FIELDS * (position & mask)


@njit(**KERNEL)
def _best_of_32(heap, block, capacity, position):
    return block + LARGE_HEADER + LARGE_FIELDS * capacity + ((position >> 5) & (capacity // 32 - 1))


@njit(**KERNEL)
def _best_of_1024(heap, block, capacity, position):
    return (
        block
        + LARGE_HEADER
        + LARGE_FIELDS * capacity
        + capacity // 32
        + ((position >> 10) & (max(1, capacity // 1024) - 1))
    )


@njit(**KERNEL)
def note_amount(heap, dirty, block, capacity, position, amount, is_first):
    """Count an amount at the end of the ring into the maxima; `is_first` starts the ring."""
    at = _best_of_32(heap, block, capacity, position)
    heap[at] = amount if position & 31 == 0 or is_first else max(heap[at], amount)
    mark(dirty, at)
    at = _best_of_1024(heap, block, capacity, position)
    heap[at] = amount if position & 1023 == 0 or is_first else max(heap[at], amount)
    mark(dirty, at)


@njit(**KERNEL)
def note_amounts(heap, dirty, block, capacity, start, end):
    """Rebuild the maxima of every group that holds a position from `start` to the end of the ring."""
    mask = capacity - 1
    head = heap[block + HEAD]
    first = max(start & ~31, head)
    for position in range(first, end):
        at = _best_of_32(heap, block, capacity, position)
        amount = heap[item(block, mask, position) + AMOUNT]
        heap[at] = amount if position & 31 == 0 or position == first else max(heap[at], amount)
        mark(dirty, at)
    # Groups of 1,024 from their groups of 32; those cut by the head are never asked as a whole.
    first = max(start & ~1023, head & ~31)
    for position in range(first, end, 32):
        at = _best_of_1024(heap, block, capacity, position)
        best = heap[_best_of_32(heap, block, capacity, position)]
        heap[at] = best if position & 1023 == 0 or position == first else max(heap[at], best)
        mark(dirty, at)


@njit(**KERNEL)
def largest_between(heap, block, capacity, start, end):
    """Return the position of the largest amount in [start, end), the newest of equals; -1 where there is none."""
    mask = capacity - 1
    best, at, step = -1, -1, 0
    i = start
    while i < end:
        if i & 1023 == 0 and i + 1024 <= end and capacity >= 2048:
            value, width = heap[_best_of_1024(heap, block, capacity, i)], 1024
        elif i & 31 == 0 and i + 32 <= end and capacity >= 64:
            value, width = heap[_best_of_32(heap, block, capacity, i)], 32
        else:
            value, width = heap[item(block, mask, i) + AMOUNT], 1
        if value >= best:
            best, at, step = value, i, width
        i += width
    if step == 1024:
        at += 992
        while heap[_best_of_32(heap, block, capacity, at)] != best:
            at -= 32
        step = 32
    if step == 32:
        at += 31
        while heap[item(block, mask, at) + AMOUNT] != best:
            at -= 1
    return at


@njit(**KERNEL)
def refresh_largest(heap, block, capacity, edge):
    """Find the largest amount of an edge's window anew."""
    at = largest_between(heap, block, capacity, heap[block + LOW + edge], heap[block + TAIL])
    heap[block + MAX_AT + edge] = at
    heap[block + MAX_VALUE + edge] = -1 if at < 0 else heap[item(block, capacity - 1, at) + AMOUNT]


@njit(**KERNEL)
def drop_oldest(heap, dirty, block, edge_count):
    """Forget the oldest item: leave every window, the links, and the pair's entry."""
    capacity = capacity_of(heap[block + CLASS])
    mask = capacity - 1
    head = heap[block + HEAD]
    oldest = item(block, mask, head)
    heap[block + HEAD] = head + 1
    for e in range(edge_count):
        if heap[block + LOW + e] == head:
            heap[block + LOW + e] = head + 1
            if heap[oldest + NEXT] == NONE:
                heap[block + DISTINCT + e] -= 1
            if heap[block + MAX_AT + e] == head:
                refresh_largest(heap, block, capacity, e)
    entry = find_pair(heap, heap[block + OWNER], heap[oldest + OTHER])
    if heap[oldest + NEXT] == NONE:
        delete_pair(heap, dirty, entry)
    else:
        for hint in range(entry + HINTS, entry + HINTS + MAX_PAIR_WINDOWS):
            if heap[hint] == head:
                heap[hint] = heap[oldest + NEXT]
        mark(dirty, entry)
    mark(dirty, block)


@njit(**KERNEL)
def copy_large(heap, dirty, block, target):
    """Copy a large track into a larger empty block; positions stay what they are."""
    capacity, target_capacity = capacity_of(heap[block + CLASS]), capacity_of(heap[target + CLASS])
    for word in range(HEAD, LARGE_HEADER):
        heap[target + word] = heap[block + word]
    head, tail = heap[block + HEAD], heap[block + TAIL]
    for position in range(head, tail):
        source = item(block, capacity - 1, position)
        copy = item(target, target_capacity - 1, position)
        for field in range(LARGE_FIELDS):
            heap[copy + field] = heap[source + field]
    note_amounts(heap, dirty, target, target_capacity, head, tail)
    mark_range(dirty, target, LARGE_HEADER + LARGE_FIELDS * target_capacity)


@njit(**KERNEL)
def make_gap(heap, dirty, block, at, amount, squares_high, squares_low, has_hints):
    """Move the items from `at` on by one position, for a late item of this amount and square to go in.

    `has_hints` says whether somebody reads the hints of this track's pairs.
    """
    capacity = capacity_of(heap[block + CLASS])
    mask = capacity - 1
    head, tail = heap[block + HEAD], heap[block + TAIL]
    owner = heap[block + OWNER]
    for position in range(tail - 1, at - 1, -1):
        ahead = item(block, mask, max(position - PAIRS_AHEAD, head))
        if has_hints or heap[ahead + NEXT] == NONE:
            request_pair(heap, owner, heap[ahead + OTHER])
        source, copy = item(block, mask, position), item(block, mask, position + 1)
        for field in range(LARGE_FIELDS):
            heap[copy + field] = heap[source + field]
        heap[copy + TOTAL] += amount
        heap[copy + SQUARES_HIGH] += squares_high
        heap[copy + SQUARES_LOW] += squares_low
        if heap[copy + SQUARES_LOW] >= NONE:  # 2^62, the limb
            heap[copy + SQUARES_LOW] -= NONE
            heap[copy + SQUARES_HIGH] += 1
        previous = heap[source + PREVIOUS]
        if previous >= at:
            heap[copy + PREVIOUS] = previous + 1
        elif previous >= head:
            heap[item(block, mask, previous) + NEXT] = position + 1
            mark(dirty, item(block, mask, previous))
        is_newest = heap[source + NEXT] == NONE
        if not is_newest:
            heap[copy + NEXT] += 1
        if is_newest or has_hints:  # nothing else names the position of an item
            entry = find_pair(heap, owner, heap[source + OTHER])
            for word in range(entry + LAST_AT, entry + HINTS + MAX_PAIR_WINDOWS):
                if heap[word] == position:
                    heap[word] = position + 1
            mark(dirty, entry)
    _mark_items(dirty, block, capacity, at, tail + 1)


@njit(**KERNEL)
def _mark_items(dirty, block, capacity, start, end):
    """Mark the pages of the items in [start, end), which may go round the end of the ring."""
    mask = capacity - 1
    if end - start >= capacity:
        mark_range(dirty, item(block, mask, 0), LARGE_FIELDS * capacity)
    elif start & mask <= (end - 1) & mask:
        mark_range(dirty, item(block, mask, start), LARGE_FIELDS * (end - start))
    else:
        mark_range(dirty, item(block, mask, start), LARGE_FIELDS * (capacity - (start & mask)))
        mark_range(dirty, item(block, mask, 0), LARGE_FIELDS * (((end - 1) & mask) + 1))
