"""Partial features: what the touches of one block read, on their way back to the home stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.columns import F64, I32, I64, U8

HEADER_BYTES = 72
"""Of partials on the wire: touches, number of the first, start of history, and the shapes of the three roles."""


@dataclass(frozen=True, slots=True)
class Partials:
    """Results of one block of touches, per role and in the block's order.

    Row i of `originator` belongs to the event `originator_event[i]` of the home batch, and its touch was number
    `originator_sequence[i]` of its store; likewise for the other roles. The columns are those of the store's spec.
    """

    originator: F64  # (n_o, F_o)
    originator_event: I32  # (n_o,)
    originator_sequence: I64  # (n_o,)
    beneficiary: F64  # (n_b, F_b)
    beneficiary_event: I32
    beneficiary_sequence: I64
    device: F64  # (n_d, F_d)
    device_event: I32
    device_sequence: I64
    sequence: I64  # (n,) of every touch of the block, labels included
    history_start_ms: int  # event time of the first transaction the store saw; 2^63 - 1 when it saw none
    wire: U8 | None = None  # memory of all these arrays where they lie as they travel, with room for the header

    def to_bytes(self) -> bytes:
        """Pack the partials for the wire: a small header and the arrays, little-endian.

        The sequence numbers of a block are consecutive, so the first one and the counts say them all only for
        the block as a whole; those of the roles travel.
        """
        parts = (self.originator, self.beneficiary, self.device)
        first = int(self.sequence[0]) if len(self.sequence) else 0
        header = [len(self.sequence), first, self.history_start_ms]
        header += [size for part in parts for size in part.shape]
        if self.wire is not None:
            self.wire[:HEADER_BYTES].view(np.int64)[:] = header
            return self.wire.tobytes()
        arrays: list[npt.NDArray[Any]] = [np.array(header, np.int64), *parts]
        arrays += [self.originator_sequence, self.beneficiary_sequence, self.device_sequence]
        arrays += [self.originator_event, self.beneficiary_event, self.device_event]
        return b"".join(a.tobytes() for a in arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> Partials:
        """Unpack what `to_bytes` packed; the arrays are read-only views of `data`."""
        header = np.frombuffer(data, np.int64, 9)
        count, first, history_start_ms = (int(v) for v in header[:3])
        shapes = [(int(header[3 + 2 * i]), int(header[4 + 2 * i])) for i in range(3)]
        at = HEADER_BYTES

        def take(shape: tuple[int, ...], dtype: type) -> npt.NDArray[Any]:
            nonlocal at
            size = math.prod(shape)
            taken: npt.NDArray[Any] = np.frombuffer(data, dtype, size, at).reshape(shape)
            at += taken.nbytes
            return taken

        values = [take(shape, np.float64) for shape in shapes]
        sequences = [take(shape[:1], np.int64) for shape in shapes]
        events = [take(shape[:1], np.int32) for shape in shapes]
        return cls(
            values[0], events[0], sequences[0],
            values[1], events[1], sequences[1],
            values[2], events[2], sequences[2],
            np.arange(first, first + count), history_start_ms,
        )  # fmt: skip


def touch_sequences(partials: Sequence[Partials], events: int) -> I64:
    """Return the sequence numbers of originator, beneficiary and device touch of each event.  # (events, 3).

    -1 where an event has no such touch or its partial is missing.
    """
    sequences = np.full((events, 3), -1, np.int64)
    for p in partials:
        sequences[p.originator_event, 0] = p.originator_sequence
        sequences[p.beneficiary_event, 1] = p.beneficiary_sequence
        sequences[p.device_event, 2] = p.device_sequence
    return sequences
