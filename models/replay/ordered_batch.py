"""Records of a replay in the order to process them, and the place that each has in it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from models.scoring.recorded_rows import RecordedRows
from schemas.columns import I64, Bool, RawRecords

_HEADER = struct.Struct("<qqqqqq")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a part of a batch stands in the order of the replay.

    A replay is cut into numbered batches; all touches of one precede all touches of the next. A batch has one part
    for each home shard and kind of record that it holds, and every entity shard gets a block from every part.

    Attributes
    ----------
    number
        Of the batch, from 0 without gaps.
    part, parts
        Number of this part, and how many the batch has.
    order
        (n, c) where each record's touches stand among those of the batch in an entity shard, ascending; equal
        numbers keep the order of roles. c is 1: the same for all touches; or in recorded order: for transactions 3,
        the recorded sequence numbers by role, for labels one for each entity shard.
    by_ledger
        Whether `order` is the recorded one.
    recorded
        What is on record of each transaction; None for labels.
    is_emitted
        (n,) whether the replay accounts for the record; others only fill the windows.
    """

    number: int
    part: int
    parts: int
    order: I64
    by_ledger: bool
    recorded: RecordedRows | None
    is_emitted: Bool

    def to_bytes(self) -> bytes:
        """Pack the placement, little-endian."""
        header = _HEADER.pack(
            self.number, self.part, self.parts, self.order.shape[1], int(self.by_ledger), len(self.order)
        )
        recorded = b"" if self.recorded is None else self.recorded.to_bytes()
        return b"".join([header, self.order.tobytes(), self.is_emitted.tobytes(), recorded])

    @classmethod
    def from_bytes(cls, data: bytes) -> Placement:
        """Unpack what `to_bytes` packed."""
        number, part, parts, columns, by_ledger, n = _HEADER.unpack_from(data)
        at = _HEADER.size
        order = np.frombuffer(data, np.int64, n * columns, at).reshape(n, columns)
        at += order.nbytes
        is_emitted = np.frombuffer(data, np.bool_, n, at)
        rest = data[at + n :]
        recorded = RecordedRows.from_bytes(rest) if rest else None
        return cls(number, part, parts, order, bool(by_ledger), recorded, is_emitted)


@dataclass(frozen=True, slots=True)
class OrderedBatch:
    """One part of a batch: records of one home shard and topic, with their placement."""

    home_shard: int
    is_labels: bool
    records: RawRecords
    placement: Placement
