"""The entity store's contract, written as plainly as possible: lists, loops, whole numbers."""

from __future__ import annotations

import math
from bisect import insort
from typing import NamedTuple

import numpy as np

from models.features.store_spec import Column, Statistic, StoreSpec, Track
from models.features.touches import BENEFICIARY, DEVICE, LABEL, ORIGINATOR

TRACK_OF_ROLE = {ORIGINATOR: Track.OUT, BENEFICIARY: Track.IN, DEVICE: Track.USE}


class Item(NamedTuple):
    time_ms: int
    arrival: int
    amount: int
    other: int


class Oracle:
    def __init__(self, spec: StoreSpec) -> None:
        self.spec = spec
        self.retention_ms = spec.retention_ms  # asked for with every item, and a loop over all columns each time
        self.tracks: dict[tuple[bool, int, Track], list[Item]] = {}
        self.arrivals = 0

    def apply(self, touch: np.void) -> list[float] | None:
        """Return what the touch reads; None for a label."""
        self.arrivals += 1
        role, entity, time_ms = int(touch["role"]), int(touch["entity"]), int(touch["time_ms"])
        other, amount = int(touch["other"]), int(touch["amount"])
        if role == LABEL:
            self._label(entity, time_ms, other, bool(touch["is_fraud"]))
            return None
        windows: dict[tuple[Track, int, int], list[Item]] = {}
        row = []
        for column in self.spec.columns(role):
            window = (column.track, column.window_ms, column.delay_ms)
            if window not in windows:
                windows[window] = self._items(column, touch)
            row.append(statistic(column.statistic, windows[window], time_ms, other))
        track = self.tracks.setdefault((role == DEVICE, entity, TRACK_OF_ROLE[role]), [])
        insort(track, Item(time_ms, self.arrivals, amount, other))
        newest = track[-1].time_ms
        track[:] = [i for i in track if i.time_ms >= newest - self.retention_ms]
        del track[: max(0, len(track) - self.spec.max_touches_per_track)]
        return row

    def _label(self, entity: int, time_ms: int, transaction: int, is_fraud: bool) -> None:
        track = self.tracks.setdefault((False, entity, Track.FRAUD), [])
        known = [i for i in track if (i.time_ms, i.other) == (time_ms, transaction)]
        if is_fraud and not known:
            insort(track, Item(time_ms, self.arrivals, 0, transaction))
            newest = track[-1].time_ms
            track[:] = [i for i in track if i.time_ms >= newest - self.retention_ms]
            del track[: max(0, len(track) - self.spec.max_touches_per_track)]
        elif known and not is_fraud:
            track.remove(known[0])

    def _items(self, column: Column, touch: np.void) -> list[Item]:
        role, entity, t, other = (int(touch[f]) for f in ("role", "entity", "time_ms", "other"))
        track = self.tracks.get((role == DEVICE, entity, column.track), [])
        end = t - column.delay_ms if column.delay_ms else t + 1
        start = t - column.delay_ms - column.window_ms
        items = [i for i in track if start <= i.time_ms < end]
        if role == BENEFICIARY and other == entity and column.track == Track.OUT:
            # The event itself, just entered as sent, is left out.
            items = [i for i in items if i.arrival != self.arrivals - 1]
        return items


def statistic(kind: Statistic, items: list[Item], t: int, other: int) -> float:
    pair = [i for i in items if i.other == other]
    amounts = [i.amount for i in items]
    n, total = len(items), sum(amounts)
    match kind:
        case Statistic.COUNT:
            return n
        case Statistic.SUM:
            return total / 100
        case Statistic.MEAN:
            return total / 100 / n if items else math.nan
        case Statistic.MAX:
            return max(amounts) / 100 if items else math.nan
        case Statistic.STD:
            deviations = n * sum(a * a for a in amounts) - total * total  # n squared times the variance
            return math.sqrt(deviations / (n * (n - 1))) / 100 if n > 1 else math.nan
        case Statistic.DISTINCT:
            return len({i.other for i in items})
        case Statistic.SECONDS_SINCE_LAST:
            return (t - items[-1].time_ms) / 1000 if items else math.nan
        case Statistic.SECONDS_SINCE_FIRST:
            return (t - items[0].time_ms) / 1000 if items else math.nan
        case Statistic.PAIR_COUNT:
            return len(pair)
        case Statistic.PAIR_SUM:
            return sum(i.amount for i in pair) / 100
        case Statistic.PAIR_SECONDS_SINCE_LAST:
            return (t - pair[-1].time_ms) / 1000 if pair else math.nan
