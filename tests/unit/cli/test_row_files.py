"""The same rows from every kind of file, and bad rows told by their number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.cli.commands.produce import prepare
from deploy.cli.mapping import RowMapping
from deploy.cli.row_files import FileError, columns_of, format_of, read_rows, size_of
from models.training.simulator import SimulatorConfig
from models.training.simulator.files import write_file
from schemas.records import decode_record
from tests.builders import NOON_MS, a_transaction

NOW_MS = NOON_MS + 60_000
CONFIG = SimulatorConfig(seed=3, accounts=300, merchants=200)


def rows_of(path: Path, kind: str) -> list[dict[str, object]]:
    return [row.values or {} for rows in read_rows(path, kind) for row in rows]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".avro"])
def test_every_format_gives_the_same_transactions(tmp_path: Path, suffix: str) -> None:
    reference, path = tmp_path / "reference.parquet", tmp_path / f"file{suffix}"
    write_file(CONFIG, 300, reference)
    write_file(CONFIG, 300, path)
    mapping = RowMapping()
    expected = [mapping.apply(row) for row in rows_of(reference, "parquet")]
    assert [mapping.apply(row) for row in rows_of(path, format_of(path, None))] == expected
    assert len(expected) == 300


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".avro"])
def test_progress_ends_at_the_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    write_file(CONFIG, 50, path)
    seen: list[int] = []
    kind = format_of(path, None)
    assert sum(len(rows) for rows in read_rows(path, kind, seen.append)) == 50
    assert seen[-1] == size_of(path, kind)


def test_columns_are_known_before_reading_except_of_json_lines(tmp_path: Path) -> None:
    for suffix in (".parquet", ".csv", ".avro"):
        path = tmp_path / f"file{suffix}"
        write_file(CONFIG, 5, path)
        columns = columns_of(path, format_of(path, None))
        assert columns is not None
        assert columns[:2] == ["transaction_id", "event_time_ms"]


def test_an_unknown_suffix_asks_for_the_format(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="--format"):
        format_of(tmp_path / "file.xyz", None)
    assert format_of(tmp_path / "file.xyz", "csv") == "csv"


@pytest.mark.parametrize("kind", ["parquet", "avro"])
def test_a_file_of_another_kind_is_told_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"no such file format")
    with pytest.raises(FileError, match="is no "):
        list(read_rows(path, kind))


def test_bad_rows_are_named_and_only_good_ones_are_sent(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    lines = [
        json.dumps(a_transaction(transaction_id="good")),
        "{broken",
        json.dumps(a_transaction(currency="ZZQ")),
        json.dumps({"transaction_id": "no more than this"}),
    ]
    path.write_text("\n".join(lines))
    rows = next(iter(read_rows(path, "jsonl")))
    prepared, bad = prepare(rows, RowMapping(), as_is=False, now_ms=NOW_MS)
    assert [decode_record(value)["transaction_id"] for _, _, value, _ in prepared] == ["good"]
    assert [(number, code) for number, code, _ in bad] == [
        (2, "UNREADABLE"),
        (3, "UNKNOWN_CURRENCY"),
        (4, "INVALID_FIELD"),
    ]


def test_as_is_sends_every_line_that_there_is_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text("{broken\n" + json.dumps(a_transaction()) + "\n" + json.dumps({"account_id": "a"}))
    rows = next(iter(read_rows(path, "jsonl")))
    prepared, bad = prepare(rows, RowMapping(), as_is=True, now_ms=NOW_MS)
    assert [(number, key) for number, key, _, _ in prepared] == [(1, None), (2, b"account-1"), (3, b"a")]
    assert prepared[0][2] == b"{broken"
    assert len(bad) == 2


def test_a_csv_row_of_too_many_values_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("transaction_id,currency\n1,EUR,oops\n2,EUR\n")
    rows = next(iter(read_rows(path, "csv")))
    assert [row.problem for row in rows] == ["more values than the header has columns", ""]
