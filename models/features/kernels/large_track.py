"""Large tracks: windows kept up to date as time passes, so a read costs the same however long the window.

For every edge the block knows the first item inside it as of the newest time asked about, how many different other
sides follow, and the largest amount. Counts and sums are differences of prefix sums. A read or an item older than
that newest time is corrected for, item by item, over the stretch it is late by.
"""

from __future__ import annotations

from numba import njit

from models.features.kernels.large_items import (
    AMOUNT,
    HINTS,
    LAST_AT,
    NEXT,
    OTHER,
    PAIR_TOTAL,
    PREVIOUS,
    RANK,
    SQUARES_HIGH,
    SQUARES_LOW,
    TIME,
    TOTAL,
    drop_oldest,
    item,
    largest_between,
    make_gap,
    note_amount,
    note_amounts,
    refresh_largest,
)
from models.features.kernels.memory import (
    AS_OF,
    CLASS,
    DISTINCT,
    FORGOTTEN,
    HEAD,
    LARGE_FIELDS,
    LARGE_HEADER,
    LATE,
    LONG_AGO,
    LOW,
    MAX_AT,
    MAX_VALUE,
    NONE,
    OWNER,
    PAIR_COUNT,
    TAIL,
    capacity_of,
    find_pair,
    mark,
    mark_range,
)
from models.features.kernels.small_track import COUNT as READ_COUNT
from models.features.kernels.small_track import DISTINCT as READ_DISTINCT
from models.features.kernels.small_track import FIRST as READ_FIRST
from models.features.kernels.small_track import HIGH as READ_HIGH
from models.features.kernels.small_track import LAST as READ_LAST
from models.features.kernels.small_track import LOW as READ_LOW
from models.features.kernels.small_track import MAX as READ_MAX
from models.features.kernels.small_track import PAIR_COUNT as READ_PAIR_COUNT
from models.features.kernels.small_track import PAIR_LAST as READ_PAIR_LAST
from models.features.kernels.small_track import PAIR_SUM as READ_PAIR_SUM
from models.features.kernels.small_track import SUM as READ_SUM
from models.features.kernels.squares import KERNEL, add_square, subtract
from models.features.store_spec import (
    MAX_PAIR_WINDOWS,
    NEEDS_DISTINCT,
    NEEDS_FIRST,
    NEEDS_MAX,
    NEEDS_PAIR,
    NEEDS_SQUARES,
    NEEDS_SUM,
)


@njit(**KERNEL)
def advance(heap, dirty, block, time_ms, edges, needs, track, edge_count):
    """Move every window on to a time not before the one they stand at."""
    capacity = capacity_of(heap[block + CLASS])
    mask = capacity - 1
    tail = heap[block + TAIL]
    for e in range(edge_count):
        since = time_ms - edges[track, e]
        low = heap[block + LOW + e]
        while low < tail:
            oldest = item(block, mask, low)
            if heap[oldest + TIME] >= since:
                break
            if heap[oldest + NEXT] == NONE:
                heap[block + DISTINCT + e] -= 1
            low += 1
        heap[block + LOW + e] = low
        if needs[track, e] & NEEDS_MAX and heap[block + MAX_AT + e] < low:
            refresh_largest(heap, block, capacity, e)
    heap[block + AS_OF] = time_ms
    mark_range(dirty, block, LARGE_HEADER)


@njit(**KERNEL)
def _end_before(heap, block, mask, time_ms, high):
    """Return the position behind the last item at or before `time_ms`, given that it is at most `high`."""
    head, step = heap[block + HEAD], 1
    while high - step >= head and heap[item(block, mask, high - step) + TIME] > time_ms:
        high -= step
        step *= 2
    low = max(head, high - step)
    while low < high:
        middle = (low + high) >> 1
        if heap[item(block, mask, middle) + TIME] > time_ms:
            high = middle
        else:
            low = middle + 1
    return low


@njit(**KERNEL)
def _distinct_between(heap, block, mask, edge, low, start, end):
    """Count other sides in [start, end) by correcting the count over [low, tail), or anew where that is shorter."""
    tail = heap[block + TAIL]
    distinct = 0
    if low >= end or (tail - end) + (low - start) > end - start:
        for i in range(start, end):
            if heap[item(block, mask, i) + NEXT] >= end:
                distinct += 1
        return distinct
    distinct = heap[block + DISTINCT + edge]
    for i in range(end, tail):
        if heap[item(block, mask, i) + PREVIOUS] < low:
            distinct -= 1
    for i in range(start, low):
        if heap[item(block, mask, i) + NEXT] >= end:
            distinct += 1
    return distinct


@njit(**KERNEL)
def _read_pair(heap, dirty, block, mask, time_ms, end, other, edges, needs, track, edge_count, read):
    """Count the items of one other side before position `end`, from hints where their windows start."""
    read[track, READ_PAIR_LAST] = LONG_AGO
    entry = find_pair(heap, heap[block + OWNER], other)
    newest = -1
    if entry > 0:
        newest = heap[entry + LAST_AT]
        while newest >= end:
            newest = heap[item(block, mask, newest) + PREVIOUS]
        if newest < heap[block + HEAD]:
            newest = -1
    if newest >= 0:
        last = item(block, mask, newest)
        read[track, READ_PAIR_LAST] = heap[last + TIME]
    hint = entry + HINTS
    for e in range(edge_count):
        if needs[track, e] & NEEDS_PAIR == 0:
            continue
        read[track, READ_PAIR_COUNT + e] = 0
        read[track, READ_PAIR_SUM + e] = 0
        if entry > 0:
            since = time_ms - edges[track, e]
            first = heap[hint]
            while True:
                previous = heap[item(block, mask, first) + PREVIOUS]
                if previous < heap[block + HEAD] or heap[item(block, mask, previous) + TIME] < since:
                    break
                first = previous
            while heap[item(block, mask, first) + TIME] < since and heap[item(block, mask, first) + NEXT] != NONE:
                first = heap[item(block, mask, first) + NEXT]
            heap[hint] = first
            hint += 1
            if newest >= first and heap[item(block, mask, first) + TIME] >= since:
                start, last = item(block, mask, first), item(block, mask, newest)
                read[track, READ_PAIR_COUNT + e] = heap[last + RANK] - heap[start + RANK] + 1
                read[track, READ_PAIR_SUM + e] = (
                    heap[last + PAIR_TOTAL] + heap[last + AMOUNT] - heap[start + PAIR_TOTAL]
                )
    if entry > 0:
        mark(dirty, entry)


@njit(**KERNEL)
def read_large(heap, dirty, block, time_ms, other, own, edges, needs, track, edge_count, read):
    """Read what the track holds before `time_ms`; `own` is 1 if the newest of these may be this event itself."""
    capacity = capacity_of(heap[block + CLASS])
    mask = capacity - 1
    if time_ms >= heap[block + AS_OF]:
        advance(heap, dirty, block, time_ms, edges, needs, track, edge_count)
    is_current = time_ms == heap[block + AS_OF]
    head, tail = heap[block + HEAD], heap[block + TAIL]
    end = tail if is_current else _end_before(heap, block, mask, time_ms, heap[block + TAIL])
    newest = item(block, mask, end - 1)
    if own == 1 and end > head and heap[newest + TIME] == time_ms and heap[newest + OTHER] == other:
        end -= 1
        newest = item(block, mask, end - 1)
    is_whole = is_current and end == tail
    top_total, top_high, top_low = 0, 0, 0
    if end > head:
        read[track, READ_LAST] = heap[newest + TIME]
        top_total = heap[newest + TOTAL] + heap[newest + AMOUNT]
        top_high, top_low = add_square(heap[newest + SQUARES_HIGH], heap[newest + SQUARES_LOW], heap[newest + AMOUNT])
    wants_pair = False
    for e in range(edge_count):
        low = heap[block + LOW + e]
        start = low
        if not is_current:
            since = time_ms - edges[track, e]
            start = _end_before(heap, block, mask, since - 1, low)
        start = min(start, end)
        need = needs[track, e]
        read[track, READ_COUNT + e] = end - start
        first = item(block, mask, start)
        if end > start:
            if need & NEEDS_SUM:
                read[track, READ_SUM + e] = top_total - heap[first + TOTAL]
            if need & NEEDS_SQUARES:
                high, square_low = subtract(top_high, top_low, heap[first + SQUARES_HIGH], heap[first + SQUARES_LOW])
                read[track, READ_HIGH + e] = high
                read[track, READ_LOW + e] = square_low
            if need & NEEDS_FIRST:
                read[track, READ_FIRST + e] = heap[first + TIME]
        else:
            read[track, READ_SUM + e] = 0
        if is_whole:
            read[track, READ_DISTINCT + e] = heap[block + DISTINCT + e]
            read[track, READ_MAX + e] = heap[block + MAX_VALUE + e]
        else:
            if need & NEEDS_DISTINCT:
                read[track, READ_DISTINCT + e] = _distinct_between(heap, block, mask, e, low, start, end)
            if need & NEEDS_MAX:
                largest = largest_between(heap, block, capacity, start, end)
                read[track, READ_MAX + e] = -1 if largest < 0 else heap[item(block, mask, largest) + AMOUNT]
        if need & NEEDS_PAIR:
            wants_pair = True
    if wants_pair:
        _read_pair(heap, dirty, block, mask, time_ms, end, other, edges, needs, track, edge_count, read)


@njit(**KERNEL)
def _link(heap, dirty, block, mask, at, amount, other):
    """Put a new item between its neighbours of the same other side; return the one before and the one after."""
    head = heap[block + HEAD]
    owner = heap[block + OWNER]
    entry = find_pair(heap, owner, other)
    here = item(block, mask, at)
    before, after = -1, NONE
    if entry < 0:
        entry = -entry
        heap[entry] = owner
        heap[entry + 1] = other
        for word in range(entry + LAST_AT, entry + HINTS + MAX_PAIR_WINDOWS):
            heap[word] = at
        heap[PAIR_COUNT] += 1
    else:
        before = heap[entry + LAST_AT]
        while before > at:
            after = before
            before = heap[item(block, mask, before) + PREVIOUS]
        if before < head:
            before = -1
        if after == NONE:
            heap[entry + LAST_AT] = at
    mark(dirty, entry)
    rank, pair_total = 0, 0
    if before >= 0:
        neighbour = item(block, mask, before)
        heap[neighbour + NEXT] = at
        rank = heap[neighbour + RANK] + 1
        pair_total = heap[neighbour + PAIR_TOTAL] + heap[neighbour + AMOUNT]
        mark(dirty, neighbour)
    elif after != NONE:
        rank = heap[item(block, mask, after) + RANK]
        pair_total = heap[item(block, mask, after) + PAIR_TOTAL]
    if after != NONE:
        heap[item(block, mask, after) + PREVIOUS] = at
    heap[here + PREVIOUS] = before
    heap[here + NEXT] = after
    heap[here + RANK] = rank
    heap[here + PAIR_TOTAL] = pair_total
    later = after
    while later != NONE:
        neighbour = item(block, mask, later)
        heap[neighbour + RANK] += 1
        heap[neighbour + PAIR_TOTAL] += amount
        mark(dirty, neighbour)
        later = heap[neighbour + NEXT]
    return before, after


@njit(inline="always", **KERNEL)
def _has_hints(needs, track, edge_count):
    found = False
    for e in range(edge_count):
        if needs[track, e] & NEEDS_PAIR:
            found = True
    return found


@njit(**KERNEL)
def insert_large(heap, dirty, block, time_ms, amount, other, limit, retention, edges, needs, track, edge_count):
    """Add an item behind those of its time; there is room. Forget what is too old or too much."""
    capacity = capacity_of(heap[block + CLASS])
    mask = capacity - 1
    if time_ms > heap[block + AS_OF]:
        advance(heap, dirty, block, time_ms, edges, needs, track, edge_count)
    at = _end_before(heap, block, mask, time_ms, heap[block + TAIL])
    if heap[block + TAIL] - heap[block + HEAD] >= limit:
        heap[FORGOTTEN] += 1
        if at == heap[block + HEAD]:
            return
        drop_oldest(heap, dirty, block, edge_count)
    tail = heap[block + TAIL]
    is_late = at < tail
    squares_high, squares_low = add_square(0, 0, amount)
    here = item(block, mask, at)
    if is_late:
        heap[LATE] += 1
        total = heap[here + TOTAL]
        high, low = heap[here + SQUARES_HIGH], heap[here + SQUARES_LOW]
        make_gap(heap, dirty, block, at, amount, squares_high, squares_low, _has_hints(needs, track, edge_count))
    elif tail > heap[block + HEAD]:
        newest = item(block, mask, tail - 1)
        total = heap[newest + TOTAL] + heap[newest + AMOUNT]
        high, low = add_square(heap[newest + SQUARES_HIGH], heap[newest + SQUARES_LOW], heap[newest + AMOUNT])
    else:
        total, high, low = 0, 0, 0
    heap[here + TIME] = time_ms
    heap[here + AMOUNT] = amount
    heap[here + OTHER] = other
    heap[here + TOTAL] = total
    heap[here + SQUARES_HIGH] = high
    heap[here + SQUARES_LOW] = low
    heap[block + TAIL] = tail + 1
    before, after = _link(heap, dirty, block, mask, at, amount, other)
    for e in range(edge_count):
        if heap[block + MAX_AT + e] >= at:
            heap[block + MAX_AT + e] += 1
        if time_ms < heap[block + AS_OF] - edges[track, e]:
            heap[block + LOW + e] += 1
            continue
        if before < heap[block + LOW + e] and after == NONE:
            heap[block + DISTINCT + e] += 1
        if amount >= heap[block + MAX_VALUE + e]:
            heap[block + MAX_VALUE + e] = amount
            heap[block + MAX_AT + e] = at
    if is_late:
        note_amounts(heap, dirty, block, capacity, at, tail + 1)
    else:
        note_amount(heap, dirty, block, capacity, at, amount, at == heap[block + HEAD])
    mark_range(dirty, block, LARGE_HEADER)
    mark_range(dirty, here, LARGE_FIELDS)
    oldest = heap[item(block, mask, tail) + TIME] - retention
    while heap[item(block, mask, heap[block + HEAD]) + TIME] < oldest:
        drop_oldest(heap, dirty, block, edge_count)
