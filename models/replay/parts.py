"""From the records of one batch to its parts: one for each home shard and kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.replay.ordered_batch import OrderedBatch, Placement
from models.scoring.pipeline import take_records
from models.scoring.recorded_rows import IS_EMITTED, RecordedRows
from schemas.columns import I32, I64, Bool, RawRecords


@dataclass(frozen=True, slots=True)
class BatchRecords:
    """Records of one kind in a batch, in the order in which the home stages are to take them in.

    Attributes
    ----------
    records
        n of them.
    order
        (n, c) as in `Placement`.
    recorded
        What is on record of them; None for labels.
    is_emitted
        (n,) whether the replay is to decide on them; earlier ones only fill the windows.
    """

    is_labels: bool
    records: RawRecords
    order: I64
    recorded: RecordedRows | None
    is_emitted: Bool


def parts_of(number: int, batches: list[BatchRecords], shards: int, by_ledger: bool) -> list[OrderedBatch]:
    """Return the parts of batch `number`; at least one, so that every entity shard hears of it."""
    cut = []
    for batch in batches:
        home: I32 = batch.records.partition % shards
        for shard in np.unique(home).tolist():
            rows = np.flatnonzero(home == shard)
            cut.append((int(shard), batch, rows))
    if not cut:
        nothing = np.zeros(0, np.int64)
        records = RawRecords("", [], [], nothing.astype(np.int32), nothing, nothing)
        empty = BatchRecords(True, records, np.zeros((0, 1), np.int64), None, np.zeros(0, np.bool_))
        cut.append((0, empty, np.zeros(0, np.intp)))
    parts = []
    for i, (shard, batch, rows) in enumerate(cut):
        recorded = None
        if batch.recorded is not None:
            recorded = batch.recorded.take(rows)
            emitted = np.where(batch.is_emitted[rows], np.uint8(IS_EMITTED), np.uint8(0))
            recorded = RecordedRows(recorded.status | emitted, recorded.version, recorded.reference, recorded.versions)
        placement = Placement(number, i, len(cut), batch.order[rows], by_ledger, recorded, batch.is_emitted[rows])
        parts.append(OrderedBatch(shard, batch.is_labels, take_records(batch.records, rows.tolist()), placement))
    return parts


def joined(chunks: Sequence[RawRecords]) -> RawRecords:
    """Return the records of several partitions of a topic one after the other.

    Raises
    ------
    ValueError
        If there is no chunk at all.
    """
    return RawRecords(
        topic=chunks[0].topic,
        values=[value for chunk in chunks for value in chunk.values],
        keys=[key for chunk in chunks for key in chunk.keys],
        partition=np.concatenate([chunk.partition for chunk in chunks]),
        offset=np.concatenate([chunk.offset for chunk in chunks]),
        timestamp_ms=np.concatenate([chunk.timestamp_ms for chunk in chunks]),
    )
