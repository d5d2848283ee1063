"""What an entity store remembers and reads out: tracks, windows, statistics, limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from models.features.touches import BENEFICIARY, DEVICE, ORIGINATOR
from schemas.columns import I64

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

MAX_BOUNDARIES = 16
"""Distinct window edges that one track can have; the kernels keep them in fixed slots."""

MAX_PAIR_WINDOWS = 3
"""Windows of one track in which pairs may be counted; each costs a word in the pair table."""

MAX_TOUCHES_LIMIT = 65_536
MAX_AMOUNT_MINOR = 2**46 - 1
"""Larger amounts count as this one (about 700 billion in major units): sums then stay exact in 64 bits and
sums of squares, times the count, in 128."""


class Track(IntEnum):
    """One kind of history that an entity has."""

    OUT = 0  # transactions of which the entity is the originator; the other side is the beneficiary
    IN = 1  # transactions of which it is the beneficiary; the other side is the originator
    USE = 2  # transactions made with a device; the other side is the account
    FRAUD = 3  # transactions of the entity, in either role, that a label called fraud


class Statistic(IntEnum):
    """What is read out of the part of a track that a window covers."""

    COUNT = 0
    SUM = 1  # major units
    MEAN = 2  # major units; NaN without a transaction
    MAX = 3  # major units; NaN without a transaction
    STD = 4  # sample standard deviation, major units; NaN with fewer than two transactions
    DISTINCT = 5  # different other sides
    SECONDS_SINCE_LAST = 6  # NaN without a transaction
    SECONDS_SINCE_FIRST = 7  # NaN without a transaction
    PAIR_COUNT = 8  # only transactions with the other side of this touch
    PAIR_SUM = 9  # major units
    PAIR_SECONDS_SINCE_LAST = 10  # NaN without a transaction of the pair


_UNDELAYED = frozenset(set(Statistic) - {Statistic.COUNT, Statistic.SUM})
_ON_FRAUD = frozenset({Statistic.COUNT, Statistic.SECONDS_SINCE_LAST, Statistic.SECONDS_SINCE_FIRST})

NEEDS_MAX, NEEDS_DISTINCT, NEEDS_PAIR, NEEDS_SUM, NEEDS_SQUARES, NEEDS_FIRST = 1, 2, 4, 8, 16, 32
_NEEDS = {
    Statistic.SUM: NEEDS_SUM,
    Statistic.MEAN: NEEDS_SUM,
    Statistic.MAX: NEEDS_MAX,
    Statistic.STD: NEEDS_SUM | NEEDS_SQUARES,
    Statistic.DISTINCT: NEEDS_DISTINCT,
    Statistic.SECONDS_SINCE_FIRST: NEEDS_FIRST,
    Statistic.PAIR_COUNT: NEEDS_PAIR,
    Statistic.PAIR_SUM: NEEDS_PAIR,
    Statistic.PAIR_SECONDS_SINCE_LAST: NEEDS_PAIR,
}


@dataclass(frozen=True, slots=True)
class Column:
    """One number that a touch reads: a statistic of a track over [t - delay - window, t - delay).

    Transactions at t itself that arrived earlier count as before t.
    """

    name: str
    track: Track
    statistic: Statistic
    window_ms: int
    delay_ms: int = 0


class CompiledSpec(NamedTuple):
    """A StoreSpec as the kernels read it."""

    limits: I64  # (4,): touches per track, small-track limit, retention, allowed lateness
    edges: I64  # (4, MAX_BOUNDARIES) ascending window edges per track, ms before t
    edge_count: I64  # (4,)
    needs: I64  # (4, MAX_BOUNDARIES): NEEDS_* bits of each edge
    plan: I64  # (3, longest, 4): track, statistic, far edge, near edge (-1: t) of each column of a role
    plan_length: I64  # (3,)


@dataclass(frozen=True)
class StoreSpec:
    """What a store keeps and what each role's touches read.

    Parameters
    ----------
    originator, beneficiary, device
        Columns that touches of the role read, of the touched entity's tracks.
    max_touches_per_track
        Transactions remembered per entity and track, at most 65,536; the oldest are forgotten first.
    allowed_lateness_ms
        How far behind the newest event time of the store an event may be and still see complete windows. Later
        ones see what is still remembered.
    promote_above
        Items above which a track keeps running aggregates instead of being scanned. Results do not depend on it.
    """

    originator: tuple[Column, ...] = ()
    beneficiary: tuple[Column, ...] = ()
    device: tuple[Column, ...] = ()
    max_touches_per_track: int = 16_384
    allowed_lateness_ms: int = 2 * DAY_MS
    promote_above: int = 64

    def __post_init__(self) -> None:
        """Refuse what the kernels cannot do."""
        if not 1 <= self.max_touches_per_track <= MAX_TOUCHES_LIMIT:
            raise ValueError(f"max_touches_per_track is {self.max_touches_per_track}; give 1 to {MAX_TOUCHES_LIMIT}")
        if not 2 <= self.promote_above <= 512:
            raise ValueError(f"promote_above is {self.promote_above}; give 2 to 512")
        if self.allowed_lateness_ms < 0:
            raise ValueError(f"allowed_lateness_ms is {self.allowed_lateness_ms}; give 0 or more")
        for column in (*self.originator, *self.beneficiary, *self.device):
            if column.window_ms <= 0 or column.delay_ms < 0:
                raise ValueError(f"column {column.name}: the window must be positive and the delay not negative")
            if column.delay_ms and column.statistic in _UNDELAYED:
                raise ValueError(f"column {column.name}: only counts and sums can be delayed")
            if column.track == Track.FRAUD and column.statistic not in _ON_FRAUD:
                raise ValueError(f"column {column.name}: a fraud track has counts and times only")
        self.compile()

    def columns(self, role: int) -> tuple[Column, ...]:
        """Return the columns that touches of `role` read."""
        return (self.originator, self.beneficiary, self.device)[role]

    @property
    def reach_ms(self) -> int:
        """How far the longest window reaches back."""
        columns = (*self.originator, *self.beneficiary, *self.device)
        return max((c.window_ms + c.delay_ms for c in columns), default=0)

    @property
    def retention_ms(self) -> int:
        """How long a transaction is remembered: the longest reach plus the allowed lateness."""
        return self.reach_ms + self.allowed_lateness_ms

    def compile(self) -> CompiledSpec:
        """Return the spec as arrays."""
        edge_sets: list[set[int]] = [set(), set(), set(), set()]
        every = (*self.originator, *self.beneficiary, *self.device)
        for column in every:
            edge_sets[column.track].add(column.window_ms + column.delay_ms)
            if column.delay_ms:
                edge_sets[column.track].add(column.delay_ms)
        edges = np.zeros((4, MAX_BOUNDARIES), np.int64)
        needs = np.zeros((4, MAX_BOUNDARIES), np.int64)
        order = [sorted(s) for s in edge_sets]
        for track, values in enumerate(order):
            if len(values) > MAX_BOUNDARIES:
                raise ValueError(f"track {Track(track).name} has {len(values)} window edges; {MAX_BOUNDARIES} fit")
            edges[track, : len(values)] = values
        for column in every:
            at = order[column.track].index(column.window_ms + column.delay_ms)
            needs[column.track, at] |= _NEEDS.get(column.statistic, 0)
            if column.delay_ms:
                needs[column.track, order[column.track].index(column.delay_ms)] |= _NEEDS.get(column.statistic, 0)
        if ((needs & NEEDS_PAIR) != 0).sum(axis=1).max() > MAX_PAIR_WINDOWS:
            raise ValueError(f"a track has pair columns in more than {MAX_PAIR_WINDOWS} windows")
        longest = max(1, *(len(self.columns(role)) for role in (ORIGINATOR, BENEFICIARY, DEVICE)))
        plan = np.zeros((3, longest, 4), np.int64)
        plan_length = np.zeros(3, np.int64)
        for role in (ORIGINATOR, BENEFICIARY, DEVICE):
            plan_length[role] = len(self.columns(role))
            for i, column in enumerate(self.columns(role)):
                known = order[column.track]
                near = known.index(column.delay_ms) if column.delay_ms else -1
                plan[role, i] = column.track, column.statistic, known.index(column.window_ms + column.delay_ms), near
        limits = np.array(
            [self.max_touches_per_track, self.promote_above, self.retention_ms, self.allowed_lateness_ms], np.int64
        )
        edge_count = np.array([len(values) for values in order], np.int64)
        return CompiledSpec(limits, edges, edge_count, needs, plan, plan_length)
