"""Entity stage of a replay: the touches of all home shards in one order, whatever the order in which they arrive."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.features.parted_store import PartedEntityStore
from models.features.partials import Partials
from models.features.touches import TOUCH
from models.state_map import StateMap
from schemas.columns import F64, I32, I64

NO_ANSWER = -1
"""Home shard of labels: nobody waits for what they read."""

_HEADER = struct.Struct("<qqqqqq")
_PARTS = 1 << 12
_NEXT = -1  # key of the number of the next batch


@dataclass(frozen=True, slots=True)
class TouchBlock:
    """What one part of a batch says to one entity shard.

    Attributes
    ----------
    number, part, parts
        As in `Placement`.
    home_shard, sequence
        Who waits for the answer, and for which of its batches; NO_ANSWER for labels.
    keeps_order
        Whether the places are recorded sequence numbers, to be given back as such.
    places
        (n,) place of each touch among those of the batch in this shard.
    touches
        (n,) rows of TOUCH.
    """

    number: int
    part: int
    parts: int
    home_shard: int
    sequence: int
    keeps_order: bool
    places: I64
    touches: npt.NDArray[np.void]

    def to_bytes(self) -> bytes:
        """Pack the block, little-endian."""
        header = _HEADER.pack(self.number, self.part, self.parts, self.home_shard, self.sequence, int(self.keeps_order))
        return b"".join([header, self.places.tobytes(), self.touches.tobytes()])

    @classmethod
    def from_bytes(cls, data: bytes) -> TouchBlock:
        """Unpack what `to_bytes` packed."""
        number, part, parts, home_shard, sequence, keeps_order = _HEADER.unpack_from(data)
        n = (len(data) - _HEADER.size) // (8 + TOUCH.itemsize)
        places = np.frombuffer(data, np.int64, n, _HEADER.size)
        touches = np.frombuffer(data, TOUCH, n, _HEADER.size + 8 * n)
        return cls(number, part, parts, home_shard, sequence, bool(keeps_order), places, touches)


@dataclass(frozen=True, slots=True)
class Answer:
    """Partial features for a home shard's batch."""

    home_shard: int
    sequence: int
    partials: Partials


class TouchMerge:
    """Applies blocks to an entity store batch by batch, each once all its parts are there.

    Blocks that came early lie in the state until their turn. So what a touch reads depends on the places alone, not on
    which part came first, nor on restarts.

    Parameters
    ----------
    store
        Of this entity shard.
    state
        Where blocks wait; what it holds is restored.
    """

    def __init__(self, store: PartedEntityStore, state: StateMap) -> None:
        self._store = store
        self._state = state
        stored = state.get(_NEXT)
        self._next = 0 if stored is None else int.from_bytes(stored, "little")
        self._waiting: dict[int, dict[int, TouchBlock]] = {}
        for key in state.keys():  # noqa: SIM118 - no dict
            if key >= 0:
                data = state.get(key)
                assert data is not None
                self._waiting.setdefault(key // _PARTS, {})[key % _PARTS] = TouchBlock.from_bytes(data)

    def add(self, data: bytes) -> list[Answer]:
        """Take in a packed block; return the answers of the batches that it completes."""
        block = TouchBlock.from_bytes(data)
        if block.number < self._next:
            raise ValueError(f"a part of batch {block.number} came after batch {self._next - 1} was done")
        blocks = self._waiting.setdefault(block.number, {})
        blocks[block.part] = block
        if block.number > self._next or len(blocks) < block.parts:
            self._state.put(block.number * _PARTS + block.part, data)
            return []
        answers = []
        while self._is_complete(self._next):
            done = self._waiting.pop(self._next)
            for part in done:
                self._state.remove(self._next * _PARTS + part)
            self._next += 1
            answers += self._apply([done[part] for part in sorted(done)])
        self._state.put(_NEXT, self._next.to_bytes(8, "little"))
        return answers

    def _is_complete(self, number: int) -> bool:
        blocks = self._waiting.get(number)
        return blocks is not None and len(blocks) == next(iter(blocks.values())).parts

    def _apply(self, blocks: list[TouchBlock]) -> list[Answer]:
        sizes = [len(block.touches) for block in blocks]
        if not sum(sizes):
            return []
        touches = np.concatenate([block.touches for block in blocks])
        events = touches["event"].copy()
        touches["event"] = np.arange(len(touches))
        places = np.concatenate([block.places for block in blocks])
        order = np.argsort(places, kind="stable")
        partials = self._store.apply(touches[order])
        of_block = np.repeat(np.arange(len(blocks)), sizes)
        return [
            Answer(block.home_shard, block.sequence, _part_of(partials, of_block == i, events, places, block))
            for i, block in enumerate(blocks)
            if block.home_shard != NO_ANSWER and sizes[i]
        ]


def _part_of(
    partials: Partials, is_of_block: npt.NDArray[np.bool_], events: I32, places: I64, block: TouchBlock
) -> Partials:
    """Return what one block's touches read, under their events' own numbers."""

    def role(values: F64, touch: I32, sequence: I64) -> tuple[F64, I32, I64]:
        rows = is_of_block[touch]
        own = touch[rows]
        return values[rows], events[own], places[own] if block.keeps_order else sequence[rows]

    originator = role(partials.originator, partials.originator_event, partials.originator_sequence)
    beneficiary = role(partials.beneficiary, partials.beneficiary_event, partials.beneficiary_sequence)
    device = role(partials.device, partials.device_event, partials.device_sequence)
    return Partials(*originator, *beneficiary, *device, np.zeros(0, np.int64), partials.history_start_ms)
