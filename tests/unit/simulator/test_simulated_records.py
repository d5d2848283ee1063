"""Records and files say what the columns say."""

from __future__ import annotations

from pathlib import Path

import fastavro
import numpy as np
import polars as pl
import pytest

from models.training.simulator import Simulator, SimulatorConfig, SimulatorError, encode_batch
from models.training.simulator.files import write_file
from schemas.labels import LabelDecoder
from schemas.transactions import TransactionDecoder
from schemas.validate import validate_transactions

SMALL = SimulatorConfig(seed=31, accounts=400, merchants=200, laundering_rate=0.05)


def test_every_record_decodes_to_its_columns_and_is_valid() -> None:
    batch = next(Simulator(SMALL).batches(20_000))
    encoded = encode_batch(batch)
    columns, rows, rejected = TransactionDecoder().decode(list(encoded.values))
    assert not rejected
    assert (rows == np.arange(len(batch))).all()
    assert not validate_transactions(columns, batch.transactions.event_time_ms)
    sent = batch.transactions
    for name in ("event_time_ms", "amount_minor", "channel", "merchant_category", "schema_version", "evidence_count"):
        np.testing.assert_array_equal(getattr(columns, name), getattr(sent, name))
    for name in ("transaction_id", "account_id", "counterparty_id", "currency", "device_id", "ip_address", "memo"):
        got, expected = getattr(columns, name), getattr(sent, name)
        assert [got.bytes_at(i) for i in range(len(batch))] == [expected.bytes_at(i) for i in range(len(batch))]
    assert encoded.keys == [sent.account_id.bytes_at(i) for i in range(len(batch))]


def test_every_label_decodes_to_its_columns() -> None:
    batch = next(Simulator(SMALL).batches(20_000))
    encoded = encode_batch(batch)
    columns, _, rejected = LabelDecoder().decode(list(encoded.label_values))
    assert not rejected
    assert len(columns) == len(batch.labels) > 100
    for name in ("event_time_ms", "label_time_ms", "is_fraud", "source"):
        np.testing.assert_array_equal(getattr(columns, name), getattr(batch.labels, name))
    assert encoded.label_keys == [columns.account_id.bytes_at(i) for i in range(len(columns))]


def test_files_of_every_format_hold_the_same_events(tmp_path: Path) -> None:
    for suffix in ("parquet", "csv", "jsonl", "avro"):
        assert write_file(SMALL, 2_000, tmp_path / f"events.{suffix}") == 2_000
    parquet = pl.read_parquet(tmp_path / "events.parquet")
    assert len(parquet) == 2_000
    assert pl.read_csv(tmp_path / "events.csv").equals(parquet)
    assert pl.read_ndjson(tmp_path / "events.jsonl", infer_schema_length=None).equals(parquet)
    with (tmp_path / "events.avro").open("rb") as file:
        records = list(fastavro.reader(file))
    assert [record["transaction_id"] for record in records] == parquet["transaction_id"].to_list()
    assert [record["memo"] for record in records] == parquet["memo"].to_list()


def test_truth_is_written_when_asked_for(tmp_path: Path) -> None:
    write_file(SMALL, 5_000, tmp_path / "events.parquet", with_truth=True)
    frame = pl.read_parquet(tmp_path / "events.parquet")
    assert frame["is_fraud"].sum() > 50
    assert (frame["is_fraud"] == (frame["pattern"] != "legitimate")).all()


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="parquet"):
        write_file(SMALL, 10, tmp_path / "events.xlsx")
