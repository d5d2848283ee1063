"""Earlier states of the learner, to go back to."""

from __future__ import annotations

import numpy as np

from models.state_map import StateMap
from online_learning.learners.packed import pack, unpack

_KIND, _VERSION = "kept-state", 1
KEPT = 24


class KeptStates:
    """The last 24 snapshots that were kept, by the number of labels learned.

    Parameters
    ----------
    state
        Where they are kept; what it holds is restored.
    base
        First of 25 keys.
    """

    def __init__(self, state: StateMap, base: int) -> None:
        self._state, self._base = state, base
        index = state.get(base)
        self._index = [] if index is None else [tuple(row) for row in unpack(index, _KIND, _VERSION).fields["index"]]

    @property
    def labels_seen(self) -> list[int]:
        """Of each kept state, oldest first."""
        return [labels for labels, _ in self._index]

    def keep(self, labels_seen: int, learner: bytes, mix: bytes) -> None:
        """Keep a state, and forget the oldest beyond 24; one of as many labels as the newest is there already."""
        if self._index and self._index[-1][0] == labels_seen:
            return
        free = sorted(set(range(1, KEPT + 1)) - {slot for _, slot in self._index})
        slot = free[0] if free else self._index.pop(0)[1]
        arrays = {"learner": np.frombuffer(learner, np.uint8), "mix": np.frombuffer(mix, np.uint8)}
        self._state.put(self._base + slot, pack(_KIND, _VERSION, {"labels_seen": labels_seen}, arrays))
        self._index.append((labels_seen, slot))
        self._save()

    def back_to(self, labels_seen: int) -> tuple[bytes, bytes] | None:
        """Return the newest state of at most so many labels, and forget those after it; None where there is none."""
        while self._index and self._index[-1][0] > labels_seen:
            self._state.remove(self._base + self._index.pop()[1])
        self._save()
        if not self._index:
            return None
        blob = self._state.get(self._base + self._index[-1][1])
        assert blob is not None
        arrays = unpack(blob, _KIND, _VERSION).arrays
        return arrays["learner"].tobytes(), arrays["mix"].tobytes()

    def _save(self) -> None:
        self._state.put(self._base, pack(_KIND, _VERSION, {"index": [list(row) for row in self._index]}, {}))
