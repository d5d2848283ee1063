"""The order of a stream with late labels: which block to score next, and which labels are known by then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.columns import I64

NEVER = 2**63 - 1
"""Label time of a transaction whose label never comes."""

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ScoreBlock:
    """Score these consecutive transactions now."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class LabelsKnown:
    """The labels of these transactions became known, in this order; all of them were scored before."""

    rows: Rows


class TimelineError(ValueError):
    """Times that no stream can have."""


def timeline(
    event_time_ms: I64, label_time_ms: I64, block_rows: int = 1_000, block_ms: int = 60_000
) -> Iterator[ScoreBlock | LabelsKnown]:
    """Yield what happens to a stream, in its order.

    A label is known to a block if its time is not after the event time of the block's first transaction. So no label is
    ever used before its time, and none later than `block_ms` after it, unless no transaction comes. Labels that become
    known together, or at one time, come by the order of their transactions. Labels that are due after the last
    transaction are not told: nothing is left to score with what they teach.

    Parameters
    ----------
    event_time_ms
        (n,) rising event times.
    label_time_ms
        (n,) when each label becomes known, after its event; NEVER where none comes.
    block_rows, block_ms
        Most transactions of a block, and the longest stretch of event time that it covers.

    Raises
    ------
    TimelineError
        If event times fall, or a label is older than its transaction.

    Examples
    --------
    >>> steps = timeline(np.array([0, 5, 20]), np.array([15, NEVER, 30]), block_ms=10)
    >>> [(s.start, s.stop) if isinstance(s, ScoreBlock) else s.rows.tolist() for s in steps]
    [(0, 2), [0], (2, 3)]
    """
    n = len(event_time_ms)
    if block_rows < 1 or block_ms < 1:
        raise TimelineError(f"a block needs at least one row and 1 ms, found {block_rows} and {block_ms}")
    if label_time_ms.shape != (n,):
        raise TimelineError(f"expected {n} label times, found {label_time_ms.shape}")
    if n and bool(np.any(np.diff(event_time_ms) < 0)):
        row = int(np.flatnonzero(np.diff(event_time_ms) < 0)[0]) + 1
        raise TimelineError(f"event times fall at row {row}: sort the stream first")
    if bool(np.any(label_time_ms < event_time_ms)):
        row = int(np.flatnonzero(label_time_ms < event_time_ms)[0])
        raise TimelineError(f"the label of row {row} is known before its transaction happens")
    by_label_time = np.argsort(label_time_ms, kind="stable")
    known_ms = label_time_ms[by_label_time]
    told = 0
    start = 0
    while start < n:
        now_ms = int(event_time_ms[start])
        until = int(np.searchsorted(known_ms, now_ms, side="right"))
        due = by_label_time[told:until]
        later = due >= start  # a label known at its own transaction's time waits until that was scored
        if bool(later.any()):
            # Those wait at the head of what is still to tell; the order of the others stays.
            due, waiting = due[~later], due[later]
            by_label_time[until - len(waiting) : until] = waiting
            until -= len(waiting)
        told = until
        if len(due):
            yield LabelsKnown(due.copy())
        stop = min(start + block_rows, int(np.searchsorted(event_time_ms, now_ms + block_ms, side="left")))
        yield ScoreBlock(start, stop)
        start = stop
