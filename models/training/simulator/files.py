"""Simulated streams as files: Parquet, CSV, JSON lines, or an Avro container."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import numba
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from models.training.simulator.config import PATTERNS, SimulatorConfig, SimulatorError
from models.training.simulator.simulate import SimulatedBatch, Simulator
from schemas.columns import CHANNELS, I32, I64, U8, StringColumn
from schemas.encode import encode_transactions
from schemas.versions import current

FORMATS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".avro": "avro"}
"""Formats by the file's suffix."""

_ROWS_AT_ONCE = 50_000
_HEADER_BYTES = 10  # of the single-object encoding, left out in a container


def write_file(
    config: SimulatorConfig, count: int, path: Path | str, format: str | None = None, with_truth: bool = False
) -> int:
    """Write the first `count` events of a stream to a file; return how many there are.

    Parameters
    ----------
    config
        The stream.
    count
        Events to write; fewer are written if the stream's `days` end before.
    path
        File to write; its folder exists.
    format
        parquet, csv, jsonl or avro; None to tell by the suffix.
    with_truth
        Add the columns `is_fraud` and `pattern`. An Avro file has no room for them.
    """
    path = Path(path)
    format = format or FORMATS.get(path.suffix.lower())
    if format not in FORMATS.values():
        raise SimulatorError(f"cannot tell the format of {path.name}; end the name in one of {', '.join(FORMATS)}")
    if format == "avro" and with_truth:
        raise SimulatorError(
            "an Avro file holds transactions as they are sent, without truth; use Parquet, CSV or JSON"
        )
    batches = Simulator(config).batches(_ROWS_AT_ONCE, count)
    if format == "avro":
        return _write_container(path, batches)
    written = 0
    schema = _arrow_schema(with_truth)
    with path.open("wb") as file:
        writer: Any = None
        if format == "parquet":
            writer = pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")
        elif format == "csv":
            writer = pyarrow.csv.CSVWriter(file, schema)
        for batch in batches:
            table = pa.Table.from_batches([arrow_batch(batch, with_truth)])
            if format == "jsonl":
                _write_json_lines(file, table)
            else:
                writer.write_table(table)
            written += len(batch)
        if writer is not None:
            writer.close()
    return written


def arrow_batch(batch: SimulatedBatch, with_truth: bool = False) -> pa.RecordBatch:
    """Return a batch in Arrow, with the field names of `transaction.avsc`."""
    t = batch.transactions
    columns = [
        arrow_strings(t.transaction_id),
        pa.array(t.event_time_ms),
        arrow_strings(t.account_id),
        arrow_strings(t.counterparty_id),
        pa.array(t.amount_minor),
        arrow_strings(t.currency),
        _words(CHANNELS, t.channel),
        arrow_strings(t.account_country),
        arrow_strings(t.counterparty_country),
        pa.array(t.merchant_category, mask=t.merchant_category < 0),
        arrow_strings(t.device_id),
        arrow_strings(t.ip_address),
        arrow_strings(t.memo),
    ]
    if with_truth:
        columns += [pa.array(batch.is_fraud), _words(PATTERNS, batch.pattern)]
    return pa.RecordBatch.from_arrays(columns, schema=_arrow_schema(with_truth))


def arrow_strings(column: StringColumn) -> pa.Array:
    """Return a string column in Arrow's layout: the bytes one after the other."""
    lengths = np.maximum(column.lengths, 0)
    ends = np.cumsum(lengths, dtype=np.int32)
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    data = np.empty(int(offsets[-1]), np.uint8)
    _gather(column.buffer, column.offsets, lengths, offsets, data)
    validity = np.packbits(column.lengths >= 0, bitorder="little")
    buffers = [pa.py_buffer(validity.tobytes()), pa.py_buffer(offsets.tobytes()), pa.py_buffer(data.tobytes())]
    return pa.Array.from_buffers(pa.string(), len(column), buffers)


@numba.njit(cache=True, nogil=True)
def _gather(source: U8, starts: I64, lengths: I32, offsets: I32, out: U8) -> None:
    for i in range(len(starts)):
        for k in range(lengths[i]):
            out[offsets[i] + k] = source[starts[i] + k]


def _words(words: tuple[str, ...], codes: U8) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(words)).cast(pa.string())


def _arrow_schema(with_truth: bool) -> pa.Schema:
    text = pa.string()
    fields = [
        ("transaction_id", text), ("event_time_ms", pa.int64()), ("account_id", text), ("counterparty_id", text),
        ("amount_minor", pa.int64()), ("currency", text), ("channel", text), ("account_country", text),
        ("counterparty_country", text), ("merchant_category", pa.int32()), ("device_id", text), ("ip_address", text),
        ("memo", text),
    ]  # fmt: skip
    truth = [("is_fraud", pa.bool_()), ("pattern", text)] if with_truth else []
    return pa.schema(fields + truth)


def _write_json_lines(file: Any, table: pa.Table) -> None:
    import polars as pl  # here, because it is only needed for this format and takes 0.2 s to load

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame.write_ndjson(file)


def _write_container(path: Path, batches: Iterator[SimulatedBatch]) -> int:
    """Write an Avro object container file: fastavro's header, then our own encoder's records in blocks."""
    header = io.BytesIO()
    sync = bytes(range(16))  # any 16 bytes; fixed, so that equal streams give equal files
    fastavro.writer(header, dict(current("transaction").text), [], sync_marker=sync)
    written = 0
    with path.open("wb") as file:
        file.write(header.getvalue())
        for batch in batches:
            records = encode_transactions(batch.transactions)
            body = b"".join([record[_HEADER_BYTES:] for record in records])
            file.write(_varint(len(records)) + _varint(len(body)) + body + sync)
            written += len(records)
    return written


def _varint(value: int) -> bytes:
    """Return a non-negative number as Avro writes a long."""
    out = bytearray()
    value <<= 1  # zigzag
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
