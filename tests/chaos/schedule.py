"""A schedule of faults as data: what happens after which row of the input, the same for the same seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


class ScheduleError(ValueError):
    """The faults asked for do not exist, or do not fit."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault.

    Attributes
    ----------
    kind
        Name in the matrix of faults.
    row
        It begins when this many rows of the input have been sent.
    seed
        Of the fault's own choices: whom it hits, for how long.
    """

    kind: str
    row: int
    seed: int


def parse_counts(text: str, known: Sequence[str]) -> dict[str, int]:
    """Read ``kind=count,kind=count``; a kind alone counts once.

    >>> parse_counts("broker-kill=3,disk-logs", ("broker-kill", "disk-logs"))
    {'broker-kill': 3, 'disk-logs': 1}
    """
    counts: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, _, number = part.partition("=")
        if kind not in known:
            raise ScheduleError(f"no such fault: {kind!r}; there are {', '.join(known)}")
        if kind in counts:
            raise ScheduleError(f"{kind} is named twice")
        if number and not number.isdecimal():
            raise ScheduleError(f"{kind}={number}: a count is a whole number, 0 or more")
        counts[kind] = int(number) if number else 1
    return counts


def make_schedule(seed: int, rows: int, counts: Mapping[str, int]) -> list[Planned]:
    """Shuffle the faults and spread them over the input: one in each of its equal parts, away from both ends.

    Raises
    ------
    ScheduleError
        If there are so many faults that fewer than 40 rows lie between two.
    """
    rng = np.random.default_rng(seed)
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    part = rows // (len(kinds) + 1)
    if kinds and part < 40:
        raise ScheduleError(f"{len(kinds)} faults do not fit into {rows} rows: ask for fewer, or more transactions")
    order = rng.permutation(len(kinds)).tolist()
    return [
        Planned(kinds[place], (i + 1) * part + int(rng.integers(-part // 4, part // 4)), int(rng.integers(2**31)))
        for i, place in enumerate(order)
    ]
