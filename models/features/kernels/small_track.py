"""Small tracks: at most a few dozen items in a row, scanned from the newest back at every read.

An item is four words side by side: time, amount, other side, and the position of the next item of the same other side.
Items are ordered by time, and by arrival where times are equal. A scan so reads one run of memory, which processors
fetch ahead of it by themselves.
"""

from __future__ import annotations

from numba import njit

from models.features.kernels.memory import (
    BLOCK_HEADER,
    CLASS,
    FORGOTTEN,
    HEAD,
    LATE,
    LONG_AGO,
    NONE,
    SMALL_FIELDS,
    TAIL,
    capacity_of,
    mark_range,
)
from models.features.kernels.squares import KERNEL, add_square

TIME, AMOUNT, OTHER, LINK = range(SMALL_FIELDS)

# What a read leaves behind in the row of its track: a value for each edge, 16 to a field, and the two last times.
COUNT, SUM, HIGH, LOW, MAX, DISTINCT, PAIR_COUNT, PAIR_SUM, FIRST = 0, 16, 32, 48, 64, 80, 96, 112, 128
LAST, PAIR_LAST = 144, 145
READ_WORDS = 160


@njit(inline="always", **KERNEL)
def small_item(block, position):
    """Return the address of an item."""
    return block + BLOCK_HEADER + SMALL_FIELDS * position


@njit(**KERNEL)
def read_nothing(read, track, edge_count):
    """Leave behind what an entity without the track reads."""
    for e in range(edge_count):
        read[track, COUNT + e] = 0
        read[track, SUM + e] = 0
        read[track, PAIR_COUNT + e] = 0
        read[track, PAIR_SUM + e] = 0
        read[track, DISTINCT + e] = 0


@njit(**KERNEL)
def read_small(heap, block, time_ms, other, own, edges, track, edge_count, read):
    """Read what the track holds before `time_ms`; `own` is 1 if the newest of these may be this event itself."""
    head = heap[block + HEAD]
    end = heap[block + TAIL]
    while end > head and heap[small_item(block, end - 1) + TIME] > time_ms:
        end -= 1
    newest = small_item(block, end - 1)
    if own == 1 and end > head and heap[newest + TIME] == time_ms and heap[newest + OTHER] == other:
        end -= 1
        newest -= SMALL_FIELDS
    total, high, low, largest, distinct, pair_count, pair_sum = 0, 0, 0, -1, 0, 0, 0
    pair_last = LONG_AGO
    i = end - 1
    at = newest
    for e in range(edge_count):
        since = time_ms - edges[track, e]
        while i >= head and heap[at + TIME] >= since:
            amount = heap[at + AMOUNT]
            total += amount
            high, low = add_square(high, low, amount)
            largest = max(largest, amount)
            if heap[at + LINK] >= end:
                distinct += 1
            if heap[at + OTHER] == other:
                if pair_count == 0:
                    pair_last = heap[at + TIME]
                pair_count += 1
                pair_sum += amount
            i -= 1
            at -= SMALL_FIELDS
        read[track, COUNT + e] = end - 1 - i
        read[track, SUM + e] = total
        read[track, HIGH + e] = high
        read[track, LOW + e] = low
        read[track, MAX + e] = largest
        read[track, DISTINCT + e] = distinct
        read[track, PAIR_COUNT + e] = pair_count
        read[track, PAIR_SUM + e] = pair_sum
        read[track, FIRST + e] = heap[at + SMALL_FIELDS + TIME]
    read[track, LAST] = heap[newest + TIME]
    read[track, PAIR_LAST] = pair_last


@njit(**KERNEL)
def _copy_items(heap, block, target):
    """Copy the items to the front of a block, which may be their own."""
    head, tail = heap[block + HEAD], heap[block + TAIL]
    for i in range(head, tail):
        source, copy = small_item(block, i), small_item(target, i - head)
        for field in range(LINK):
            heap[copy + field] = heap[source + field]
        link = heap[source + LINK]
        heap[copy + LINK] = link if link == NONE else link - head
    return tail - head


@njit(**KERNEL)
def slide(heap, dirty, block):
    """Move the items to the front of the block."""
    heap[block + TAIL] = _copy_items(heap, block, block)
    heap[block + HEAD] = 0
    mark_range(dirty, block, BLOCK_HEADER + SMALL_FIELDS * capacity_of(heap[block + CLASS]))


@njit(**KERNEL)
def copy_small(heap, dirty, block, target):
    """Copy the items of a small block to the front of a larger small one."""
    heap[target + TAIL] = _copy_items(heap, block, target)
    mark_range(dirty, target, BLOCK_HEADER + SMALL_FIELDS * capacity_of(heap[target + CLASS]))


@njit(**KERNEL)
def insert_small(heap, dirty, block, time_ms, amount, other, limit, retention):
    """Add an item behind those of its time; there is room. Forget what is too old or too much."""
    head, tail = heap[block + HEAD], heap[block + TAIL]
    at = tail
    while at > head and heap[small_item(block, at - 1) + TIME] > time_ms:
        at -= 1
    before = at - 1
    while before >= head and heap[small_item(block, before) + OTHER] != other:
        before -= 1
    if before >= head:
        after = heap[small_item(block, before) + LINK]
    else:
        after = at
        while after < tail and heap[small_item(block, after) + OTHER] != other:
            after += 1
        if after == tail:
            after = NONE
    if at < tail:
        heap[LATE] += 1
        first, end = small_item(block, at), small_item(block, tail)
        for word in range(end - 1, first - 1, -1):
            heap[word + SMALL_FIELDS] = heap[word]
        for i in range(head, tail + 1):
            link = small_item(block, i) + LINK
            if heap[link] >= at and heap[link] != NONE:
                heap[link] += 1
        if after != NONE:
            after += 1
    here = small_item(block, at)
    heap[here + TIME] = time_ms
    heap[here + AMOUNT] = amount
    heap[here + OTHER] = other
    heap[here + LINK] = after
    if before >= head:
        heap[small_item(block, before) + LINK] = at
    tail += 1
    oldest = heap[small_item(block, tail - 1) + TIME] - retention
    while heap[small_item(block, head) + TIME] < oldest:
        head += 1
    while tail - head > limit:
        head += 1
        heap[FORGOTTEN] += 1
    heap[block + HEAD] = head
    heap[block + TAIL] = tail
    mark_range(dirty, block, BLOCK_HEADER + SMALL_FIELDS * capacity_of(heap[block + CLASS]))


@njit(**KERNEL)
def find_time(heap, block, time_ms):
    """Return the position of the first item at or after `time_ms`."""
    low, high = heap[block + HEAD], heap[block + TAIL]
    while low < high:
        middle = (low + high) >> 1
        if heap[small_item(block, middle) + TIME] < time_ms:
            low = middle + 1
        else:
            high = middle
    return low


@njit(**KERNEL)
def read_fraud(heap, block, time_ms, edges, track, edge_count, read):
    """Read counts and times of a fraud track, which may be long, but is only ever searched."""
    end = find_time(heap, block, time_ms + 1)
    for e in range(edge_count):
        start = find_time(heap, block, time_ms - edges[track, e])
        read[track, COUNT + e] = end - start
        read[track, FIRST + e] = heap[small_item(block, start) + TIME]
    read[track, LAST] = heap[small_item(block, end - 1) + TIME]


@njit(**KERNEL)
def find_labelled(heap, block, time_ms, transaction):
    """Return the position of a labelled transaction in a fraud track, or -1."""
    at = find_time(heap, block, time_ms)
    while at < heap[block + TAIL] and heap[small_item(block, at) + TIME] == time_ms:
        if heap[small_item(block, at) + OTHER] == transaction:
            return at
        at += 1
    return -1


@njit(**KERNEL)
def remove_small(heap, dirty, block, at):
    """Take an item out of a fraud track (whose links nobody reads)."""
    tail = heap[block + TAIL]
    for word in range(small_item(block, at), small_item(block, tail - 1)):
        heap[word] = heap[word + SMALL_FIELDS]
    heap[block + TAIL] = tail - 1
    mark_range(dirty, block, BLOCK_HEADER + SMALL_FIELDS * capacity_of(heap[block + CLASS]))
