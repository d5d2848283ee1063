"""Take the items of every track out of a heap, and enter them into another: how a store changes its windows.

Items say what happened and nothing of windows or limits; all that depends on those is made anew as they enter.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from models.features.kernels import large_items, small_track
from models.features.kernels.apply import _apply_label, _enter, _owner_key
from models.features.kernels.large_track import insert_large
from models.features.kernels.memory import (
    CLASS,
    ENTITIES,
    ENTITY_CURSOR,
    ENTITY_MASK,
    ENTITY_WORDS,
    GONE,
    HEAD,
    LARGE,
    OLD_ENTITIES,
    OLD_ENTITY_MASK,
    OWNER,
    TAIL,
    WATERMARK,
    capacity_of,
    find_entity,
    move_tables,
)
from models.features.kernels.room import FRAUD, make_room, reserve, set_track_block, sweep, track_block
from models.features.kernels.squares import KERNEL

ITEM = np.dtype([("key", "<i8"), ("time_ms", "<i8"), ("amount", "<i8"), ("other", "<i8"), ("track", "<i8")])
"""One transaction in one track. `key` is the entity's as the heap has it."""

_OUT, _IN, _USE = 0, 1, 2


@njit(**KERNEL)
def list_items(heap, into):
    """List every item, each track's in its order; return how many there are, also where `into` holds fewer."""
    found = _list_table(heap, heap[ENTITIES], 0, heap[ENTITY_MASK] + 1, into, 0)
    if heap[OLD_ENTITIES] != 0:  # the table is moving: what is not moved yet lies there
        found = _list_table(heap, heap[OLD_ENTITIES], heap[ENTITY_CURSOR], heap[OLD_ENTITY_MASK] + 1, into, found)
    return found


@njit(**KERNEL)
def _list_table(heap, table, start, end, into, found):
    for i in range(start, end):
        slot = table + ENTITY_WORDS * i
        key = heap[slot]
        if key == 0 or heap[slot + ENTITY_WORDS - 1] == GONE:
            continue
        first = track_block(heap, slot, _OUT)  # that of a device lies in the same place
        if first != 0:
            track = _USE if heap[first + OWNER] == _owner_key(key, _USE) else _OUT
            found = _list_track(heap, first, key, track, into, found)
        for track in (_IN, FRAUD):
            block = track_block(heap, slot, track)
            if block != 0:
                found = _list_track(heap, block, key, track, into, found)
    return found


@njit(**KERNEL)
def _list_track(heap, block, key, track, into, found):
    is_small = heap[block + CLASS] < LARGE
    mask = capacity_of(heap[block + CLASS]) - 1
    for position in range(heap[block + HEAD], heap[block + TAIL]):
        if found < len(into):
            # Both kinds of items begin with time, amount and other side.
            at = small_track.small_item(block, position) if is_small else large_items.item(block, mask, position)
            into[found]["key"] = key
            into[found]["time_ms"] = heap[at]
            into[found]["amount"] = heap[at + 1]
            into[found]["other"] = heap[at + 2]
            into[found]["track"] = track
        found += 1
    return found


@njit(**KERNEL)
def enter_items(heap, dirty, limits, edges, edge_count, needs, items, start):
    """Enter items from `start` on; return how many are done: fewer than all when the heap must grow first."""
    dirty[0] = 1
    for i in range(start, len(items)):
        one = items[i]
        key, track, time_ms = one["key"], one["track"], one["time_ms"]
        if track == FRAUD:
            if not _apply_label(heap, dirty, key, time_ms, one["other"], True, limits, edges, edge_count, needs):
                return i
        else:
            slot = find_entity(heap, key)
            block = track_block(heap, slot, track) if slot > 0 else 0
            if not reserve(heap, dirty, block, track, limits[0], limits[1]):
                return i
            slot = _enter(heap, dirty, find_entity(heap, key), key, time_ms)
            heap[WATERMARK] = max(heap[WATERMARK], time_ms)
            room = make_room(
                heap, dirty, block, track, _owner_key(key, track), limits, edges, needs, edge_count[track]
            )  # fmt: skip
            if room != block:
                set_track_block(heap, slot, track, room)
            if heap[room + CLASS] < LARGE:
                small_track.insert_small(
                    heap, dirty, room, time_ms, one["amount"], one["other"], limits[0], limits[2]
                )  # fmt: skip
            else:
                insert_large(
                    heap, dirty, room, time_ms, one["amount"], one["other"], limits[0], limits[2], edges, needs, track,
                    edge_count[track],
                )  # fmt: skip
        sweep(heap, dirty, limits[2])
        move_tables(heap, dirty)
    return len(items)
