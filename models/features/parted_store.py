"""An entity store in parts, whose pages are copied and written part by part: no block waits for a copy of it all.

Each entity belongs to one part, by its key. To the outside the parts are one store: touches keep their order and their
numbers, and results are those of a store in one piece.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from models.features.durable_store import FLUSH_LOG_BYTES, FLUSH_LOG_SHARE, PAGES_PER_BLOCK, DurableEntityStore
from models.features.entity_store import SnapshotError
from models.features.kernels.memory import UNSEEN
from models.features.partials import Partials
from models.features.placed_touches import PlacedTouches
from models.features.store_spec import StoreSpec
from models.features.touches import LABEL
from models.state_map import StateMap

PARTS = 2
"""Twice as many halve the longest wait for a copy, and every block pays for another log entry and another call."""
_PART_SHIFT = 52  # keys of a part's state lie below
_META = 15 << _PART_SHIFT  # key
_META_FORMAT = struct.Struct("<qqq")  # version, parts, event time of the first transaction
VERSION = 1
"""Of the division into parts. State of another version, or of a store in one piece, is refused."""


class PartedEntityStore:
    """`DurableEntityStore`, several of them side by side on one StateMap.

    Parameters
    ----------
    spec
        Of the store; see `DurableEntityStore`.
    state
        Where logs and pages are kept; what it holds is restored.
    flush_log_bytes, pages_per_block, flush_log_share
        As of a store in one piece, for all parts together.
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
        self._parts = [
            DurableEntityStore(
                spec, _PartOfState(state, number), flush_log_bytes // parts, pages_per_block, flush_log_share
            )
            for number in range(parts)
        ]

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
        placed = PlacedTouches.of(touches, self._parts[0].store.columns, first, len(self._parts))
        flushing = [part for part in self._parts if part.is_flushing]
        for number, part in enumerate(self._parts):
            part.may_flush = not flushing or part is flushing[0]
            some = placed.of_part(number)
            part.enter(placed.touches[some], placed.values_at[some], placed.values, touches.nbytes)
            if part.is_flushing and not flushing:
                flushing.append(part)  # one at a time: that is what the parts are for
        return placed.results(self._history_start_ms)

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
