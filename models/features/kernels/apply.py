"""The loop over a block of touches: find the entity, read its tracks, write the results, update one track."""

from __future__ import annotations

import numpy as np
from numba import njit

from models.features.kernels.large_track import insert_large, read_large
from models.features.kernels.memory import (
    CLASS,
    ENTITY_COUNT,
    HEAD,
    HISTORY_START,
    LARGE,
    SEQUENCE,
    TAIL,
    UNSEEN,
    WATERMARK,
    find_entity,
    mark,
    move_tables,
    spread,
)
from models.features.kernels.prefetch import (
    BLOCK_AHEAD,
    EDGES_AHEAD,
    ITEMS_AHEAD,
    SLOT_AHEAD,
    request_block,
    request_edges,
    request_items,
    request_slot,
)
from models.features.kernels.read_out import read_out
from models.features.kernels.room import (
    FRAUD,
    FRAUD_LIMIT,
    MINUTE_MS,
    make_room,
    reserve,
    set_track_block,
    sweep,
    track_block,
)
from models.features.kernels.small_track import (
    find_labelled,
    insert_small,
    read_fraud,
    read_nothing,
    read_small,
    remove_small,
)
from models.features.kernels.squares import KERNEL
from models.features.store_spec import MAX_AMOUNT_MINOR
from models.features.touches import BENEFICIARY, DEVICE, LABEL

_LOW_32 = (1 << 32) - 1
_LAST_MINUTE = (1 << 31) - 1
_DEVICES = 0x5851F42D4C957F2D
_ZERO = 0x2545F4914F6CDD1D
"""Stands for a key of 0, which marks an empty slot. No small number: a caller may number its entities."""
_TRACKS = 4


@njit(inline="always", **KERNEL)
def _entity_key(entity, role):
    key = entity ^ _DEVICES if role == DEVICE else entity
    return _ZERO if key == 0 else key


@njit(inline="always", **KERNEL)
def _owner_key(key, track):
    owner = spread(key) + track  # keys of entities may be neighbours, mixed ones are not
    return _ZERO if owner == 0 else owner


@njit(**KERNEL)
def _enter(heap, dirty, slot, key, time_ms):
    """Give a new entity its slot, and note that the entity was seen at `time_ms`."""
    if slot < 0:
        slot = -slot
        heap[slot] = key
        heap[slot + 1] = 0
        heap[slot + 2] = 0
        heap[slot + 3] = 0
        heap[ENTITY_COUNT] += 1
    minute = min(max(time_ms // MINUTE_MS, 0), _LAST_MINUTE)
    if minute > heap[slot + 3] >> 32:
        heap[slot + 3] = (minute << 32) | (heap[slot + 3] & _LOW_32)
    mark(dirty, slot)
    return slot


@njit(**KERNEL)
def _apply_label(heap, dirty, key, time_ms, transaction, is_fraud, limits, edges, edge_count, needs):
    """Remember a fraud once, or take back what a label called fraud before. False if the heap must grow first."""
    slot = find_entity(heap, key)
    block = track_block(heap, slot, FRAUD) if slot > 0 else 0
    known = find_labelled(heap, block, time_ms, transaction) if block != 0 else -1
    if not is_fraud:
        if known >= 0:
            remove_small(heap, dirty, block, known)
        return True
    if known >= 0:
        return True
    if not reserve(heap, dirty, block, FRAUD, limits[0], limits[1]):
        return False
    slot = _enter(heap, dirty, find_entity(heap, key), key, time_ms)
    block = make_room(heap, dirty, block, FRAUD, 0, limits, edges, needs, edge_count[FRAUD])
    set_track_block(heap, slot, FRAUD, block)
    limit = min(limits[0], FRAUD_LIMIT)
    insert_small(heap, dirty, block, time_ms, 0, transaction, limit, limits[2])
    return True


@njit(**KERNEL)
def _read_track(heap, dirty, slot, track, time_ms, other, own, edges, needs, edge_count, read):
    block = track_block(heap, slot, track)
    if block == 0 or heap[block + HEAD] == heap[block + TAIL]:
        read_nothing(read, track, edge_count)
    elif track == FRAUD:
        read_fraud(heap, block, time_ms, edges, track, edge_count, read)
    elif heap[block + CLASS] < LARGE:
        read_small(heap, block, time_ms, other, own, edges, track, edge_count, read)
    else:
        read_large(heap, dirty, block, time_ms, other, own, edges, needs, track, edge_count, read)


@njit(**KERNEL)
def _look_ahead(heap, touches, i, edge_count):
    for ahead in (SLOT_AHEAD, BLOCK_AHEAD, ITEMS_AHEAD, EDGES_AHEAD):
        if i + ahead < len(touches):
            touch = touches[i + ahead]
            role = np.int64(touch["role"])
            key = _entity_key(np.int64(touch["entity"]), role)
            if ahead == SLOT_AHEAD:
                request_slot(heap, key)
                continue
            for place in range(1, 2 if role == DEVICE else 3):  # both sides of an account's history are read
                if ahead == BLOCK_AHEAD:
                    request_block(heap, key, place)
                elif ahead == EDGES_AHEAD:
                    request_edges(heap, key, place, np.int64(touch["other"]), edge_count[place - 1])
                else:
                    request_items(heap, key, place, np.int64(touch["other"]))


@njit(**KERNEL)
def apply_touches(
    heap, dirty, limits, edges, edge_count, needs, plan, plan_length, reads, touches, start, values_at, values, read,
):  # fmt: skip
    """Apply touches from `start` on; return how many are done: fewer than all when the heap must grow first.

    The results of touch i go to `values` from `values_at[i]` on. (No views of arrays in this loop: each would count
    references.)
    """
    dirty[0] = 1
    for i in range(start, len(touches)):
        _look_ahead(heap, touches, i, edge_count)
        touch = touches[i]
        role = np.int64(touch["role"])
        key = _entity_key(np.int64(touch["entity"]), role)
        other = np.int64(touch["other"])
        time_ms = touch["time_ms"]
        if role == LABEL:
            is_fraud = touch["is_fraud"] != 0
            if not _apply_label(heap, dirty, key, time_ms, other, is_fraud, limits, edges, edge_count, needs):
                return i
        else:
            slot = find_entity(heap, key)
            block = track_block(heap, slot, role) if slot > 0 else 0
            if not reserve(heap, dirty, block, role, limits[0], limits[1]):
                return i
            slot = _enter(heap, dirty, find_entity(heap, key), key, time_ms)
            heap[WATERMARK] = max(heap[WATERMARK], time_ms)
            if heap[HISTORY_START] == UNSEEN:
                heap[HISTORY_START] = time_ms
            for track in range(_TRACKS):
                if reads[role, track]:
                    # A transfer to oneself has just been entered as sent when it is read as received.
                    own = 1 if track == 0 and role == BENEFICIARY and touch["other"] == touch["entity"] else 0
                    _read_track(heap, dirty, slot, track, time_ms, other, own, edges, needs, edge_count[track], read)
            read_out(read, plan, role, plan_length[role], time_ms, values, values_at[i])
            amount = min(max(touch["amount"], 0), MAX_AMOUNT_MINOR)
            owner = _owner_key(key, role)
            room = make_room(heap, dirty, block, role, owner, limits, edges, needs, edge_count[role])
            if room != block:
                set_track_block(heap, slot, role, room)
            if heap[room + CLASS] < LARGE:
                insert_small(heap, dirty, room, time_ms, amount, other, limits[0], limits[2])
            else:
                insert_large(
                    heap, dirty, room, time_ms, amount, other, limits[0], limits[2], edges, needs, role,
                    edge_count[role],
                )  # fmt: skip
        heap[SEQUENCE] += 1
        sweep(heap, dirty, limits[2])
        move_tables(heap, dirty)
    return len(touches)
