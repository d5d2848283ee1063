"""Simulated streams as files: Parquet, CSV, JSON lines, or an Avro container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from models.training.simulator.config import PATTERNS, SimulatorConfig, SimulatorError
from models.training.simulator.simulate import SimulatedBatch, Simulator
from schemas.arrow import arrow_fields, arrow_words
from schemas.container import ContainerWriter
from schemas.encode import encode_transactions

FORMATS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".avro": "avro"}
"""Formats by the file's suffix."""

_ROWS_AT_ONCE = 50_000


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
    schema = _arrow_schema(with_truth)
    truth = {"is_fraud": pa.array(batch.is_fraud), "pattern": arrow_words(PATTERNS, batch.pattern)}
    columns = {**arrow_fields(batch.transactions), **truth}
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


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
    with ContainerWriter(path, "transaction") as writer:
        for batch in batches:
            writer.write_block(encode_transactions(batch.transactions))
    return writer.written
