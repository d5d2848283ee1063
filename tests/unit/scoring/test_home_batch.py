"""A home batch reads back as it was packed, whatever its strings share."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring.home_batch import HomeBatch
from models.scoring.recorded_rows import RecordedRows
from schemas.columns import CHANNELS, StringColumn, TransactionColumns
from tests.builders import a_transaction, transaction_columns

texts = st.text(max_size=6)
optional = st.none() | texts
records = st.lists(
    st.fixed_dictionaries(
        {
            "transaction_id": texts, "account_id": texts, "counterparty_id": texts, "currency": texts,
            "account_country": optional, "counterparty_country": optional, "device_id": optional,
            "ip_address": optional, "memo": optional,
            "event_time_ms": st.integers(-(2**62), 2**62), "amount_minor": st.integers(-(2**62), 2**62),
            "merchant_category": st.none() | st.integers(0, 9999), "channel": st.sampled_from(CHANNELS),
            "evidence": st.lists(texts, max_size=3),
            "attributes": st.dictionaries(st.sampled_from(["risk", "größe"]), st.floats()),
        }
    ),
    max_size=6,
)  # fmt: skip


def _nothing(rows: int, columns: TransactionColumns) -> Any:
    numbers = np.zeros(rows, np.int64)
    return numbers, 0, columns, numbers.astype(np.int32), numbers, numbers


def test_what_is_on_record_travels_with_the_batch() -> None:
    columns = transaction_columns([a_transaction(), a_transaction(transaction_id="t2")])
    versions = (("m", "1", "ab", "", "", "", "r1"), ("m", "2", "cd", "l", "7", "ef", "r1"))
    reference = np.array([[1, np.nan, 0.5, 0], [np.nan] * 4], np.float32)
    recorded = RecordedRows(np.array([9, 3], np.uint8), np.array([1, -1], np.int32), reference, versions)
    batch = HomeBatch(3, 1, *_nothing(2, columns), recorded)
    found = HomeBatch.from_bytes(batch.to_bytes())
    assert_same_batch(found, batch)
    assert found.recorded is not None
    assert found.recorded.versions == versions
    assert found.recorded.version.tolist() == [1, -1]
    assert found.recorded.status.tolist() == [9, 3]
    np.testing.assert_array_equal(found.recorded.reference, reference)
    second = found.take(slice(1, 2))
    assert second.columns.transaction_id.text_at(0) == "t2"
    assert second.recorded is not None
    assert second.recorded.version.tolist() == [-1]


def _references(column: StringColumn | None, rows: int) -> list[bytes | None]:
    return [b""] * rows if column is None else [column.bytes_at(i) for i in range(rows)]


def assert_same_batch(found: HomeBatch, expected: HomeBatch) -> None:
    for name in ("sequence", "entity_shards", "ingest_time_ms"):
        assert getattr(found, name) == getattr(expected, name)
    for name in ("partition", "offset", "source_time_ms", "history_start_ms"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    assert found.columns.attribute_names == expected.columns.attribute_names
    for name in found.columns.__slots__:
        left, right = getattr(found.columns, name), getattr(expected.columns, name)
        if name == "evidence":  # without any, none are kept
            assert _references(left, len(found)) == _references(right, len(expected))
        elif isinstance(left, StringColumn):
            assert [left.bytes_at(i) for i in range(len(left))] == [right.bytes_at(i) for i in range(len(right))], name
        elif name != "attribute_names":
            assert left.dtype == right.dtype, name
            assert np.array_equal(left, right, equal_nan=name == "attributes"), name


@settings(max_examples=200, deadline=None)
@given(records, st.sampled_from([(), ("risk",), ("risk", "größe")]), st.lists(st.booleans(), min_size=6, max_size=6))
def test_a_batch_reads_back_as_it_was_packed(
    rows: list[dict[str, object]], names: tuple[str, ...], kept: list[bool]
) -> None:
    columns = transaction_columns([a_transaction(**row) for row in rows], names).take(np.array(kept[: len(rows)], bool))
    n = len(columns)
    numbers = np.arange(n, dtype=np.int64)
    batch = HomeBatch(7, 5, numbers - 3, 2**62, columns, np.arange(n, dtype=np.int32), numbers + 1, numbers + 2)
    assert_same_batch(HomeBatch.from_bytes(batch.to_bytes()), batch)


def test_a_buffer_that_columns_share_travels_once() -> None:
    memo = "x" * 10_000
    columns = transaction_columns([a_transaction(memo=memo)])
    shared = {name: getattr(columns, name) for name in columns.__slots__}
    for name, value in shared.items():
        if isinstance(value, StringColumn) and name != "evidence":
            shared[name] = columns.memo
    batch = HomeBatch(0, 1, *_nothing(1, type(columns)(**shared)))
    packed = batch.to_bytes()
    assert len(packed) < 11_000
    assert_same_batch(HomeBatch.from_bytes(packed), batch)
