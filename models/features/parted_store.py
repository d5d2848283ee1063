"""An entity store that survives restarts: a log of touches, and parts whose pages are saved one part at a time.

Each block of touches is logged as it is applied. Each entity belongs to one part, by its key; a part is saved when its
touches since the last time are many, and no block waits for a copy of more than one part. To the outside the parts are
one store: touches keep their order and their numbers, and results are those of a store in one piece. A restart finds
the parts as they were last saved, and the log from the oldest of these moments on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from models.features.entity_store import PAGE_BYTES, SnapshotError
from models.features.kernels.memory import UNSEEN
from models.features.memory_ahead import MemoryAhead
from models.features.paged_store import FLUSH_SPEED, REMOVALS_PER_BLOCK, PagedStore
from models.features.partials import Partials
from models.features.placed_touches import PlacedTouches
from models.features.store_spec import StoreSpec
from models.features.touch_log import TouchLog
from models.features.touches import LABEL
from models.state_map import StateMap

PARTS = 8
"""Twice as many halve the longest wait for a copy, and every block pays for another call."""
FLUSH_LOG_BYTES = 16 << 20
"""About 140,000 transactions: half a second of replay at a restart."""
FLUSH_LOG_SHARE = 0.25
"""Of the store's memory, where that is more. A busy store changes nearly all its pages between two flushes: so the
pages written are at most four times the log, whatever the store's size, and a restart replays at most a quarter of it.
"""
PAGES_PER_BLOCK = 4
_PART_SHIFT = 52  # keys of a part's pages lie below
_LOG_FIRST, _LOG_END = 14 << _PART_SHIFT, 15 << _PART_SHIFT  # keys
_META = 15 << _PART_SHIFT  # key
_META_FORMAT = struct.Struct("<qqq")  # version, parts, event time of the first transaction
VERSION = 2
"""Of the division into parts, and of the log. State of another version is refused."""


class PartedEntityStore:
    """`EntityStore` on a StateMap, in parts.

    Parameters
    ----------
    spec
        Of the store; see `PagedStore`.
    state
        Where log and pages are kept; what it holds is restored.
    flush_log_bytes, flush_log_share
        A part is saved when what was logged of it is longer than both: its share of so many bytes, and such a share of
        its memory.
    pages_per_block
        How many are written with one block of touches, at least.
    parts
        1 to 8; must stay the same over the state's life.

    Raises
    ------
    SnapshotError
        If the state was written by another version, or with another number of parts.
    """

    def __init__(
        self,
        spec: StoreSpec,
        state: StateMap,
        flush_log_bytes: int = FLUSH_LOG_BYTES,
        pages_per_block: int = PAGES_PER_BLOCK,
        flush_log_share: float = FLUSH_LOG_SHARE,
        parts: int = PARTS,
    ) -> None:
        if not 1 <= parts <= 8:
            raise ValueError(f"parts is {parts}; give 1 to 8")
        self._state = state
        self._flush_log_bytes = flush_log_bytes // parts
        self._flush_log_share = flush_log_share
        self._pages_per_block = pages_per_block
        self._history_start_ms = UNSEEN
        stored = state.get(_META)
        if stored is not None:
            version, known_parts, self._history_start_ms = _META_FORMAT.unpack(stored)
            if (version, known_parts) != (VERSION, parts):
                raise SnapshotError(
                    f"the state is of version {version} with {known_parts} parts, expected {VERSION} with {parts}: "
                    "replay the stream"
                )
        elif next(state.keys(), None) is not None:
            raise SnapshotError("the state was written by a store in one piece: replay the stream")
        self._has_meta = stored is not None
        ahead = MemoryAhead(self)  # one for all: parts grow at about the same time
        self._parts = [PagedStore(spec, _PartOfState(state, number), ahead) for number in range(parts)]
        self._columns = self._parts[0].store.columns
        self._log = TouchLog(state, _LOG_FIRST, _LOG_END)
        self._replay()

    def _replay(self) -> None:
        starts = [part.log_start for part in self._parts]
        self._log.go_on_from(max(starts))
        for entry in range(min(starts), self._log.end):
            placed = PlacedTouches.of(self._log.read(entry), self._columns, 0, len(self._parts))
            for number, part in enumerate(self._parts):
                if starts[number] <= entry:
                    some = placed.of_part(number)
                    part.enter(placed.touches[some], placed.values_at[some], placed.values)

    @property
    def counters(self) -> dict[str, int]:
        """Numbers for metrics, of all parts: see `EntityStore.counters`."""
        total: dict[str, int] = {}
        for part in self._parts:
            for name, value in part.store.counters.items():
                total[name] = total.get(name, 0) + value
        return total

    def apply(self, touches: npt.NDArray[np.void]) -> Partials:
        """Let the touches read and then update their entities, durably; see `EntityStore.apply`."""
        self._note_history(touches)
        first = sum(part.store.sequence for part in self._parts)
        placed = PlacedTouches.of(touches, self._columns, first, len(self._parts))
        if len(touches):
            self._log.append(placed.touches)
        for number, part in enumerate(self._parts):
            some = placed.of_part(number)
            part.enter(placed.touches[some], placed.values_at[some], placed.values)
        self._save(max(self._pages_per_block, FLUSH_SPEED * touches.nbytes // PAGE_BYTES))
        return placed.results(self._history_start_ms)

    def _save(self, pages: int) -> None:
        """Write so many pages of the part that is being saved, one at a time, and remove what is old."""
        if not any(part.is_flushing for part in self._parts):
            turn = max(self._parts, key=self._overdue_bytes)
            if self._overdue_bytes(turn) > 0:
                turn.begin_flush(self._log.end)
        for part in self._parts:
            part.go_on(pages)
        self._log.forget(min(part.log_start for part in self._parts), max(REMOVALS_PER_BLOCK, 2 * pages))

    def _overdue_bytes(self, part: PagedStore) -> float:
        """Return by how much the log of a part is longer than it should get."""
        return part.log_bytes - max(self._flush_log_bytes, self._flush_log_share * part.store.used_bytes)

    def _note_history(self, touches: npt.NDArray[np.void]) -> None:
        if self._has_meta and self._history_start_ms != UNSEEN:
            return
        transactions = np.flatnonzero(touches["role"] != LABEL)
        if len(transactions):
            self._history_start_ms = int(touches["time_ms"][transactions[0]])
        self._state.put(_META, _META_FORMAT.pack(VERSION, len(self._parts), self._history_start_ms))
        self._has_meta = True


class _PartOfState:
    """A StateMap of some keys of another."""

    def __init__(self, state: StateMap, number: int) -> None:
        self._state = state
        self._number = number
        self._first = number << _PART_SHIFT

    def get(self, key: int) -> bytes | None:
        return self._state.get(self._first + key)

    def put(self, key: int, value: bytes) -> None:
        self._state.put(self._first + key, value)

    def remove(self, key: int) -> None:
        self._state.remove(self._first + key)

    def keys(self) -> Iterator[int]:
        return iter([key - self._first for key in self._state.keys() if key >> _PART_SHIFT == self._number])  # noqa: SIM118
