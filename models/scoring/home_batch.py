"""A home shard's batch on its way to the decision stage, and its wire format."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.scoring.recorded_rows import RecordedRows
from schemas.columns import I32, I64, StringColumn, TransactionColumns

_HEADER = struct.Struct("<qqqqqqq")
_COUNT = struct.Struct("<q")

_STRINGS = (
    "transaction_id", "account_id", "counterparty_id", "currency", "account_country", "counterparty_country",
    "device_id", "ip_address", "memo",
)  # fmt: skip
_NUMBERS = (
    ("event_time_ms", np.int64), ("amount_minor", np.int64), ("merchant_category", np.int32),
    ("evidence_count", np.int32), ("schema_version", np.int16), ("channel", np.uint8),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HomeBatch:
    """Accepted transactions of one home shard, in the order to decide on them.

    Attributes
    ----------
    sequence
        Number of the batch in its home shard, without gaps.
    entity_shards
        Bit s is set if entity shard s got touches and will send partial features.
    history_start_ms
        (n,) event time of the first transaction that was ever accepted from the row's partition.
    ingest_time_ms
        Wall clock when the batch was decoded.
    recorded
        Of a replay: what is on record of the transactions.
    """

    sequence: int
    entity_shards: int
    history_start_ms: I64
    ingest_time_ms: int
    columns: TransactionColumns
    partition: I32
    offset: I64
    source_time_ms: I64
    recorded: RecordedRows | None = None

    def __len__(self) -> int:
        return len(self.columns)

    def take(self, rows: slice | npt.NDArray[np.intp]) -> HomeBatch:
        """Return some of the transactions; they keep the batch's number."""
        at = np.arange(len(self))[rows]
        return replace(
            self,
            columns=self.columns.take(at),
            partition=self.partition[rows],
            offset=self.offset[rows],
            source_time_ms=self.source_time_ms[rows],
            history_start_ms=self.history_start_ms[rows],
            recorded=None if self.recorded is None else self.recorded.take(rows),
        )

    def to_bytes(self) -> bytes:
        """Pack the batch, little-endian; the strings' shared buffer travels once."""
        columns = self.columns
        buffers: dict[int, tuple[int, bytes]] = {}
        at = 0
        strings = []
        for name in _STRINGS:
            column: StringColumn = getattr(columns, name)
            if id(column.buffer) not in buffers:
                buffers[id(column.buffer)] = (at, column.buffer.tobytes())
                at += len(column.buffer)
            strings.append((column.offsets + buffers[id(column.buffer)][0]).astype(np.int64).tobytes())
            strings.append(column.lengths.tobytes())
        n = len(columns)
        names = "\0".join(columns.attribute_names).encode()
        recorded = b"" if self.recorded is None else self.recorded.to_bytes()
        header = _HEADER.pack(self.sequence, self.entity_shards, self.ingest_time_ms, n, at, len(names), len(recorded))
        numbers = [getattr(columns, name).astype(dtype, copy=False).tobytes() for name, dtype in _NUMBERS]
        kafka = [a.tobytes() for a in (self.offset, self.source_time_ms, self.history_start_ms, self.partition)]
        attributes = np.ascontiguousarray(columns.attributes).tobytes()
        arrays = [*strings, *numbers, *kafka, attributes]
        return b"".join([header, names, *(b for _, b in buffers.values()), *arrays, recorded, self._references()])

    def _references(self) -> bytes:
        """Pack the references of the rows that have any: rows, lengths, bytes; nothing where there is none."""
        evidence = self.columns.evidence
        if evidence is None or not (has_any := evidence.lengths > 0).any():
            return b""
        rows = np.flatnonzero(has_any)
        packed = b"".join(evidence.bytes_at(row) or b"" for row in rows.tolist())
        return b"".join([_COUNT.pack(len(rows)), rows.tobytes(), evidence.lengths[rows].tobytes(), packed])

    @classmethod
    def from_bytes(cls, data: bytes) -> HomeBatch:
        """Unpack what `to_bytes` packed; the arrays are read-only views of `data`."""
        *numbers, n, size, names_size, recorded_size = _HEADER.unpack_from(data)
        sequence, entity_shards, ingest_time_ms = numbers
        at = _HEADER.size
        names = data[at : at + names_size].decode()
        attribute_names = tuple(names.split("\0")) if names else ()
        at += names_size

        def take(count: int, dtype: npt.DTypeLike) -> Any:
            nonlocal at
            taken = np.frombuffer(data, dtype, count, at)
            at += taken.nbytes
            return taken

        buffer = take(size, np.uint8)
        fields: dict[str, Any] = {}
        for name in _STRINGS:
            fields[name] = StringColumn(buffer, take(n, np.int64), take(n, np.int32))
        for name, dtype in _NUMBERS:
            fields[name] = take(n, dtype)
        offset, source_time_ms, history_start_ms = (take(n, np.int64) for _ in range(3))
        partition = take(n, np.int32)
        fields["attributes"] = take(n * len(attribute_names), np.float64).reshape(n, len(attribute_names))
        fields["evidence"] = _references_of(data, at + recorded_size, n)
        columns = TransactionColumns(attribute_names=attribute_names, **fields)
        return cls(
            sequence,
            entity_shards,
            history_start_ms,
            ingest_time_ms,
            columns,
            partition,
            offset,
            source_time_ms,
            RecordedRows.from_bytes(data[at : at + recorded_size]) if recorded_size else None,
        )


def _references_of(data: bytes, at: int, n: int) -> StringColumn | None:
    """Unpack what `HomeBatch._references` packed at `at`; None where nothing is left."""
    if at == len(data):
        return None
    (count,) = _COUNT.unpack_from(data, at)
    rows = np.frombuffer(data, np.int64, count, at + _COUNT.size)
    sizes = np.frombuffer(data, np.int32, count, at + _COUNT.size + rows.nbytes)
    buffer = np.frombuffer(data, np.uint8, offset=at + _COUNT.size + rows.nbytes + sizes.nbytes)
    offsets, lengths = np.zeros(n, np.int64), np.zeros(n, np.int32)
    offsets[rows] = np.cumsum(sizes) - sizes
    lengths[rows] = sizes
    return StringColumn(buffer, offsets, lengths)
