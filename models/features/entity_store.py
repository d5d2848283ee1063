"""The entity store: what every account, counterparty and device did lately, and what a touch reads of it.

Contract of every column: the window is [t - delay - window, t - delay) in event time, the event itself left out;
transactions at t that arrived earlier count as before t. A late event reads and enters the window it belongs to.
Results depend on the order of the touches alone, neither on how they are cut into blocks nor on restarts.

State is one array of 64-bit words: counters, two hash tables, and a block for each track of an entity.

- A small track takes 64 bytes and 32 bytes for each place; places double from 2 to `promote_above`. It is scanned
  at each read. An entity that made or received one or two transactions takes 192 bytes with its table slot.
- A large track takes about 600 bytes and 81 bytes for each place, and up to 110 bytes for each different other
  side; places double up to `max_touches_per_track`, then the oldest transaction makes way for the newest (16,384
  of them: 1.3 MB, and at most 1.8 MB if every other side is a different one). Reads and in-order updates cost the
  same however long the window; a late one costs a pass over the items it is late by.
- Transactions are forgotten once they are older than `StoreSpec.retention_ms` behind the newest of their track,
  entities once they are that far behind the newest of the store, one table slot looked at for each touch.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.features.kernels import memory
from models.features.kernels.apply import apply_touches
from models.features.kernels.rebuild import ITEM, enter_items, list_items
from models.features.kernels.small_track import READ_WORDS
from models.features.memory_ahead import MemoryAhead
from models.features.partials import Partials
from models.features.placed_touches import PlacedTouches
from models.features.store_spec import DAY_MS, StoreSpec
from models.features.touches import TOUCH
from schemas.columns import F64, I64

LAYOUT_VERSION = 3
"""Meaning of the words of the heap. Raised with every change; a snapshot of another version is refused."""

PAGE_BYTES = 8 << memory.PAGE_SHIFT

_PAGE_WORDS = 1 << memory.PAGE_SHIFT
_PAGES_AHEAD = 64  # 4 MiB: some tenths of a second of a fast stream
_GROWS_SOON = 0.4  # of a table's slots taken: it grows at 0.6
_RESERVED_WORDS = 1 << 29  # 4 GiB of addresses, of which only what is written takes memory
_LEAST_WORDS = 1 << 16
_NORESERVE = 0x4000 if sys.platform == "linux" else 0  # mmap.MAP_NORESERVE, which Python 3.11 does not name
_ENTITY_SLOTS = 1024
_PAIR_SLOTS = 2048
_META = struct.Struct("<4sIQ32s")
_REACH = struct.Struct("<q")  # after it: how long transactions are remembered
_MAGIC = b"WEIR"


def _reserve_words(words: int) -> I64:
    """Return zeros that take memory only once they are written.

    Growing in place this way, a store never stops the stream to copy itself. Where so many addresses are refused
    (a limit on virtual memory), fewer do, and the store copies itself to twice the place whenever it is full.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
    while True:
        try:
            memory_map = mmap.mmap(-1, 8 * words, flags=flags)
        except OSError:
            if words <= _LEAST_WORDS:
                raise
            words //= 2
            continue
        if hasattr(mmap, "MADV_HUGEPAGE"):  # entities lie anywhere: large pages spare most address look-ups
            memory_map.madvise(mmap.MADV_HUGEPAGE)
        return np.frombuffer(memory_map, np.int64)


class SnapshotError(Exception):
    """A snapshot that this store cannot be rebuilt from."""


class EntityStore:
    """Exact sliding-window features of all entities of one shard.

    Parameters
    ----------
    spec
        What to keep and what to read. A snapshot can be restored by a store whose windows reach back no further.
    asks_ahead
        Whether memory is asked for before it is needed, for the store and for the copy that a snapshot takes, so that
        no block waits for it. Otherwise it comes when it is first written, and less of it; results are the same.
    ahead
        Who asks for it; None for one of the store's own.

    Examples
    --------
    >>> from models.features.store_spec import Column, Statistic, Track
    >>> count = Column("count_1h", Track.OUT, Statistic.COUNT, 3_600_000)
    >>> store = EntityStore(StoreSpec(originator=(count,)))
    >>> touches = np.zeros(3, TOUCH)
    >>> touches["entity"], touches["other"] = 7, 8
    >>> touches["time_ms"] = [0, 1_000, 3_600_001]
    >>> store.apply(touches).originator.tolist()
    [[0.0], [1.0], [1.0]]
    """

    def __init__(self, spec: StoreSpec, asks_ahead: bool = True, ahead: MemoryAhead | None = None) -> None:
        self.spec = spec
        self._asks_ahead = asks_ahead
        self._compiled = spec.compile()
        reads = np.zeros((3, 4), np.int64)
        for role in range(3):
            for column in spec.columns(role):
                reads[role, column.track] = 1
        self._reads = reads
        self._read = np.zeros((4, READ_WORDS), np.int64)
        self._heap: I64 = _reserve_words(_RESERVED_WORDS)
        self._dirty = np.zeros(len(self._heap) // _PAGE_WORDS, np.uint8)
        self._copy: I64 = _reserve_words(len(self._heap))  # place for a copy of every page
        self._heap_pages = self._copy_pages = 0  # that have their memory, or were asked for
        self._ahead = ahead or MemoryAhead(self)
        self._initialize()
        self.apply(np.zeros(0, TOUCH))  # compiles the kernels, or loads them: not on the first event

    def _initialize(self) -> None:
        heap = self._heap
        heap[memory.ENTITIES] = memory.HEAP_HEADER
        heap[memory.ENTITY_MASK] = _ENTITY_SLOTS - 1
        heap[memory.PAIRS] = memory.HEAP_HEADER + _ENTITY_SLOTS * memory.ENTITY_WORDS
        heap[memory.PAIR_MASK] = _PAIR_SLOTS - 1
        heap[memory.BUMP] = heap[memory.PAIRS] + _PAIR_SLOTS * memory.PAIR_WORDS
        heap[memory.WATERMARK] = memory.LONG_AGO
        heap[memory.HISTORY_START] = memory.UNSEEN
        self._dirty[: self._used_pages()] = 1

    def apply(self, touches: npt.NDArray[np.void]) -> Partials:
        """Let the touches read and then update their entities, one after the other.

        Parameters
        ----------
        touches
            Rows of `TOUCH`, in the order in which they happen to this shard.

        Returns
        -------
        Partials
            What the touches read, each before it updated its entity. Labels read nothing.
        """
        placed = PlacedTouches.of(touches, self._compiled.plan_length, self.sequence)
        self.enter(placed.touches, placed.values_at, placed.values)
        return placed.results(self.history_start_ms)

    def enter(self, touches: npt.NDArray[np.void], values_at: I64, values: F64) -> None:
        """Let touches that were placed (`PlacedTouches`) read and then update their entities.

        Parameters
        ----------
        touches
            (n,) in the order in which they happen to this store.
        values_at
            (n,) where in `values` the results of each begin.
        values
            Written to.
        """
        spec = self._compiled
        done = 0
        while True:
            done = apply_touches(
                self._heap, self._dirty, spec.limits, spec.edges, spec.edge_count, spec.needs, spec.plan,
                spec.plan_length, self._reads, touches, done, values_at, values, self._read,
            )  # fmt: skip
            if done == len(touches):
                break
            self._grow()
        if self._asks_ahead:
            self._take_memory()

    def _take_memory(self) -> None:
        """Ask for memory a little before it is needed.

        Blocks of tracks are laid on at the end of the heap; a table that grows needs all of its pages at once, and so
        does a copy.
        """
        heap, used = self._heap, self._used_pages()
        soon = used + _PAGES_AHEAD if used > _PAGES_AHEAD else used  # a small store has what it needs
        for count, mask, words in (
            (memory.PAIR_COUNT, memory.PAIR_MASK, memory.PAIR_WORDS),
            (memory.ENTITY_COUNT, memory.ENTITY_MASK, memory.ENTITY_WORDS),
        ):
            slots = int(heap[mask]) + 1
            if int(heap[count]) > _GROWS_SOON * slots:
                soon += 2 * slots * words // _PAGE_WORDS + 1
        self._heap_pages = self._ask_for(heap, max(self._heap_pages, used), min(soon, len(self._dirty)))
        self._copy_pages = self._ask_for(self._copy, self._copy_pages, min(soon, len(self._dirty)))

    def _ask_for(self, words: I64, start: int, end: int) -> int:
        if end - start < _PAGES_AHEAD // 2:
            return start
        self._ahead.ask(words, start * _PAGE_WORDS, end * _PAGE_WORDS)
        return end

    def _grow(self) -> None:
        self._resize(2 * len(self._dirty))

    def _resize(self, pages: int) -> None:
        heap = _reserve_words(pages * _PAGE_WORDS)
        used = self._used_pages()
        heap[: used * _PAGE_WORDS] = self._heap[: used * _PAGE_WORDS]
        dirty = np.zeros(pages, np.uint8)
        dirty[:used] = self._dirty[:used]
        self._heap, self._dirty = heap, dirty
        self._copy = _reserve_words(len(heap))
        self._heap_pages = self._copy_pages = 0

    @property
    def columns(self) -> I64:
        """(3,) how many results a touch of each role has."""
        return self._compiled.plan_length

    @property
    def history_start_ms(self) -> int:
        """Event time of the first transaction that the store saw; 2^63 - 1 before it."""
        return int(self._heap[memory.HISTORY_START])

    @property
    def sequence(self) -> int:
        """Number of touches so far, labels included."""
        return int(self._heap[memory.SEQUENCE])

    @property
    def counters(self) -> dict[str, int]:
        """Numbers for metrics: entities, pairs, bytes in use, touches, late and forgotten ones, evicted entities."""
        names = {
            "entities": memory.ENTITY_COUNT,
            "pairs": memory.PAIR_COUNT,
            "touches": memory.SEQUENCE,
            "late_touches": memory.LATE,
            "forgotten_touches": memory.FORGOTTEN,
            "evicted_entities": memory.EVICTED,
        }
        numbers = {name: int(self._heap[at]) for name, at in names.items()}
        return numbers | {"bytes": self.used_bytes}

    @property
    def used_bytes(self) -> int:
        """Memory in use, for whatever it holds."""
        return 8 * int(self._heap[memory.BUMP])

    def _used_pages(self) -> int:
        return -(-int(self._heap[memory.BUMP]) // _PAGE_WORDS)

    def dirty_pages(self) -> dict[int, I64]:
        """Return the pages of 64 KiB written since the last call, and forget that they were.

        The pages are views of a copy that the next call overwrites.
        """
        used = self._used_pages()
        written = np.flatnonzero(self._dirty[:used])
        self._dirty[:used] = 0
        words = len(written) * _PAGE_WORDS
        place = self._copy if words <= len(self._copy) else np.empty(words, np.int64)  # where addresses are few
        copied = place[:words].reshape(-1, _PAGE_WORDS)
        pages = self._heap[: used * _PAGE_WORDS].reshape(-1, _PAGE_WORDS)
        np.take(pages, written, axis=0, out=copied, mode="clip")  # which copies without a buffer, and without the GIL
        return dict(zip(written.tolist(), copied, strict=True))

    def meta(self) -> bytes:
        """Return what is needed beside the pages to restore the store."""
        known = _META.pack(_MAGIC, LAYOUT_VERSION, self._used_pages(), self._fingerprint())
        return known + _REACH.pack(self.spec.retention_ms)

    def _fingerprint(self) -> bytes:
        # What the running aggregates in the pages depend on. Which of them a role reads may change.
        spec = self._compiled
        digest = hashlib.sha256()
        parts: tuple[npt.NDArray[Any], ...] = (spec.limits, spec.edges, spec.edge_count, spec.needs)
        for part in parts:
            digest.update(part.tobytes())
        return digest.digest()

    @classmethod
    def restore(
        cls, spec: StoreSpec, meta: bytes, pages: Mapping[int, bytes | I64], ahead: MemoryAhead | None = None
    ) -> EntityStore:
        """Rebuild a store from its meta data and the newest version of every page.

        A snapshot of another spec is taken apart into its transactions, and these are entered anew: then every window
        of `spec` reads what it would read had the store had it from the start, but for tracks that were full.

        Raises
        ------
        SnapshotError
            The snapshot is of another layout, or remembers transactions for less long than `spec` asks for, or a page
            is missing: replay the stream instead.
        """
        magic, version, count, fingerprint = _META.unpack_from(meta)
        store = cls(spec, ahead=ahead)
        if magic != _MAGIC or version != LAYOUT_VERSION:
            raise SnapshotError(f"layout of the snapshot is {magic!r} {version}, expected {_MAGIC!r} {LAYOUT_VERSION}")
        is_of_spec = fingerprint == store._fingerprint()
        if not is_of_spec:
            _refuse_shorter_memory(spec, meta)
        if count > len(store._dirty):
            store._resize(2 * count)
        for page in range(count):
            if page not in pages:
                raise SnapshotError(f"page {page} of {count} is missing from the snapshot")
            store._heap[page * _PAGE_WORDS : (page + 1) * _PAGE_WORDS] = np.frombuffer(pages[page], np.int64)
        store._dirty[:] = 0
        return store if is_of_spec else store._rebuilt()

    def _rebuilt(self) -> EntityStore:
        """Return a store of the same spec, made of the transactions in this one's memory."""
        items = np.zeros(list_items(self._heap, np.zeros(0, ITEM)), ITEM)
        list_items(self._heap, items)
        items = items[np.argsort(items["time_ms"], kind="stable")]  # as they would have come, each track's in its order
        store = EntityStore(self.spec, ahead=self._ahead)
        spec, done = store._compiled, 0
        while done < len(items):
            done = enter_items(
                store._heap, store._dirty, spec.limits, spec.edges, spec.edge_count, spec.needs, items, done
            )
            if done < len(items):
                store._grow()
        for counter in (memory.SEQUENCE, memory.HISTORY_START, memory.FORGOTTEN, memory.EVICTED, memory.LATE):
            store._heap[counter] = self._heap[counter]
        store._heap[memory.WATERMARK] = max(store._heap[memory.WATERMARK], self._heap[memory.WATERMARK])
        store._dirty[: store._used_pages()] = 1
        return store


def _refuse_shorter_memory(spec: StoreSpec, meta: bytes) -> None:
    if len(meta) < _META.size + _REACH.size:
        raise SnapshotError("the snapshot was written with other windows or limits: rebuild it from the stream")
    (remembered_ms,) = _REACH.unpack_from(meta, _META.size)
    if remembered_ms < spec.retention_ms:
        raise SnapshotError(
            f"the snapshot remembers transactions for {remembered_ms / DAY_MS:g} days, and the windows now reach back "
            f"{spec.retention_ms / DAY_MS:g}: start without it and let the windows fill, or replay the stream"
        )
