"""The touches of an entity shard since its stores were last saved: one compressed entry a block, in a map of blobs."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.features.touches import TOUCH
from models.state_map import StateMap

_LENGTH = struct.Struct("<I")  # of an entry before it was compressed
_CODEC = pa.Codec("lz4")
"""Half the time of Zstandard, for 0.51 of the touches' bytes and not 0.38: the stream waits for each entry, and none
stays for long."""


class TouchLog:
    """Entries by number, counted from 0 over the shard's life.

    Parameters
    ----------
    state
        Where the entries are kept; those that it holds are found again.
    first_key
        Entry n lies under key `first_key + n`.
    end_key
        First key that is no entry's.

    Attributes
    ----------
    end
        Number of the next entry.
    """

    def __init__(self, state: StateMap, first_key: int, end_key: int) -> None:
        self._state = state
        self._first_key = first_key
        found = sorted(key - first_key for key in state.keys() if first_key <= key < end_key)  # noqa: SIM118 - no dict
        self._oldest = found[0] if found else 0
        self.end = found[-1] + 1 if found else 0

    def go_on_from(self, number: int) -> None:
        """Give the next entry at least this number: that of a state whose entries are all forgotten."""
        self.end = max(self.end, number)

    def append(self, touches: npt.NDArray[np.void]) -> None:
        """Add a block, rows of `TOUCH`."""
        entry = _LENGTH.pack(touches.nbytes) + _CODEC.compress(touches.view(np.uint8), asbytes=True)
        self._state.put(self._first_key + self.end, entry)
        self.end += 1

    def read(self, number: int) -> npt.NDArray[np.void]:
        """Return a block; it is read-only.

        Raises
        ------
        RuntimeError
            If it is not there.
        """
        entry = self._state.get(self._first_key + number)
        if entry is None:
            raise RuntimeError(f"entry {number} of the touch log is missing; the state is damaged, restore another")
        (size,) = _LENGTH.unpack_from(entry)
        return np.frombuffer(_CODEC.decompress(entry[_LENGTH.size :], size, asbytes=True), TOUCH)

    def forget(self, until: int, most: int) -> None:
        """Remove entries before number `until`, at most so many; the others with later calls."""
        until = min(until, self._oldest + most)
        for number in range(self._oldest, until):
            self._state.remove(self._first_key + number)
        self._oldest = max(self._oldest, until)
