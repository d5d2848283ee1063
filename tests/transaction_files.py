"""Files of transactions with what goes wrong in life: repeated rows, rows that are no transactions, late ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import fastavro
import polars as pl

from schemas.records import decode_record, encode_record
from schemas.versions import current
from tests.recorded import Recorded, record_stream

FIELDS = (
    "transaction_id", "event_time_ms", "account_id", "counterparty_id", "amount_minor", "currency", "channel",
    "account_country", "counterparty_country", "merchant_category", "device_id", "ip_address", "memo",
)  # fmt: skip


def rows_of(events: int, seed: int, bad: bool = True) -> list[dict[str, Any]]:
    """Return rows in the order of a stream: duplicates, late ones, and with `bad` some that must be refused."""
    recorded = record_stream(events, seed=seed, accounts=200, poison_rate=0.0)
    rows = []
    for i, value in enumerate(recorded.values):
        row = {name: decode_record(value or b"", name="transaction")[name] for name in FIELDS}
        rows.append(row)
        if bad and i % 40 == 7:
            rows.append({**row, "transaction_id": f"bad-{i}", "currency": "ZZZ"})
        if bad and i % 40 == 23:
            rows.append({**row, "transaction_id": f"bad-{i}", "amount_minor": -1})
        if bad and i % 60 == 31:
            rows.append({**row, "transaction_id": None})
    return rows


def write(rows: list[dict[str, Any]], path: Path) -> Path:
    """Write rows in the format that the suffix names."""
    if path.suffix == ".parquet":
        pl.DataFrame(rows, schema_overrides={"merchant_category": pl.Int32}, infer_schema_length=None).write_parquet(
            path
        )
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(rows)
    else:
        with path.open("wb") as avro:
            fastavro.writer(avro, current("transaction").parsed, rows)
    return path


def as_recorded(rows: list[dict[str, Any]]) -> Recorded:
    """Return the rows as records of a topic, each at the offset of its row, for the plain loop; none may be unreadable.

    A record's timestamp is the event's.
    """
    values: list[bytes | None] = [encode_record("transaction", row) for row in rows]
    times = [int(row["event_time_ms"]) for row in rows]
    return Recorded([b""] * len(rows), values, ["good"] * len(rows), [None] * len(rows), times)
