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
LARGEST_TABLE = 1  # words of the largest segment
SWEEP_SEGMENT = 2  # segment of the entity table that the sweep is in
ENTITIES = 3  # address of the directory of the entity table
ENTITY_COUNT = 5
PAIRS = 6  # address of the directory of the pair table
PAIR_COUNT = 8
WATERMARK = 9  # newest event time of a transaction
SEQUENCE = 10
SWEEP = 11  # slot of that segment to look at next
HISTORY_START = 12  # event time of the first transaction
FORGOTTEN = 13  # transactions dropped because a track was full
EVICTED = 14  # entities dropped because they were idle
LATE = 15  # transactions older than the newest of their track
FREE = 16  # a list of free blocks for each class
FREE_TABLES = 64  # a list of free tables for each power of two
HEAP_HEADER = 128

# A table is split into segments that grow one by one: doubling it at once would stop the stream.
SEGMENTS = 256
TABLE, MASK, USED, SEGMENT_WORDS = 0, 1, 2, 4
FIRST_TABLE_WORDS = 64

ENTITY_WORDS = 4  # key, track OUT or USE, track IN, newest minute << 32 | track FRAUD
PAIR_WORDS = 8  # owner, other, last position, three hints, two unused

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
def new_block(heap, dirty, block_class, owner):
    """Return an empty block."""
    address = heap[FREE + block_class]
    if address != 0:
        heap[FREE + block_class] = heap[address]
    else:
        address = heap[BUMP]
        heap[BUMP] += block_words(block_class)
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


@njit(inline="always", **KERNEL)
def segment_of(directory, spread_key):
    """Return the address of a key's segment in the directory."""
    return directory + SEGMENT_WORDS * ((spread_key >> 48) & (SEGMENTS - 1))


@njit(**KERNEL)
def find_entity(heap, key):
    """Return the slot of an entity, or minus the address of the slot where it belongs."""
    home = spread(key)
    segment = segment_of(heap[ENTITIES], home)
    table, mask = heap[segment + TABLE], heap[segment + MASK]
    i = home & mask
    while True:
        slot = table + ENTITY_WORDS * i
        if heap[slot] == key:
            return slot
        if heap[slot] == 0:
            return -slot
        i = (i + 1) & mask


@njit(inline="always", **KERNEL)
def _spread_pair(owner, other):
    return spread(owner ^ (other * -7046029254386353131))


@njit(**KERNEL)
def find_pair(heap, owner, other):
    """Return the entry of (track, other side), or minus the address of the entry where it belongs."""
    home = _spread_pair(owner, other)
    segment = segment_of(heap[PAIRS], home)
    table, mask = heap[segment + TABLE], heap[segment + MASK]
    i = home & mask
    while True:
        entry = table + PAIR_WORDS * i
        if heap[entry] == owner and heap[entry + 1] == other:
            return entry
        if heap[entry] == 0:
            return -entry
        i = (i + 1) & mask


@njit(inline="always", **KERNEL)
def _home_of(heap, address, words):
    if words == ENTITY_WORDS:
        return spread(heap[address])
    return _spread_pair(heap[address], heap[address + 1])


@njit(**KERNEL)
def _delete(heap, dirty, segment, address, words):
    """Empty a place of a segment, moving back those that probed past it."""
    table, mask = heap[segment + TABLE], heap[segment + MASK]
    hole = (address - table) // words
    i = hole
    while True:
        i = (i + 1) & mask
        source = table + words * i
        if heap[source] == 0:
            break
        home = _home_of(heap, source, words) & mask
        if ((i - home) & mask) >= ((i - hole) & mask):
            target = table + words * hole
            for word in range(words):
                heap[target + word] = heap[source + word]
            mark(dirty, target)
            hole = i
    target = table + words * hole
    for word in range(words):
        heap[target + word] = 0
    mark(dirty, target)
    heap[segment + USED] -= 1
    mark(dirty, segment)


@njit(**KERNEL)
def delete_entity(heap, dirty, slot):
    """Take an entity out of the table."""
    _delete(heap, dirty, segment_of(heap[ENTITIES], spread(heap[slot])), slot, ENTITY_WORDS)
    heap[ENTITY_COUNT] -= 1


@njit(**KERNEL)
def delete_pair(heap, dirty, entry):
    """Take a pair out of the table."""
    segment = segment_of(heap[PAIRS], _spread_pair(heap[entry], heap[entry + 1]))
    _delete(heap, dirty, segment, entry, PAIR_WORDS)
    heap[PAIR_COUNT] -= 1


@njit(**KERNEL)
def _free_list(words):
    """Return the counter that heads the list of free tables of so many words."""
    size = 0
    while FIRST_TABLE_WORDS << size < words:
        size += 1
    return FREE_TABLES + size


@njit(**KERNEL)
def new_table(heap, dirty, words):
    """Return an empty table of a power of two words."""
    free = _free_list(words)
    table = heap[free]
    if table != 0:
        heap[free] = heap[table]
    else:
        table = heap[BUMP]
        heap[BUMP] += words
    for word in range(table, table + words):
        heap[word] = 0
    mark_range(dirty, table, words)
    heap[LARGEST_TABLE] = max(heap[LARGEST_TABLE], words)
    return table


@njit(**KERNEL)
def _count_in(heap, dirty, segment, words):
    """Count a new key into a segment; True if the segment grew, and places in it moved."""
    slots = heap[segment + MASK] + 1
    heap[segment + USED] += 1
    mark(dirty, segment)
    if heap[segment + USED] * 5 <= slots * 3:
        return False
    old = heap[segment + TABLE]
    table = new_table(heap, dirty, 2 * slots * words)
    mask = 2 * slots - 1
    for source in range(old, old + slots * words, words):
        if heap[source] != 0:
            i = _home_of(heap, source, words) & mask
            while heap[table + words * i] != 0:
                i = (i + 1) & mask
            for word in range(words):
                heap[table + words * i + word] = heap[source + word]
    heap[segment + TABLE] = table
    heap[segment + MASK] = mask
    free = _free_list(slots * words)
    heap[old] = heap[free]
    heap[free] = old
    mark(dirty, old)
    return True


@njit(**KERNEL)
def enter_entity(heap, dirty, key, slot):
    """Enter a key that `find_entity` did not find; return its empty slot."""
    heap[ENTITY_COUNT] += 1
    if _count_in(heap, dirty, segment_of(heap[ENTITIES], spread(key)), ENTITY_WORDS):
        slot = find_entity(heap, key)
    slot = -slot
    heap[slot] = key
    for word in range(1, ENTITY_WORDS):
        heap[slot + word] = 0
    mark(dirty, slot)
    return slot


@njit(**KERNEL)
def enter_pair(heap, dirty, owner, other, entry):
    """Enter a pair that `find_pair` did not find; return its entry."""
    heap[PAIR_COUNT] += 1
    if _count_in(heap, dirty, segment_of(heap[PAIRS], _spread_pair(owner, other)), PAIR_WORDS):
        entry = find_pair(heap, owner, other)
    entry = -entry
    heap[entry] = owner
    heap[entry + 1] = other
    mark(dirty, entry)
    return entry


@njit(**KERNEL)
def new_directory(heap, dirty, words):
    """Return a directory of empty segments, for places of so many words."""
    directory = heap[BUMP]
    heap[BUMP] += SEGMENTS * SEGMENT_WORDS
    for i in range(SEGMENTS):
        segment = directory + SEGMENT_WORDS * i
        heap[segment + TABLE] = new_table(heap, dirty, FIRST_TABLE_WORDS)
        heap[segment + MASK] = FIRST_TABLE_WORDS // words - 1
        heap[segment + USED] = 0
    mark_range(dirty, directory, SEGMENTS * SEGMENT_WORDS)
    return directory


@njit(**KERNEL)
def initialize(heap, dirty):
    """Make a store of zeros an empty store."""
    heap[BUMP] = HEAP_HEADER
    heap[ENTITIES] = new_directory(heap, dirty, ENTITY_WORDS)
    heap[PAIRS] = new_directory(heap, dirty, PAIR_WORDS)
    heap[WATERMARK] = LONG_AGO
    heap[HISTORY_START] = UNSEEN
    mark(dirty, 0)
