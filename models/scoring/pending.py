"""Batches that wait for the partial features of their entity shards."""

from __future__ import annotations

from dataclasses import dataclass

from models.features.partials import Partials
from models.scoring.home_batch import HomeBatch
from models.state_map import StateMap

_PARTS = 256  # keys per batch: the batch itself and the partials of up to 128 shards
_NEXT = -1  # key of the next sequence number, written when a batch was given up


@dataclass(frozen=True, slots=True)
class Complete:
    """A batch with the partial features that came for it."""

    batch: HomeBatch
    partials: list[Partials]
    missing_shards: int  # bit s is set if the partials of entity shard s did not come


class PendingBatches:
    """Joins the batches of one home shard with their partials and releases them in the order of their sequence.

    What came and still waits lies in the state whenever `release` returns, so that a restart finds it again; what
    completes a batch never gets there. The number of batches is bounded by back-pressure: an entity shard that stands
    still stops its input.

    Parameters
    ----------
    state
        Where the parts are kept; what it holds is restored.
    is_saved
        False where no checkpoint can find a batch that waits: then nothing of it is written.
    """

    def __init__(self, state: StateMap, is_saved: bool = True) -> None:
        self._state = state
        self._is_saved = is_saved
        self._saved: set[int] = set()  # keys in the state
        self._batches: dict[int, HomeBatch] = {}
        self._partials: dict[int, dict[int, Partials]] = {}
        self._next: int | None = None
        self._unsaved: dict[int, bytes] = {}  # key in the state -> what came since the last release
        self._restore()

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def oldest(self) -> int | None:
        """Sequence number of the batch that all others wait for."""
        return self._next if self._next in self._batches else None

    def add_batch(self, data: bytes) -> int:
        """Take in a batch as its home stage packed it; return its sequence number."""
        batch = HomeBatch.from_bytes(data)
        self._unsaved[batch.sequence * _PARTS] = data
        self._batches[batch.sequence] = batch
        if len(self._batches) == 1:
            # Batches come in the order of their sequence. What a restart remembers of the next one may be older.
            self._next = batch.sequence
        return batch.sequence

    def add_partials(self, sequence: int, shard: int, data: bytes) -> None:
        """Take in what an entity shard answered; too late for a batch that was given up, it is ignored."""
        if self._next is not None and sequence < self._next:
            return
        self._unsaved[sequence * _PARTS + 1 + shard] = data
        self._partials.setdefault(sequence, {})[shard] = Partials.from_bytes(data)

    def release(self) -> list[Complete]:
        """Return the complete batches that no incomplete one stands before, in order; save the rest."""
        released = []
        while self._next in self._batches:
            assert self._next is not None
            shards = sum(1 << shard for shard in self._partials.get(self._next, {}))
            if shards != self._batches[self._next].entity_shards:
                break
            released.append(self._pop(self._next))
        if self._is_saved:
            for key, data in self._unsaved.items():
                self._state.put(key, data)
            self._saved.update(self._unsaved)
        self._unsaved.clear()
        return released

    def give_up(self) -> Complete:
        """Return the oldest batch with what came for it; its partials are ignored from now on."""
        assert self._next is not None
        given_up = self._pop(self._next)
        assert self._next is not None
        self._state.put(_NEXT, self._next.to_bytes(8, "little"))
        return given_up

    def _pop(self, sequence: int) -> Complete:
        batch = self._batches.pop(sequence)
        partials = self._partials.pop(sequence, {})
        for part in (0, *(1 + shard for shard in partials)):
            key = sequence * _PARTS + part
            self._unsaved.pop(key, None)
            if key in self._saved:
                self._state.remove(key)
                self._saved.remove(key)
        self._next = sequence + 1
        missing = batch.entity_shards & ~sum(1 << shard for shard in partials)
        return Complete(batch, [partials[shard] for shard in sorted(partials)], missing)

    def _restore(self) -> None:
        if (stored := self._state.get(_NEXT)) is not None:
            self._next = int.from_bytes(stored, "little")
        for key in self._state.keys():  # noqa: SIM118
            if key < 0:
                continue
            sequence, part = divmod(key, _PARTS)
            data = self._state.get(key)
            assert data is not None
            self._saved.add(key)
            if part:
                self._partials.setdefault(sequence, {})[part - 1] = Partials.from_bytes(data)
            else:
                self._batches[sequence] = HomeBatch.from_bytes(data)
        if self._batches:
            self._next = min(self._batches)
