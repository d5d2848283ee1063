"""One order for the records of several topics, whatever order they arrive in.

What is learned depends on the order of labels, and Kafka gives an order within a partition only. So records are put in
the order of (time, topic, partition, offset), where time is the record timestamp, and within a partition never goes
back: it is the highest so far. A record is released once every partition has gone beyond its time; until then it lies
in the state.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.state_map import StateMap
from online_learning.learners.packed import pack, unpack
from schemas.columns import I32, I64, Bool

_META = 0  # keys from `base`; blocks follow
_NOTHING = -(2**62)
_KIND, _VERSION = "records", 1


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one topic that follow each other."""

    topic: int
    values: list[bytes]
    timestamp_ms: I64  # their places in the order; not before the record timestamp


@dataclass(slots=True)
class _Block:
    topic: int
    partition: I32
    offset: I64
    time: I64
    values: list[bytes]

    def split(self, before: int) -> tuple[_Block, _Block]:
        """Return what lies before a time, and the rest."""
        return self._take(self.time < before), self._take(self.time >= before)

    def _take(self, rows: Bool) -> _Block:
        values = [self.values[row] for row in np.flatnonzero(rows).tolist()]
        return _Block(self.topic, self.partition[rows], self.offset[rows], self.time[rows], values)

    def to_bytes(self) -> bytes:
        ends = np.cumsum([len(value) for value in self.values], dtype=np.int64)
        data = np.frombuffer(b"".join(self.values), np.uint8)
        arrays: dict[str, npt.NDArray[Any]] = {
            "partition": self.partition,
            "offset": self.offset,
            "time": self.time,
            "ends": ends,
            "data": data,
        }
        return pack(_KIND, _VERSION, {"topic": self.topic}, arrays)

    @classmethod
    def from_bytes(cls, blob: bytes) -> _Block:
        packed = unpack(blob, _KIND, _VERSION)
        data, ends = packed.arrays["data"].tobytes(), packed.arrays["ends"].tolist()
        values = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        arrays = packed.arrays
        return cls(int(packed.fields["topic"]), arrays["partition"], arrays["offset"], arrays["time"], values)


class StreamOrder:
    """Puts records in order.

    The order, and so all that is computed in it, is the same for every arrival, cut and restart, as long as `skip_idle`
    has not let it go on without a partition that later brings older records; those are counted as late and take the
    next place.

    Parameters
    ----------
    partitions
        Number of partitions of each topic.
    state
        Where records wait; what it holds is restored.
    base
        First of the keys that belong to the order.
    """

    def __init__(self, partitions: tuple[int, ...], state: StateMap, base: int) -> None:
        self._state = state
        self._base = base
        self._progress = [np.full(count, _NOTHING, np.int64) for count in partitions]
        self._released = _NOTHING
        self._skipped = _NOTHING  # silent partitions are not waited for up to here
        self._blocks: dict[int, _Block] = {}
        self._next = 1
        self.late = 0
        self._restore()

    @property
    def waiting(self) -> int:
        """Records not released yet."""
        return sum(len(block.values) for block in self._blocks.values())

    def add(self, topic: int, partition: I32, offset: I64, timestamp_ms: I64, values: list[bytes]) -> None:
        """Take in records of one topic, each partition's in the order of its offsets.

        Raises
        ------
        ValueError
            If a partition is unknown: the topic grew, and the job must be told by a restart.
        """
        if len(values) == 0:
            return
        progress = self._progress[topic]
        if int(partition.max()) >= len(progress):
            raise ValueError(f"partition {int(partition.max())} is new: the topic had {len(progress)}, restart the job")
        time = timestamp_ms.copy()
        for number in np.unique(partition).tolist():
            rows = np.flatnonzero(partition == number)
            highest = np.maximum(np.maximum.accumulate(time[rows]), progress[number])
            self.late += int((highest < self._released).sum())
            time[rows] = np.maximum(highest, self._released)
            progress[number] = highest[-1]
        block = _Block(topic, partition, offset, time, values)
        self._state.put(self._base + self._next, block.to_bytes())
        self._blocks[self._next] = block
        self._next += 1
        self._save()

    def skip_idle(self, now_ms: int, idle_ms: int) -> None:
        """Go on without partitions that brought nothing for `idle_ms` up to `now_ms`, if the others are up to date."""
        if int(np.concatenate(self._progress).max()) < now_ms - idle_ms:
            return
        self._skipped = max(self._skipped, now_ms - 2 * idle_ms)
        self._save()

    def release(self) -> Iterator[Run]:
        """Yield the records that nothing can come before any more, in order."""
        frontier = max(self._skipped, int(min(own.min() for own in self._progress)))
        if frontier <= self._released:
            return
        released: list[_Block] = []
        for key, block in list(self._blocks.items()):
            if int(block.time.min()) >= frontier:
                continue
            before, rest = block.split(frontier)
            released.append(before)
            if len(rest.values):
                self._blocks[key] = rest
            else:
                del self._blocks[key]
                self._state.remove(self._base + key)
        self._released = frontier
        self._save()
        if released:
            yield from _in_order(released)

    def _save(self) -> None:
        meta = {
            "progress": [own.tolist() for own in self._progress],
            "released": self._released,
            "skipped": self._skipped,
            "late": self.late,
            "first": min(self._blocks, default=self._next),
            "next": self._next,
        }
        self._state.put(self._base + _META, json.dumps(meta).encode())

    def _restore(self) -> None:
        stored = self._state.get(self._base + _META)
        if stored is None:
            return
        meta = json.loads(stored)
        for own, saved in zip(self._progress, meta["progress"], strict=True):
            own[: len(saved)] = saved
        self._released, self._skipped = meta["released"], meta["skipped"]
        self.late, self._next = meta["late"], meta["next"]
        for key in range(meta["first"], self._next):
            blob = self._state.get(self._base + key)
            if blob is not None:
                self._blocks[key] = _Block.from_bytes(blob).split(self._released)[1]


def _in_order(blocks: list[_Block]) -> Iterator[Run]:
    topic = np.concatenate([np.full(len(block.values), block.topic) for block in blocks])
    partition = np.concatenate([block.partition for block in blocks])
    offset = np.concatenate([block.offset for block in blocks])
    time = np.concatenate([block.time for block in blocks])
    values = [value for block in blocks for value in block.values]
    order = np.lexsort((offset, partition, topic, time))
    for rows in np.split(order, np.flatnonzero(np.diff(topic[order])) + 1):
        yield Run(int(topic[rows[0]]), [values[row] for row in rows.tolist()], time[rows])
