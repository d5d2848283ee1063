"""Transactions of a file as the raw records that the scoring core takes in, block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from deploy.cli.mapping import RowMapping
from deploy.cli.row_files import Row, columns_of, format_of, open_parquet, read_rows, size_of
from schemas.arrow import FIELDS, REQUIRED, ArrowError
from schemas.arrow import columns_of as columns_of_arrow
from schemas.columns import I64, RawRecords, StringColumn, TransactionColumns
from schemas.encode import encode_transactions
from schemas.errors import SerializationError
from schemas.records import encode_record
from schemas.validate import EARLIEST_MS, LATEST_MS
from schemas.versions import current

FILE, TIME = "file", "time"
"""Orders: of the file's rows, or of their event times (rows of the same time in the file's order)."""

BLOCK_ROWS = 10_000
_READ_ROWS = 30_000
"""Decoded together: what decoding uses then stays in the nearest caches, which the work on a block clears."""
_NO_TIME = -1  # the broker's own way to say that a record has no timestamp


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no transaction: where it stands (counted from 1), why, and what it says."""

    number: int
    stage: str
    error: str
    message: str
    content: Any


@dataclass(frozen=True, slots=True)
class FileBlock:
    """Some rows of a file.

    Attributes
    ----------
    records
        Those that are transactions by their form; `offset` is the row's number less 1, and the record timestamp is the
        event time (none where that is no time of our age). All are of partition 0.
    bad
        The others.
    share
        How much of the file is done after this block, 0 to 1.
    """

    records: RawRecords
    bad: tuple[BadRow, ...]
    share: float


class TransactionFile:
    """A Parquet, CSV, JSON lines or Avro container file of transactions.

    Parquet whose columns have the types of the fields is read on columns; everything else row by row.

    Parameters
    ----------
    path
        The file.
    kind
        Its format; None tells it by the suffix.
    mapping
        Which column is which field.

    Raises
    ------
    FileError
        If it is no file of that kind.
    MappingError
        If a mapped column is not there.
    """

    def __init__(self, path: Path, kind: str | None = None, mapping: RowMapping | None = None) -> None:
        self.path = path
        self.kind = format_of(path, kind)
        self.mapping = mapping or RowMapping()
        self._size = max(1, size_of(path, self.kind))
        names = columns_of(path, self.kind)
        self.left_out = self.mapping.check_columns(names) if names is not None else []
        self._fields = self._plain_fields(names) if self.kind == "parquet" and names is not None else None

    def _plain_fields(self, names: Sequence[str]) -> dict[str, str] | None:
        """Return column by field where columns are fields as they stand; None where rows need the mapping."""
        found: dict[str, str] = {}
        for column in names:
            field = self.mapping.field_of(column)
            if field is None:
                continue
            if field not in FIELDS or field in found:
                return None
            found[field] = column
        if self.mapping.defaults or any(name not in found for name in REQUIRED):
            return None
        return found

    def sha256(self) -> str:
        """Return the SHA-256 of the file's bytes, hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def blocks(
        self, batch_rows: int = BLOCK_ROWS, order: str = FILE, reading: Callable[[float], None] = lambda _: None
    ) -> Iterator[FileBlock]:
        """Yield all rows.

        Parameters
        ----------
        batch_rows
            Rows of a block, at most.
        order
            FILE or TIME. The latter holds all rows in memory, some hundred bytes each.
        reading
            Called with the share of the file that is read before the first block can come.

        Raises
        ------
        FileError
            If it turns out to be no file of its kind.
        """
        blocks = self._on_columns(batch_rows) if self._fields is not None else self._on_rows(batch_rows)
        yield from blocks if order == FILE else _by_time(blocks, batch_rows, reading)

    def _on_columns(self, batch_rows: int) -> Iterator[FileBlock]:
        assert self._fields is not None
        version = current("transaction").version
        done = 0
        for batch in _batches(self.path, batch_rows):
            first, done = done, done + batch.num_rows
            share = done / self._size
            named = batch.select(list(self._fields.values())).rename_columns(list(self._fields))
            try:
                columns = columns_of_arrow(named, version)
            except ArrowError:  # what is wrong with which row is found row by row
                rows = [Row(first + i, values) for i, values in enumerate(batch.to_pylist(), 1)]
                yield self._block(rows, share)
                continue
            offsets = np.arange(first, done, dtype=np.int64)
            records = _raw(self.path, EncodedLater(columns), offsets, columns.event_time_ms, _as_decoded(columns))
            yield FileBlock(records, (), share)

    def _on_rows(self, batch_rows: int) -> Iterator[FileBlock]:
        done = 0

        def advance(reached: int) -> None:
            nonlocal done
            done = reached

        for rows in read_rows(self.path, self.kind, advance):
            for start in range(0, len(rows), batch_rows):
                yield self._block(rows[start : start + batch_rows], done / self._size)

    def _block(self, rows: list[Row], share: float) -> FileBlock:
        values: list[bytes | None] = []
        offsets, times = [], []
        bad = []
        for row in rows:
            if row.values is None:
                text = None if row.text is None else row.text.decode("utf-8", "replace")
                bad.append(BadRow(row.number, "decode", "UNREADABLE", row.problem, text))
                continue
            try:
                record = self.mapping.apply(row.values)
                values.append(encode_record("transaction", record))
            except SerializationError as error:
                bad.append(BadRow(row.number, "decode", "INVALID_FIELD", str(error), row.values))
                continue
            offsets.append(row.number - 1)
            times.append(int(record["event_time_ms"]))
        return FileBlock(
            _raw(self.path, values, np.array(offsets, np.int64), np.array(times, np.int64)), tuple(bad), share
        )


def _batches(path: Path, batch_rows: int) -> Iterator[Any]:
    """Yield the rows of a Parquet file in batches, several of which are decoded together."""
    for read in open_parquet(path).iter_batches(max(batch_rows, _READ_ROWS), use_threads=False):
        for start in range(0, read.num_rows, batch_rows):
            yield read.slice(start, batch_rows)


class EncodedLater(Sequence[bytes | None]):
    """Records of transactions that are columns already: hardly anybody asks for them."""

    def __init__(self, columns: TransactionColumns) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns)

    @overload
    def __getitem__(self, row: int) -> bytes: ...

    @overload
    def __getitem__(self, row: slice) -> list[bytes | None]: ...

    def __getitem__(self, row: int | slice) -> bytes | list[bytes | None]:
        rows = np.arange(len(self))[row]
        encoded = encode_transactions(self._columns.take(np.atleast_1d(rows)))
        return list(encoded) if isinstance(row, slice) else encoded[0]

    def __iter__(self) -> Iterator[bytes | None]:
        return iter(encode_transactions(self._columns))


def _as_decoded(columns: TransactionColumns) -> TransactionColumns:
    """Return the columns as they come out of records: there a country is never null."""
    return replace(
        columns,
        account_country=_never_null(columns.account_country),
        counterparty_country=_never_null(columns.counterparty_country),
    )


def _never_null(column: StringColumn) -> StringColumn:
    return StringColumn(column.buffer, column.offsets, np.maximum(column.lengths, 0))


def _raw(
    path: Path, values: Sequence[bytes | None], offsets: I64, times: I64, decoded: TransactionColumns | None = None
) -> RawRecords:
    timestamps = np.where((times >= EARLIEST_MS) & (times <= LATEST_MS), times, _NO_TIME)
    n = len(values)
    return RawRecords(path.name, values, [None] * n, np.zeros(n, np.int32), offsets, timestamps, decoded)


def _by_time(blocks: Iterator[FileBlock], batch_rows: int, reading: Callable[[float], None]) -> Iterator[FileBlock]:
    """Yield the bad rows, then the others by event time."""
    records: list[RawRecords] = []
    bad: list[BadRow] = []
    for block in blocks:
        records.append(block.records)
        bad += block.bad
        reading(block.share)
    values = [value for part in records for value in part.values]
    offsets = np.concatenate([np.zeros(0, np.int64), *(part.offset for part in records)])
    times = np.concatenate([np.zeros(0, np.int64), *(part.timestamp_ms for part in records)])
    topic = records[0].topic if records else ""
    order = np.argsort(times, kind="stable")
    nothing = RawRecords(topic, [], [], np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    if bad:
        yield FileBlock(nothing, tuple(bad), 0.0)
    for start in range(0, len(order), batch_rows):
        rows = order[start : start + batch_rows]
        taken = [values[row] for row in rows.tolist()]
        n = len(taken)
        part = RawRecords(topic, taken, [None] * n, np.zeros(n, np.int32), offsets[rows], times[rows])
        yield FileBlock(part, (), (start + n) / len(order))


def file_of(path: Path, kind: str | None, maps: Sequence[str], defaults: Sequence[str]) -> TransactionFile:
    """Open a file as the command line names it; raises `MappingError` or `FileError`."""
    return TransactionFile(path, kind, RowMapping.parse(maps, defaults))
