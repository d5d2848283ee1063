"""Room for what a touch may add, made before it changes anything, and taken back from entities that fell idle."""

from __future__ import annotations

from numba import njit

from models.features.kernels.large_items import OTHER, copy_large, item
from models.features.kernels.large_track import insert_large
from models.features.kernels.memory import (
    BUMP,
    CLASS,
    ENTITIES,
    ENTITY_COUNT,
    ENTITY_MASK,
    ENTITY_WORDS,
    EVICTED,
    HEAD,
    LARGE,
    OWNER,
    PAIR_COUNT,
    PAIR_MASK,
    PAIR_WORDS,
    SWEEP,
    TAIL,
    WATERMARK,
    block_words,
    capacity_of,
    delete_entity,
    delete_pair,
    find_pair,
    free_block,
    grow_entities,
    grow_pairs,
    new_block,
)
from models.features.kernels.small_track import AMOUNT, TIME, copy_small, slide, small_item
from models.features.kernels.squares import KERNEL

FRAUD = 3
FRAUD_LIMIT = 4_096
"""Labelled frauds remembered per entity."""

MINUTE_MS = 60_000
_LOW_32 = (1 << 32) - 1


@njit(inline="always", **KERNEL)
def track_block(heap, slot, track):
    """Return the address of an entity's track, 0 where it has none. OUT and USE share a place: no entity has both."""
    if track == FRAUD:
        return heap[slot + 3] & _LOW_32
    return heap[slot + 2] if track == 1 else heap[slot + 1]


@njit(inline="always", **KERNEL)
def set_track_block(heap, slot, track, block):
    """Change the address of an entity's track."""
    if track == FRAUD:
        heap[slot + 3] = (heap[slot + 3] & ~_LOW_32) | block
    else:
        heap[slot + (2 if track == 1 else 1)] = block


@njit(**KERNEL)
def _next_class(heap, block, track, limit, promote_above):
    """Return the class that a full block moves to; its own where sliding or forgetting makes room."""
    if block == 0:
        return 0
    block_class = heap[block + CLASS]
    live = heap[block + TAIL] - heap[block + HEAD]
    capacity = capacity_of(block_class)
    if block_class >= LARGE:
        return block_class + 1 if live == capacity and live < limit else block_class
    if heap[block + TAIL] < capacity or 2 * live <= capacity:
        return block_class
    if track != FRAUD and live >= promote_above:
        large = LARGE
        while capacity_of(large) < 2 * live:
            large += 1
        return large
    return block_class + 1


@njit(**KERNEL)
def reserve(heap, dirty, block, track, limit, promote_above):
    """Make sure that a touch of this track finds room: grow tables; False if the heap itself must grow first."""
    wanted = _next_class(heap, block, track, limit, promote_above)
    words = 0
    if block == 0 or wanted != heap[block + CLASS]:
        words = block_words(wanted)
    entity_slots = heap[ENTITY_MASK] + 1
    more_entities = (heap[ENTITY_COUNT] + 1) * 5 > entity_slots * 3
    if more_entities:
        words += 2 * entity_slots * ENTITY_WORDS
    pair_slots = heap[PAIR_MASK] + 1
    # A promotion enters every item of a small track; twice doubling a table of 2,048 always covers that.
    more_pairs = (heap[PAIR_COUNT] + 2 * promote_above + 2) * 5 > pair_slots * 3
    if more_pairs:
        words += 2 * pair_slots * PAIR_WORDS
    if heap[BUMP] + words > len(heap):
        return False
    if more_entities:
        grow_entities(heap, dirty)
    if more_pairs:
        grow_pairs(heap, dirty)
    return True


@njit(**KERNEL)
def make_room(heap, dirty, block, track, owner, limits, edges, needs, edge_count):
    """Return the track's block with room for one item: the same one, or a larger one that took its place."""
    if block == 0:
        return new_block(heap, dirty, 0, owner)
    block_class = heap[block + CLASS]
    wanted = _next_class(heap, block, track, limits[0], limits[1])
    if wanted == block_class:
        if block_class < LARGE and heap[block + TAIL] == capacity_of(block_class):
            slide(heap, dirty, block)
        return block
    target = new_block(heap, dirty, wanted, owner)
    if wanted < LARGE:
        copy_small(heap, dirty, block, target)
    elif block_class >= LARGE:
        copy_large(heap, dirty, block, target)
    else:
        for i in range(heap[block + HEAD], heap[block + TAIL]):
            source = small_item(block, i)
            insert_large(
                heap,
                dirty,
                target,
                heap[source + TIME],
                heap[source + AMOUNT],
                heap[source + OTHER],
                limits[0],
                limits[2],
                edges,
                needs,
                track,
                edge_count,
            )
    free_block(heap, dirty, block)
    return target


@njit(**KERNEL)
def _free_track(heap, dirty, block):
    if heap[block + CLASS] >= LARGE:
        mask = capacity_of(heap[block + CLASS]) - 1
        for position in range(heap[block + HEAD], heap[block + TAIL]):
            entry = find_pair(heap, heap[block + OWNER], heap[item(block, mask, position) + OTHER])
            if entry > 0:
                delete_pair(heap, dirty, entry)
    free_block(heap, dirty, block)


@njit(**KERNEL)
def sweep(heap, dirty, retention):
    """Look at one entity slot, and forget the entity if all it remembers is older than any window can reach.

    The slot of a forgotten entity is looked at again, since another one may have moved into it. One slot
    a touch: how far the sweep is depends on the touches alone, so two runs forget the same.
    """
    i = heap[SWEEP] & heap[ENTITY_MASK]
    slot = heap[ENTITIES] + ENTITY_WORDS * i
    if heap[slot] == 0 or ((heap[slot + 3] >> 32) + 1) * MINUTE_MS + retention >= heap[WATERMARK]:
        heap[SWEEP] += 1
        return
    for track in (0, 1, FRAUD):
        block = track_block(heap, slot, track)
        if block != 0:
            _free_track(heap, dirty, block)
    delete_entity(heap, dirty, slot)
    heap[EVICTED] += 1
