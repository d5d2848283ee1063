"""Merge partitions by (record timestamp, topic, partition, offset), as they are read.

Within a partition time never goes back: a record's place is the highest timestamp so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from schemas.columns import I64

_NEVER = -(2**62)


@dataclass(slots=True)
class _Place:
    time: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    highest: int = _NEVER
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

    @property
    def first_ms(self) -> int | None:
        """Place in time of the next record, of those that are in; None where none is."""
        return min((int(place.time[0]) for place in self._places if len(place.time)), default=None)

    def ready(self, limit: int) -> bool:
        """Whether `limit` records can be taken."""
        return len(self._next(limit, None)[0]) >= limit

    def take(self, limit: int, before_ms: int | None = None) -> tuple[I64, I64]:
        """Return the partitions of the next records in their order, and the records' places in time.

        Parameters
        ----------
        limit
            At most so many; fewer where a partition's next records must be in first.
        before_ms
            Only those before this place in time.
        """
        taken, times = self._next(limit, before_ms)
        for i, count in enumerate(np.bincount(taken, minlength=len(self._places)).tolist()):
            self._places[i].time = self._places[i].time[count:]
        return taken, times

    def _next(self, limit: int, before_ms: int | None) -> tuple[I64, I64]:
        # Of each partition no more than `limit` can be among the next.
        heads = [place.time[:limit] for place in self._places]
        numbers = np.concatenate([np.full(len(head), i, np.int64) for i, head in enumerate(heads)])
        times = np.concatenate([*heads, np.zeros(0, np.int64)])
        order = np.lexsort((numbers, times))
        open_places = [(i, place) for i, place in enumerate(self._places) if not place.is_ended]
        if open_places:
            time, number = min((int(p.time[-1]) if len(p.time) else _NEVER, i) for i, p in open_places)
            is_safe = (times < time) | ((times == time) & (numbers <= number))
            order = order[is_safe[order]]
        order = order[:limit]
        if before_ms is not None:
            order = order[times[order] < before_ms]
        return numbers[order], times[order]
