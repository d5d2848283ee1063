"""Small tracks: at most a few dozen items in a row, scanned from the newest back at every read.

Columns of a block: time, amount, other side, and the position of the next item of the same other side. Items are
ordered by time, and by arrival where times are equal.
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
    TAIL,
    capacity_of,
    mark_range,
)
from models.features.kernels.squares import KERNEL, add_square

# What a read leaves behind in the row of its track: a value for each edge, 16 to a field, and the two last times.
COUNT, SUM, HIGH, LOW, MAX, DISTINCT, PAIR_COUNT, PAIR_SUM, FIRST = 0, 16, 32, 48, 64, 80, 96, 112, 128
LAST, PAIR_LAST = 144, 145
READ_WORDS = 160


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
    capacity = capacity_of(heap[block + CLASS])
    times = block + BLOCK_HEADER
    amounts, others, links = times + capacity, times + 2 * capacity, times + 3 * capacity
    head = heap[block + HEAD]
    end = heap[block + TAIL]
    while end > head and heap[times + end - 1] > time_ms:
        end -= 1
    if own == 1 and end > head and heap[times + end - 1] == time_ms and heap[others + end - 1] == other:
        end -= 1
    total, high, low, largest, distinct, pair_count, pair_sum = 0, 0, 0, -1, 0, 0, 0
    pair_last = LONG_AGO
    i = end - 1
    for e in range(edge_count):
        since = time_ms - edges[track, e]
        while i >= head and heap[times + i] >= since:
            amount = heap[amounts + i]
            total += amount
            high, low = add_square(high, low, amount)
            largest = max(largest, amount)
            if heap[links + i] >= end:
                distinct += 1
            if heap[others + i] == other:
                if pair_count == 0:
                    pair_last = heap[times + i]
                pair_count += 1
                pair_sum += amount
            i -= 1
        read[track, COUNT + e] = end - 1 - i
        read[track, SUM + e] = total
        read[track, HIGH + e] = high
        read[track, LOW + e] = low
        read[track, MAX + e] = largest
        read[track, DISTINCT + e] = distinct
        read[track, PAIR_COUNT + e] = pair_count
        read[track, PAIR_SUM + e] = pair_sum
        read[track, FIRST + e] = heap[times + i + 1]
    read[track, LAST] = heap[times + end - 1]
    read[track, PAIR_LAST] = pair_last


@njit(**KERNEL)
def slide(heap, dirty, block):
    """Move the items to the front of the block."""
    capacity = capacity_of(heap[block + CLASS])
    head, tail = heap[block + HEAD], heap[block + TAIL]
    for field in range(4):
        column = block + BLOCK_HEADER + field * capacity
        for i in range(head, tail):
            value = heap[column + i]
            if field == 3 and value != NONE:
                value -= head
            heap[column + i - head] = value
    heap[block + HEAD] = 0
    heap[block + TAIL] = tail - head
    mark_range(dirty, block, BLOCK_HEADER + 4 * capacity)


@njit(**KERNEL)
def copy_small(heap, dirty, block, target):
    """Copy the items of a small block to the front of a larger small one."""
    capacity, target_capacity = capacity_of(heap[block + CLASS]), capacity_of(heap[target + CLASS])
    head, tail = heap[block + HEAD], heap[block + TAIL]
    for field in range(4):
        source_column = block + BLOCK_HEADER + field * capacity
        target_column = target + BLOCK_HEADER + field * target_capacity
        for i in range(head, tail):
            value = heap[source_column + i]
            if field == 3 and value != NONE:
                value -= head
            heap[target_column + i - head] = value
    heap[target + TAIL] = tail - head
    mark_range(dirty, target, BLOCK_HEADER + 4 * target_capacity)


@njit(**KERNEL)
def insert_small(heap, dirty, block, time_ms, amount, other, limit, retention):
    """Add an item behind those of its time; there is room. Forget what is too old or too much."""
    capacity = capacity_of(heap[block + CLASS])
    times = block + BLOCK_HEADER
    amounts, others, links = times + capacity, times + 2 * capacity, times + 3 * capacity
    head, tail = heap[block + HEAD], heap[block + TAIL]
    at = tail
    while at > head and heap[times + at - 1] > time_ms:
        at -= 1
    before = at - 1
    while before >= head and heap[others + before] != other:
        before -= 1
    if before >= head:
        after = heap[links + before]
    else:
        after = at
        while after < tail and heap[others + after] != other:
            after += 1
        if after == tail:
            after = NONE
    if at < tail:
        heap[LATE] += 1
        for i in range(tail - 1, at - 1, -1):
            heap[times + i + 1] = heap[times + i]
            heap[amounts + i + 1] = heap[amounts + i]
            heap[others + i + 1] = heap[others + i]
            heap[links + i + 1] = heap[links + i]
        for i in range(head, tail + 1):
            if heap[links + i] >= at and heap[links + i] != NONE:
                heap[links + i] += 1
        if after != NONE:
            after += 1
    heap[times + at] = time_ms
    heap[amounts + at] = amount
    heap[others + at] = other
    heap[links + at] = after
    if before >= head:
        heap[links + before] = at
    tail += 1
    oldest = heap[times + tail - 1] - retention
    while heap[times + head] < oldest:
        head += 1
    while tail - head > limit:
        head += 1
        heap[FORGOTTEN] += 1
    heap[block + HEAD] = head
    heap[block + TAIL] = tail
    mark_range(dirty, block, BLOCK_HEADER + 4 * capacity)


@njit(**KERNEL)
def find_time(heap, block, time_ms):
    """Return the position of the first item at or after `time_ms`."""
    times = block + BLOCK_HEADER
    low, high = heap[block + HEAD], heap[block + TAIL]
    while low < high:
        middle = (low + high) >> 1
        if heap[times + middle] < time_ms:
            low = middle + 1
        else:
            high = middle
    return low


@njit(**KERNEL)
def read_fraud(heap, block, time_ms, edges, track, edge_count, read):
    """Read counts and times of a fraud track, which may be long, but is only ever searched."""
    times = block + BLOCK_HEADER
    end = find_time(heap, block, time_ms + 1)
    for e in range(edge_count):
        start = find_time(heap, block, time_ms - edges[track, e])
        read[track, COUNT + e] = end - start
        read[track, FIRST + e] = heap[times + start]
    read[track, LAST] = heap[times + end - 1]


@njit(**KERNEL)
def find_labelled(heap, block, time_ms, transaction):
    """Return the position of a labelled transaction in a fraud track, or -1."""
    capacity = capacity_of(heap[block + CLASS])
    times = block + BLOCK_HEADER
    others = times + 2 * capacity
    at = find_time(heap, block, time_ms)
    while at < heap[block + TAIL] and heap[times + at] == time_ms:
        if heap[others + at] == transaction:
            return at
        at += 1
    return -1


@njit(**KERNEL)
def remove_small(heap, dirty, block, at):
    """Take an item out of a fraud track (whose links nobody reads)."""
    capacity = capacity_of(heap[block + CLASS])
    tail = heap[block + TAIL]
    for field in range(4):
        column = block + BLOCK_HEADER + field * capacity
        for i in range(at, tail - 1):
            heap[column + i] = heap[column + i + 1]
    heap[block + TAIL] = tail - 1
    mark_range(dirty, block, BLOCK_HEADER + 4 * capacity)
