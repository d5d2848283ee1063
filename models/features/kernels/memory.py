"""The words of an entity store: counters, blocks of tracks, and the two hash tables, in one int64 array (the heap).

Whatever writes to the heap marks the page it writes, so that a snapshot knows what changed. Addresses are indices
into the heap. All arithmetic stays in int64: numba turns a mix of signed and unsigned into floating point.
"""

from __future__ import annotations

from numba import njit

from models.features.kernels.squares import KERNEL

PAGE_SHIFT = 13  # 8,192 words: 64 KiB a page

# Counters, at the start of the heap.
BUMP = 0  # first word never used
REGION = 1  # first and last word of a table's old place, to be used up first
REGION_END = 2
ENTITIES = 3  # address of the entity table
ENTITY_MASK = 4
ENTITY_COUNT = 5
PAIRS = 6  # address of the pair table
PAIR_MASK = 7
PAIR_COUNT = 8
WATERMARK = 9  # newest event time of a transaction
SEQUENCE = 10
SWEEP = 11  # entity slot to look at next for eviction
HISTORY_START = 12  # event time of the first transaction
FORGOTTEN = 13  # transactions dropped because a track was full
EVICTED = 14  # entities dropped because they were idle
LATE = 15  # transactions older than the newest of their track
FREE = 16  # a list of free blocks for each class
# A table that grows moves to its new place a few slots with each touch; these are zero while no move is under way.
OLD_ENTITIES = 56  # address of the place it leaves
OLD_ENTITY_MASK = 57
ENTITY_CURSOR = 58  # first slot there that is not moved yet
OLD_PAIRS = 59
OLD_PAIR_MASK = 60
PAIR_CURSOR = 61
HEAP_HEADER = 64

ENTITY_WORDS = 4  # key, track OUT or USE, track IN, newest minute << 32 | track FRAUD
PAIR_WORDS = 8  # owner, other, last position, three hints, one unused, GONE or not
GONE = -1
"""In the last word of a slot of an old place: deleted there. Its key stays, so that others are found past it."""
SLOTS_PER_TOUCH = 4
"""Moved with each touch: a move is over long before the new place is full."""

# Classes of blocks. A block holds one track.
LARGE = 16  # classes from here on are large tracks
BLOCK_HEADER = 8
CLASS, HEAD, TAIL, AS_OF, OWNER = 0, 1, 2, 3, 4
SMALL_FIELDS = 4
LARGE_FIELDS = 10
LARGE_HEADER = 72  # the block header and four values for each of 16 edges
LOW, DISTINCT, MAX_VALUE, MAX_AT = 8, 24, 40, 56

NONE = 1 << 62
"""No later item of the same other side; larger than any position."""

LONG_AGO = -(1 << 62)

UNSEEN = (1 << 63) - 1
"""History start of a store that saw no transaction."""


@njit(inline="always", **KERNEL)
def mark(dirty, address):
    """Mark the page of one word."""
    dirty[address >> PAGE_SHIFT] = 1


@njit(**KERNEL)
def mark_range(dirty, address, words):
    """Mark the pages of a range of words."""
    for page in range(address >> PAGE_SHIFT, ((address + words - 1) >> PAGE_SHIFT) + 1):
        dirty[page] = 1


@njit(inline="always", **KERNEL)
def capacity_of(block_class):
    """Return how many items a block of this class holds."""
    return 2 << block_class if block_class < LARGE else 32 << (block_class - LARGE)


@njit(**KERNEL)
def block_words(block_class):
    """Return the size of a block of this class."""
    capacity = capacity_of(block_class)
    if block_class < LARGE:
        return BLOCK_HEADER + SMALL_FIELDS * capacity
    return LARGE_HEADER + LARGE_FIELDS * capacity + capacity // 32 + max(1, capacity // 1024)


@njit(**KERNEL)
def take_words(heap, words):
    """Take words that were never part of a block; the caller has made sure that there are enough."""
    if heap[REGION_END] - heap[REGION] >= words:
        address = heap[REGION]
        heap[REGION] += words
    else:
        address = heap[BUMP]
        heap[BUMP] += words
    return address


@njit(**KERNEL)
def new_block(heap, dirty, block_class, owner):
    """Return an empty block."""
    address = heap[FREE + block_class]
    if address != 0:
        heap[FREE + block_class] = heap[address]
    else:
        address = take_words(heap, block_words(block_class))
    heap[address + CLASS] = block_class
    heap[address + HEAD] = 0
    heap[address + TAIL] = 0
    heap[address + AS_OF] = LONG_AGO
    heap[address + OWNER] = owner
    if block_class >= LARGE:
        for i in range(16):
            heap[address + LOW + i] = 0
            heap[address + DISTINCT + i] = 0
            heap[address + MAX_VALUE + i] = -1
            heap[address + MAX_AT + i] = -1
    mark_range(dirty, address, block_words(block_class))
    return address


@njit(**KERNEL)
def free_block(heap, dirty, address):
    """Give a block back to the list of its class."""
    block_class = heap[address + CLASS]
    heap[address] = heap[FREE + block_class]
    heap[FREE + block_class] = address
    mark(dirty, address)


@njit(inline="always", **KERNEL)
def spread(value):
    """Mix the bits of a key (the finalizer of splitmix64, with arithmetic shifts masked to logical ones)."""
    value = (value ^ ((value >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    value = (value ^ ((value >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return value ^ ((value >> 31) & 0x1FFFFFFFF)


@njit(**KERNEL)
def _entity_or_free(heap, key):
    """Look in the table's own place."""
    table = heap[ENTITIES]
    mask = heap[ENTITY_MASK]
    i = spread(key) & mask
    while True:
        slot = table + ENTITY_WORDS * i
        if heap[slot] == key:
            return slot
        if heap[slot] == 0:
            return -slot
        i = (i + 1) & mask


@njit(**KERNEL)
def find_entity(heap, key):
    """Return the slot of an entity, or minus the address of the slot where it belongs."""
    found = _entity_or_free(heap, key)
    if found > 0 or heap[OLD_ENTITIES] == 0:
        return found
    table = heap[OLD_ENTITIES]
    mask = heap[OLD_ENTITY_MASK]
    i = spread(key) & mask
    while True:
        slot = table + ENTITY_WORDS * i
        if heap[slot] == key:
            # What was moved and is not at its new place any more was deleted there.
            return slot if i >= heap[ENTITY_CURSOR] and heap[slot + ENTITY_WORDS - 1] != GONE else found
        if heap[slot] == 0:
            return found
        i = (i + 1) & mask


@njit(**KERNEL)
def delete_entity(heap, dirty, slot):
    """Take an entity out of the table, moving back those that probed past it."""
    heap[ENTITY_COUNT] -= 1
    table = heap[ENTITIES]
    mask = heap[ENTITY_MASK]
    hole = (slot - table) // ENTITY_WORDS
    if hole < 0 or hole > mask:
        heap[slot + ENTITY_WORDS - 1] = GONE
        mark(dirty, slot)
        return
    i = hole
    while True:
        i = (i + 1) & mask
        key = heap[table + ENTITY_WORDS * i]
        if key == 0:
            break
        home = spread(key) & mask
        if ((i - home) & mask) >= ((i - hole) & mask):
            for word in range(ENTITY_WORDS):
                heap[table + ENTITY_WORDS * hole + word] = heap[table + ENTITY_WORDS * i + word]
            mark(dirty, table + ENTITY_WORDS * hole)
            hole = i
    for word in range(ENTITY_WORDS):
        heap[table + ENTITY_WORDS * hole + word] = 0
    mark(dirty, table + ENTITY_WORDS * hole)


@njit(inline="always", **KERNEL)
def pair_home(owner, other, mask):
    """Return the place of a pair in a table, if no other one took it."""
    return spread(owner ^ (other * -7046029254386353131)) & mask


@njit(**KERNEL)
def _pair_or_free(heap, owner, other):
    """Look in the table's own place."""
    table = heap[PAIRS]
    mask = heap[PAIR_MASK]
    i = pair_home(owner, other, mask)
    while True:
        entry = table + PAIR_WORDS * i
        if heap[entry] == owner and heap[entry + 1] == other:
            return entry
        if heap[entry] == 0:
            return -entry
        i = (i + 1) & mask


@njit(**KERNEL)
def find_pair(heap, owner, other):
    """Return the entry of (track, other side), or minus the address of the entry where it belongs."""
    found = _pair_or_free(heap, owner, other)
    if found > 0 or heap[OLD_PAIRS] == 0:
        return found
    table = heap[OLD_PAIRS]
    mask = heap[OLD_PAIR_MASK]
    i = pair_home(owner, other, mask)
    while True:
        entry = table + PAIR_WORDS * i
        if heap[entry] == owner and heap[entry + 1] == other:
            return entry if i >= heap[PAIR_CURSOR] and heap[entry + PAIR_WORDS - 1] != GONE else found
        if heap[entry] == 0:
            return found
        i = (i + 1) & mask


@njit(**KERNEL)
def delete_pair(heap, dirty, entry):
    """Take a pair out of the table, moving back those that probed past it."""
    heap[PAIR_COUNT] -= 1
    table = heap[PAIRS]
    mask = heap[PAIR_MASK]
    hole = (entry - table) // PAIR_WORDS
    if hole < 0 or hole > mask:
        heap[entry + PAIR_WORDS - 1] = GONE
        mark(dirty, entry)
        return
    i = hole
    while True:
        i = (i + 1) & mask
        source = table + PAIR_WORDS * i
        if heap[source] == 0:
            break
        home = pair_home(heap[source], heap[source + 1], mask)
        if ((i - home) & mask) >= ((i - hole) & mask):
            for word in range(PAIR_WORDS):
                heap[table + PAIR_WORDS * hole + word] = heap[source + word]
            mark(dirty, table + PAIR_WORDS * hole)
            hole = i
    for word in range(PAIR_WORDS):
        heap[table + PAIR_WORDS * hole + word] = 0
    mark(dirty, table + PAIR_WORDS * hole)


@njit(**KERNEL)
def _new_table(heap, dirty, words):
    never_used = heap[BUMP]
    table = take_words(heap, words)
    if table != never_used:
        heap[table : table + words] = 0
    mark_range(dirty, table, words)
    return table


@njit(**KERNEL)
def _reuse(heap, address, words):
    if words > heap[REGION_END] - heap[REGION]:
        heap[REGION] = address
        heap[REGION_END] = address + words


@njit(**KERNEL)
def grow_entities(heap, dirty):
    """Double the entity table: from now on it moves to a place of twice the size."""
    while heap[OLD_ENTITIES] != 0:
        _move_entities(heap, dirty)
    heap[OLD_ENTITIES] = heap[ENTITIES]
    heap[OLD_ENTITY_MASK] = heap[ENTITY_MASK]
    heap[ENTITY_CURSOR] = 0
    slots = 2 * (heap[ENTITY_MASK] + 1)
    heap[ENTITIES] = _new_table(heap, dirty, slots * ENTITY_WORDS)
    heap[ENTITY_MASK] = slots - 1


@njit(**KERNEL)
def grow_pairs(heap, dirty):
    """Double the pair table, likewise."""
    while heap[OLD_PAIRS] != 0:
        _move_pairs(heap, dirty)
    heap[OLD_PAIRS] = heap[PAIRS]
    heap[OLD_PAIR_MASK] = heap[PAIR_MASK]
    heap[PAIR_CURSOR] = 0
    slots = 2 * (heap[PAIR_MASK] + 1)
    heap[PAIRS] = _new_table(heap, dirty, slots * PAIR_WORDS)
    heap[PAIR_MASK] = slots - 1


@njit(**KERNEL)
def _move_entities(heap, dirty):
    old = heap[OLD_ENTITIES]
    slots = heap[OLD_ENTITY_MASK] + 1
    until = min(heap[ENTITY_CURSOR] + SLOTS_PER_TOUCH, slots)
    for i in range(heap[ENTITY_CURSOR], until):
        source = old + ENTITY_WORDS * i
        if heap[source] != 0 and heap[source + ENTITY_WORDS - 1] != GONE:
            target = -_entity_or_free(heap, heap[source])
            for word in range(ENTITY_WORDS):
                heap[target + word] = heap[source + word]
            mark(dirty, target)
    heap[ENTITY_CURSOR] = until
    if until == slots:
        heap[OLD_ENTITIES] = 0
        _reuse(heap, old, slots * ENTITY_WORDS)


@njit(**KERNEL)
def _move_pairs(heap, dirty):
    old = heap[OLD_PAIRS]
    slots = heap[OLD_PAIR_MASK] + 1
    until = min(heap[PAIR_CURSOR] + SLOTS_PER_TOUCH, slots)
    for i in range(heap[PAIR_CURSOR], until):
        source = old + PAIR_WORDS * i
        if heap[source] != 0 and heap[source + PAIR_WORDS - 1] != GONE:
            target = -_pair_or_free(heap, heap[source], heap[source + 1])
            for word in range(PAIR_WORDS):
                heap[target + word] = heap[source + word]
            mark(dirty, target)
    heap[PAIR_CURSOR] = until
    if until == slots:
        heap[OLD_PAIRS] = 0
        _reuse(heap, old, slots * PAIR_WORDS)


@njit(**KERNEL)
def move_tables(heap, dirty):
    """Go on with moves that are under way: a few slots, so that no touch waits for a whole table."""
    if heap[OLD_ENTITIES] != 0:
        _move_entities(heap, dirty)
    if heap[OLD_PAIRS] != 0:
        _move_pairs(heap, dirty)
