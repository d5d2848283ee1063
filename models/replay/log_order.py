"""Merge partitions by (record timestamp, topic, partition, offset), as they are read.

Within a partition time never goes back: a record's place is the highest timestamp so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from schemas.columns import I64


@dataclass(slots=True)
class _Place:
    time: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    highest: int = -(2**62)
    is_ended: bool = False


class LogOrder:
    """Tells how many records of each partition come next, in which order.

    Parameters
    ----------
    highest
        Highest timestamp of each partition so far; of a restart.
    places
        How many partitions there are, in the order that breaks ties.
    """

    def __init__(self, places: int, highest: list[int] | None = None) -> None:
        self._places = [_Place() for _ in range(places)]
        for place, time in zip(self._places, highest or [], strict=False):
            place.highest = time

    @property
    def waits_for(self) -> list[int]:
        """Partitions without whose next records nothing can come."""
        return [i for i, place in enumerate(self._places) if not place.is_ended and not len(place.time)]

    @property
    def waiting(self) -> int:
        """Records that are in, and not yet out."""
        return sum(len(place.time) for place in self._places)

    def add(self, place: int, timestamp_ms: I64) -> None:
        """Take in the timestamps of a partition's next records."""
        if not len(timestamp_ms):
            return
        of = self._places[place]
        time = np.maximum.accumulate(np.maximum(timestamp_ms, of.highest))
        of.time = np.concatenate([of.time, time])
        of.highest = int(time[-1])

    def end(self, place: int) -> None:
        """Say that a partition has no more records."""
        self._places[place].is_ended = True

    def take(self, limit: int) -> tuple[I64, I64]:
        """Return the partitions of the next records in their order, and the records' places in time; at most `limit`.

        Fewer where a partition's next records must be in first.
        """
        numbers = np.concatenate([np.full(len(p.time), i, np.int64) for i, p in enumerate(self._places)])
        times = np.concatenate([p.time for p in self._places])
        bounds = [
            (int(p.time[-1]), i) if len(p.time) else (-(2**62), i) for i, p in enumerate(self._places) if not p.is_ended
        ]
        order = np.lexsort((numbers, times))
        if bounds:
            time, number = min(bounds)
            is_safe = (times < time) | ((times == time) & (numbers <= number))
            order = order[: int(is_safe.sum())]
        order = order[:limit]
        taken, taken_times = numbers[order], times[order]
        for i, count in enumerate(np.bincount(taken, minlength=len(self._places)).tolist()):
            self._places[i].time = self._places[i].time[count:]
        return taken, taken_times
