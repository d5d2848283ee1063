"""An entity store that survives restarts: a log of touches and pages of memory, in a map of blobs.

Every block of touches is logged as it is applied. When the log is long, the pages that changed are copied and written
a few per block, each into the slot of its page that the current manifest does not name; then a new manifest names
them and the log before the copy goes. A restart finds a manifest with all its pages, and the log since.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.features.entity_store import PAGE_BYTES, EntityStore, SnapshotError
from models.features.partials import Partials
from models.features.placed_touches import PlacedTouches
from models.features.store_spec import StoreSpec
from models.features.touches import TOUCH
from models.state_map import StateMap
from schemas.columns import F64, I64

FLUSH_LOG_BYTES = 16 << 20
"""About 140,000 transactions: half a second of replay at a restart."""
FLUSH_LOG_SHARE = 0.25
"""Of the store's memory, where that is more. A busy store changes nearly all its pages between two flushes: so the
pages written are at most four times the log, whatever the store's size, and a restart replays at most a quarter of it.
"""
PAGES_PER_BLOCK = 4
FLUSH_SPEED = 6
"""Bytes of pages written for each byte logged meanwhile, and pages written with each block of touches at least: no
block waits for the whole store, and a flush is over before the next is due.
"""
REMOVALS_PER_BLOCK = 8
"""At least; twice as many as there are pages written at that pace. What is not removed is saved by every checkpoint."""

_MANIFEST = 0
_LOG, _PAGE = 1 << 48, 2 << 48
FORMAT_VERSION = 2
"""Of manifest, pages and log. Raised with every change; state of another version is refused."""
_HEADER = struct.Struct("<qqqq")  # format, first log entry to replay, length of the store's meta data, pages
_LENGTH = struct.Struct("<I")  # of a log entry before it was compressed
_CODEC = pa.Codec("zstd", -1)  # pages shrink to 0.29 at 400 MB/s, log entries to 0.38; LZ4: 0.37 and 0.51 at 700 MB/s


def compressed(page: I64) -> bytes:
    """Return a page as it lies in the state."""
    blob: bytes = _CODEC.compress(page, asbytes=True)
    return blob


class DurableEntityStore:
    """`EntityStore` on a StateMap.

    Parameters
    ----------
    spec
        Of the store. A state of another one is made over, at each restart until the next flush (`EntityStore.restore`).
    state
        Where log and pages are kept; what it holds is restored.
    flush_log_bytes, flush_log_share
        Pages are written when the log is longer than both: so many bytes, and such a share of the store's memory.
    pages_per_block
        How many are written with one block of touches, at least.

    Attributes
    ----------
    may_flush
        Whether a flush may begin.
    """

    def __init__(
        self,
        spec: StoreSpec,
        state: StateMap,
        flush_log_bytes: int = FLUSH_LOG_BYTES,
        pages_per_block: int = PAGES_PER_BLOCK,
        flush_log_share: float = FLUSH_LOG_SHARE,
    ) -> None:
        self._state = state
        self._flush_log_bytes = flush_log_bytes
        self._flush_log_share = flush_log_share
        self._pages_per_block = pages_per_block
        self._slots = np.zeros(0, np.uint8)  # slot of each page that the manifest names
        self._log_start = 0  # first entry that a restart replays
        self._log_end = 0
        self._oldest_entry = 0  # first entry not removed yet
        self._log_bytes = 0
        self._stale: list[int] = []  # pages that no manifest names any more
        self._flush: _Flush | None = None
        self.may_flush = True
        self.store = self._restore(spec)

    @property
    def is_flushing(self) -> bool:
        """Whether pages are being written."""
        return self._flush is not None

    def apply(self, touches: npt.NDArray[np.void]) -> Partials:
        """Let the touches read and then update their entities, durably; as `EntityStore.apply`."""
        placed = PlacedTouches.of(touches, self.store.columns, self.store.sequence)
        self.enter(placed.touches, placed.values_at, placed.values, touches.nbytes)
        return placed.results(self.store.history_start_ms)

    def enter(self, touches: npt.NDArray[np.void], values_at: I64, values: F64, stream_bytes: int) -> None:
        """Let touches that were placed read and then update their entities, durably.

        Parameters
        ----------
        touches, values_at, values
            As `EntityStore.enter` takes them.
        stream_bytes
            Pages are written at the pace of so many bytes logged.
        """
        if len(touches):
            entry = _LENGTH.pack(touches.nbytes) + _CODEC.compress(touches.view(np.uint8), asbytes=True)
            self._state.put(_LOG + self._log_end, entry)
            self._log_end += 1
            self._log_bytes += touches.nbytes
        self.store.enter(touches, values_at, values)
        self._continue_flush(max(self._pages_per_block, FLUSH_SPEED * stream_bytes // PAGE_BYTES))

    def _continue_flush(self, pages: int) -> None:
        if self._flush is None:
            self._remove_what_is_old(max(REMOVALS_PER_BLOCK, 2 * pages))
            if not self.may_flush or self._log_bytes < max(
                self._flush_log_bytes, self._flush_log_share * self.store.counters["bytes"]
            ):
                return
            self._flush = _Flush(self.store.dirty_pages(), self.store.meta(), self._log_end)
            self._log_bytes = 0
            grown = max(self._flush.pages, default=-1) + 1 - len(self._slots)
            if grown > 0:
                # A page that no manifest names yet has its current slot in 1, so that it is written to 0.
                self._slots = np.concatenate([self._slots, np.ones(grown, np.uint8)])
        flush = self._flush
        for _ in range(min(pages, len(flush.pages))):
            page, blob = flush.pages.popitem()
            flush.written.append(page)
            slot = 1 - int(self._slots[page])
            self._state.put(_PAGE + 2 * page + slot, compressed(blob))
        if not flush.pages:
            self._stale = [_PAGE + 2 * page + int(self._slots[page]) for page in flush.written]
            self._slots[flush.written] ^= 1
            header = _HEADER.pack(FORMAT_VERSION, flush.log_end, len(flush.meta), len(self._slots))
            self._state.put(_MANIFEST, header + flush.meta + self._slots.tobytes())
            self._log_start = flush.log_end
            self._flush = None

    def _remove_what_is_old(self, count: int) -> None:
        for key in self._stale[:count]:
            self._state.remove(key)
        del self._stale[:count]
        until = min(self._log_start, self._oldest_entry + count)
        for entry in range(self._oldest_entry, until):
            self._state.remove(_LOG + entry)
        self._oldest_entry = until

    def _restore(self, spec: StoreSpec) -> EntityStore:
        manifest = self._state.get(_MANIFEST)
        entries = sorted(key - _LOG for key in self._state.keys() if _LOG <= key < _PAGE)  # noqa: SIM118
        if manifest is None:
            store = EntityStore(spec)
        else:
            version, self._log_start, meta_length, pages = _HEADER.unpack_from(manifest)
            if version != FORMAT_VERSION:
                raise SnapshotError(f"the state has format {version}, expected {FORMAT_VERSION}: replay the stream")
            meta = manifest[_HEADER.size : _HEADER.size + meta_length]
            self._slots = np.frombuffer(manifest, np.uint8, pages, _HEADER.size + meta_length).copy()
            store = EntityStore.restore(spec, meta, self._pages())
        self._oldest_entry = entries[0] if entries else self._log_start
        self._log_end = max(entries[-1] + 1 if entries else 0, self._log_start)
        for entry in range(self._log_start, self._log_end):
            blob = self._state.get(_LOG + entry)
            if blob is None:
                raise RuntimeError(f"entry {entry} of the touch log is missing; the state is damaged, restore another")
            entry_bytes = _LENGTH.unpack_from(blob)[0]
            store.apply(np.frombuffer(_CODEC.decompress(blob[_LENGTH.size :], entry_bytes, asbytes=True), TOUCH))
            self._log_bytes += entry_bytes
        return store

    def _pages(self) -> dict[int, bytes]:
        pages = {}
        for page, slot in enumerate(self._slots):
            blob = self._state.get(_PAGE + 2 * page + int(slot))
            if blob is not None:
                pages[page] = _CODEC.decompress(blob, PAGE_BYTES, asbytes=True)
        return pages


class _Flush:
    """Pages on their way into the state."""

    def __init__(self, pages: dict[int, I64], meta: bytes, log_end: int) -> None:
        self.pages = pages
        self.meta = meta
        self.log_end = log_end
        self.written: list[int] = []
