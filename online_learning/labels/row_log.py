"""Rows of a fixed type, appended to a map of blobs and read back by their number.

Every block is written once when it comes, and once more as part of a page: a growing page is not rewritten, and rows
that wait for long lie in few large blobs.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.state_map import StateMap
from schemas.columns import I64

PAGE_ROWS = 256
"""With 100 features and two ids 240 KiB before compression: to read one late label costs tenths of a millisecond."""

CACHED_PAGES = 64

_SEGMENT = 1 << 48  # keys of blocks not part of a page yet; pages have the keys before
_HEADER = struct.Struct("<qq")  # number of the first row, rows
_CODEC = pa.Codec("zstd", -1)

Rows = npt.NDArray[np.void]


class RowLog:
    """A log of rows.

    Parameters
    ----------
    state
        Where the blobs are kept; what it holds is restored.
    base
        First of the 2**49 keys that belong to this log.
    dtype
        Of a row: a structure without Python objects.
    page_rows
        Rows of a page; must stay the same over the state's life.
    """

    def __init__(self, state: StateMap, base: int, dtype: np.dtype[Any], page_rows: int = PAGE_ROWS) -> None:
        self._state = state
        self._base = base
        self._dtype = dtype
        self._page_rows = page_rows
        self._tail: Rows = np.zeros(0, dtype)  # rows of the page not full yet
        self._segments: list[int] = []  # keys of the blobs that hold the tail
        self._next_segment = 0
        self._cache: OrderedDict[int, Rows] = OrderedDict()
        self.pages: list[int] = []  # numbers of the pages kept, ascending
        self._restore()

    @property
    def next_row(self) -> int:
        """Number of the next row to be appended."""
        return self._tail_start + len(self._tail)

    @property
    def _tail_start(self) -> int:
        return (self.pages[-1] + 1) * self._page_rows if self.pages else 0

    def append(self, rows: Rows) -> list[int]:
        """Append rows; return the numbers of the pages that became full."""
        if len(rows) == 0:
            return []
        first = self.next_row
        self._tail = np.concatenate([self._tail, rows])
        full = len(self._tail) // self._page_rows
        if full == 0:
            self._put_segment(first, rows)
            return []
        page = self._tail_start // self._page_rows
        written = list(range(page, page + full))
        for i, number in enumerate(written):
            block = self._tail[i * self._page_rows : (i + 1) * self._page_rows]
            self._put(self._base + number, number * self._page_rows, block)
        self.pages += written
        self._tail = self._tail[full * self._page_rows :].copy()
        for key in self._segments:
            self._state.remove(key)
        self._segments = []
        if len(self._tail):
            self._put_segment(self._tail_start, self._tail)
        return written

    def read(self, numbers: I64) -> Rows:
        """Return the rows of these numbers, in their order.

        Raises
        ------
        KeyError
            If a row's page was removed.
        """
        found = np.zeros(len(numbers), self._dtype)
        in_tail = numbers >= self._tail_start
        found[in_tail] = self._tail[numbers[in_tail] - self._tail_start]
        paged = np.flatnonzero(~in_tail)
        pages = numbers[paged] // self._page_rows
        for page in np.unique(pages).tolist():
            at = paged[pages == page]
            found[at] = self.page(page)[numbers[at] % self._page_rows]
        return found

    def page(self, number: int) -> Rows:
        """Return the rows of a full page; not to be changed.

        Raises
        ------
        KeyError
            If the page was removed, or is not full yet.
        """
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        blob = self._state.get(self._base + number)
        if blob is None:
            raise KeyError(f"page {number} is not there")
        rows = self._unpack(blob)[1]
        self._cache[number] = rows
        if len(self._cache) > CACHED_PAGES:
            self._cache.popitem(last=False)
        return rows

    def blocks(self) -> Iterator[tuple[int, Rows]]:
        """Yield all rows with the number of the first of each block, in order."""
        for number in self.pages:
            blob = self._state.get(self._base + number)
            assert blob is not None
            yield self._unpack(blob)
        if len(self._tail):
            yield self._tail_start, self._tail

    def remove_page(self, number: int) -> None:
        """Remove a full page. The newest is kept whatever happens: the numbering goes on from it."""
        if number == self.pages[-1]:
            return
        self.pages.remove(number)
        self._cache.pop(number, None)
        self._state.remove(self._base + number)

    def replace(self, rows: Rows) -> None:
        """Forget all rows and begin with these, as number 0."""
        for number in self.pages:
            self._state.remove(self._base + number)
        for key in self._segments:
            self._state.remove(key)
        self.pages, self._segments = [], []
        self._cache.clear()
        self._tail = np.zeros(0, self._dtype)
        self.append(rows)

    def _put_segment(self, first: int, rows: Rows) -> None:
        key = self._base + _SEGMENT + self._next_segment
        self._next_segment += 1
        self._put(key, first, rows)
        self._segments.append(key)

    def _put(self, key: int, first: int, rows: Rows) -> None:
        self._state.put(key, _HEADER.pack(first, len(rows)) + _CODEC.compress(rows.tobytes(), asbytes=True))

    def _unpack(self, blob: bytes) -> tuple[int, Rows]:
        first, count = _HEADER.unpack_from(blob)
        data = _CODEC.decompress(blob[_HEADER.size :], count * self._dtype.itemsize, asbytes=True)
        return first, np.frombuffer(data, self._dtype)

    def _restore(self) -> None:
        first, segments = self._base, self._base + _SEGMENT
        own = sorted(key for key in self._state.keys() if first <= key < segments + _SEGMENT)  # noqa: SIM118
        self.pages = [key - first for key in own if key < segments]
        self._segments = [key for key in own if key >= segments]
        if self._segments:
            self._next_segment = self._segments[-1] - segments + 1
            blobs = [self._state.get(key) for key in self._segments]
            self._tail = np.concatenate([self._unpack(blob)[1] for blob in blobs if blob is not None])
