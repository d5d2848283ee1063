"""An entity store that is saved page by page, in a map of blobs, as of a place in a log of its touches.

Once in a while the pages that changed are copied and written a few per block, each into the slot of its page that the
current manifest does not name; then a new manifest names them and the place in the log at which they were copied. A
restart finds a manifest with all its pages, and replays the log from there.
"""

from __future__ import annotations

import struct
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.features.entity_store import PAGE_BYTES, EntityStore, SnapshotError
from models.features.memory_ahead import MemoryAhead
from models.features.store_spec import StoreSpec
from models.state_map import StateMap
from schemas.columns import F64, I64

FLUSH_SPEED = 6
"""Bytes of pages written for each byte logged meanwhile, and pages written with each block of touches at least: no
block waits for the whole store, and a flush is over before the next is due.
"""
REMOVALS_PER_BLOCK = 8
"""At least; twice as many as there are pages written at that pace. What is not removed is saved with the rest."""

_MANIFEST = 0
_PAGE = 2 << 48
FORMAT_VERSION = 3
"""Of manifest and pages. Raised with every change; state of another version is refused."""
_HEADER = struct.Struct("<qqqq")  # format, first log entry to replay, length of the store's meta data, pages
_CODEC = pa.Codec("zstd", -1)  # pages shrink to 0.29 at 400 MB/s; LZ4: to 0.37 at 700 MB/s


def compressed(page: I64) -> bytes:
    """Return a page as it lies in the state."""
    blob: bytes = _CODEC.compress(page, asbytes=True)
    return blob


class PagedStore:
    """`EntityStore` whose pages lie in a StateMap.

    Parameters
    ----------
    spec
        Of the store. A state of another one is made over, at each restart until the next flush (`EntityStore.restore`).
    state
        Where the pages are kept; what it holds is restored.
    ahead
        What has the system hand out memory; None for one of its own.

    Attributes
    ----------
    log_start
        First entry of the log that a restart replays.
    log_bytes
        Of touches entered since the last flush began.
    """

    def __init__(self, spec: StoreSpec, state: StateMap, ahead: MemoryAhead | None = None) -> None:
        self._state = state
        self._slots = np.zeros(0, np.uint8)  # slot of each page that the manifest names
        self._stale: dict[int, None] = {}  # keys of pages that no manifest names any more, oldest first
        self._flush: _Flush | None = None
        self.log_start = 0
        self.log_bytes = 0
        self.store = self._restore(spec, ahead)

    @property
    def is_flushing(self) -> bool:
        """Whether pages are being written."""
        return self._flush is not None

    def enter(self, touches: npt.NDArray[np.void], values_at: I64, values: F64) -> None:
        """Let touches that were placed and logged read and then update their entities; as `EntityStore.enter`."""
        self.store.enter(touches, values_at, values)
        self.log_bytes += touches.nbytes

    def begin_flush(self, log_end: int) -> None:
        """Copy the pages that changed, to be written by `go_on`.

        Parameters
        ----------
        log_end
            Number of the first entry of the log whose touches have not been entered.
        """
        self._flush = _Flush(self.store.dirty_pages(), self.store.meta(), log_end)
        self.log_bytes = 0
        grown = max(self._flush.pages, default=-1) + 1 - len(self._slots)
        if grown > 0:
            # A page that no manifest names yet has its current slot in 1, so that it is written to 0.
            self._slots = np.concatenate([self._slots, np.ones(grown, np.uint8)])

    def go_on(self, pages: int) -> None:
        """Write so many pages of a flush, or remove what the last one has replaced."""
        if self._flush is None:
            self._remove_stale(max(REMOVALS_PER_BLOCK, 2 * pages))
            return
        flush = self._flush
        for _ in range(min(pages, len(flush.pages))):
            page, blob = flush.pages.popitem()
            flush.written.append(page)
            key = _PAGE + 2 * page + 1 - int(self._slots[page])
            self._state.put(key, compressed(blob))
            self._stale.pop(key, None)
        if not flush.pages:
            self._stale |= {_PAGE + 2 * page + int(self._slots[page]): None for page in flush.written}
            self._slots[flush.written] ^= 1
            header = _HEADER.pack(FORMAT_VERSION, flush.log_end, len(flush.meta), len(self._slots))
            self._state.put(_MANIFEST, header + flush.meta + self._slots.tobytes())
            self.log_start = flush.log_end
            self._flush = None

    def _remove_stale(self, count: int) -> None:
        for key in list(islice(self._stale, count)):
            self._state.remove(key)
            del self._stale[key]

    def _restore(self, spec: StoreSpec, ahead: MemoryAhead | None) -> EntityStore:
        manifest = self._state.get(_MANIFEST)
        if manifest is None:
            return EntityStore(spec, ahead=ahead)
        version, self.log_start, meta_length, pages = _HEADER.unpack_from(manifest)
        if version != FORMAT_VERSION:
            raise SnapshotError(f"the state has format {version}, expected {FORMAT_VERSION}: replay the stream")
        meta = manifest[_HEADER.size : _HEADER.size + meta_length]
        self._slots = np.frombuffer(manifest, np.uint8, pages, _HEADER.size + meta_length).copy()
        return EntityStore.restore(spec, meta, self._pages(), ahead)

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
