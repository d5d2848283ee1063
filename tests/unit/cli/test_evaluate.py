"""A file is evaluated from its first row to its table, whatever its format; nothing here needs Kafka."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from deploy.cli.main import weir
from deploy.cli.mapping import RowMapping
from deploy.cli.row_files import FileError
from deploy.cli.stream_file import Truth, as_bool, parse_delay, read_labels, read_stream, read_table
from models.training.simulator import SimulatorConfig
from models.training.simulator.files import write_file
from online_learning.evaluate.report import FILE
from online_learning.evaluate.timeline import NEVER
from tests.builders import NOON_MS, a_transaction

CONFIG = SimulatorConfig(seed=3, accounts=300, merchants=200)
ROWS = 1_500
NAMES = RowMapping.parse([])


def run(*arguments: object) -> Result:
    return CliRunner().invoke(weir, ["evaluate", *map(str, arguments)], env={"COLUMNS": "80"})


def a_file(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def a_row(number: int, at_ms: int, **truth: Any) -> dict[str, Any]:
    names = ("transaction_id", "event_time_ms", "account_id", "counterparty_id", "amount_minor", "currency")
    record = a_transaction(transaction_id=f"t{number}", event_time_ms=at_ms)
    return {name: record[name] for name in names} | truth


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_every_format_is_read_as_the_same_stream(tmp_path: Path, suffix: str) -> None:
    streams = []
    for path in (tmp_path / "reference.parquet", tmp_path / f"file{suffix}"):
        write_file(CONFIG, 300, path, with_truth=True)
        streams.append(read_stream(path, path.suffix[1:].replace("ndjson", "jsonl"), NAMES, Truth()))
    reference, stream = streams
    assert len(stream) == 300
    assert not stream.problems
    for name in ("event_time_ms", "label_time_ms", "is_fraud", "has_truth"):
        np.testing.assert_array_equal(getattr(stream, name), getattr(reference, name))
    assert stream.pattern == reference.pattern
    rows = np.array([5, 250])
    assert stream.take(rows).account_id.text_at(1) == reference.take(rows).account_id.text_at(1)
    assert (np.diff(stream.event_time_ms) >= 0).all()


def test_labels_of_a_file_of_their_own_come_when_it_says_so_and_the_first_counts(tmp_path: Path) -> None:
    # An Avro container has no room for labels
    transactions, labels = tmp_path / "t.jsonl", tmp_path / "labels.csv"
    a_file(transactions, [a_row(2, NOON_MS + 5), a_row(1, NOON_MS), a_row(3, NOON_MS + 9)])
    labels.write_text(
        "transaction_id,label_time_ms,is_fraud,pattern\n"
        f"t1,{NOON_MS + 90},false,\nt1,{NOON_MS + 70},true,card_testing\nt2,{NOON_MS + 60},0,\n"
    )
    stream = read_stream(transactions, "jsonl", NAMES, Truth(labels=read_labels(labels)))
    assert stream.label_time_ms.tolist() == [NOON_MS + 70, NOON_MS + 60, NEVER]
    assert stream.is_fraud.tolist() == [True, False, False]
    assert stream.has_truth.tolist() == [True, True, False]
    judged = stream.judged()
    assert judged.event_time_ms.tolist() == [NOON_MS, NOON_MS + 5]
    assert judged.pattern == ("card_testing", "")


def test_rows_that_cannot_be_scored_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = [a_row(i, NOON_MS + i, is_fraud=i % 2) for i in (1, 2, 2)]
    rows += [a_row(4, NOON_MS, is_fraud=0) | {"currency": "??"}, a_row(5, NOON_MS, is_fraud=0) | {"amount_minor": "x"}]
    path = a_file(tmp_path / "t.jsonl", rows)
    path.write_text(path.read_text() + "not json\n")
    stream = read_stream(path, "jsonl", NAMES, Truth(delay_ms=7))
    assert dict(stream.problems) == {"DUPLICATE": 1, "INVALID_FIELD": 2, "UNREADABLE": 1}
    assert stream.is_fraud.tolist() == [True, False]
    assert (stream.label_time_ms - stream.event_time_ms).tolist() == [7, 7]


def test_a_table_keeps_its_columns_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('Time,word,V1,Class\n0,a,1.5,"0"\n1,b,,"1"\n')
    table = read_table(path, "csv", "Class")
    assert table.names == ("Time", "V1")
    np.testing.assert_array_equal(table.X, np.array([[0, 1.5], [1, np.nan]], np.float32))
    assert table.is_fraud.tolist() == [False, True]
    with pytest.raises(FileError, match="no column 'Label'"):
        read_table(path, "csv", "Label")
    with pytest.raises(FileError, match=r"row 1, column V1: .*neither"):
        read_table(path, "csv", "V1")


@pytest.mark.parametrize("text", ["7", "d", "-1d", "7 weeks", ""])
def test_what_is_no_delay_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        parse_delay(text)


def test_a_label_is_read_in_its_usual_spellings() -> None:
    assert [as_bool(value) for value in (1, "1", 1.0, True, "TRUE", 0, "0", "false", 0.0)] == [True] * 5 + [False] * 4
    with pytest.raises(ValueError, match="neither"):
        as_bool(2)


def test_a_stream_is_evaluated_and_written(tmp_path: Path) -> None:
    path, out = tmp_path / "stream.parquet", tmp_path / "out"
    write_file(CONFIG, ROWS, path, with_truth=True)
    result = run(path, "--learner", "logistic-regression", "--delay", "2h", "--block-seconds", 3600, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"All: {ROWS:,} transactions" in result.stdout
    assert "…" not in result.stdout, "a table is wider than 80 columns"
    assert "By pattern" in result.stdout
    rows = pq.read_table(out / FILE).to_pylist()
    overall = {row["contestant"]: row for row in rows if row["grouping"] == "all"}
    assert overall.keys() == {"batch model", "logistic-regression"}
    assert all(row["transactions"] == ROWS for row in overall.values())
    weeks = [row for row in rows if row["grouping"] == "week" and row["contestant"] == "batch model"]
    assert sum(row["transactions"] for row in weeks) == ROWS
    if importlib.util.find_spec("matplotlib") is not None:
        drawn = {
            f"{name}.{suffix}" for name in ("weeks", "precision-recall", "calibration") for suffix in ("png", "svg")
        }
        assert {file.name for file in out.iterdir()} == drawn | {FILE}


def test_without_matplotlib_the_measures_are_written_and_a_sentence_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "table.csv", tmp_path / "out"
    path.write_text("a,y\n" + "".join(f"{i % 7},{int(i % 7 == 3)}\n" for i in range(400)))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name))
    result = run(path, "--label-column", "y", "--learner", "logistic-regression", "--throughput", "--out", out)
    assert result.exit_code == 0, result.output
    assert [file.name for file in out.iterdir()] == [FILE]
    assert "weir[plots]" in result.stderr
    assert "River, learn_one" in result.stdout
    assert "By week" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--learner", "wizard"], "no learner 'wizard'"),
        (["--by", "day"], "--by day"),
        (["--delay", "soon"], "no length of time"),
        (["--throughput"], "--label-column"),
        (["--label-column", "is_fraud", "--delay", "1d"], "takes no"),
        (["--map", "nothing=account_id"], "no column 'nothing'"),
    ],
)
def test_wrong_usage_is_told_with_status_2(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text("transaction_id,event_time_ms,account_id,counterparty_id,amount_minor,currency,is_fraud\n")
    result = run(path, *arguments)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr.replace("\n", " ")


def test_a_file_without_labels_is_told_in_a_sentence(tmp_path: Path) -> None:
    result = run(a_file(tmp_path / "t.jsonl", [a_row(1, NOON_MS)]))
    assert result.exit_code == 1
    assert "no column 'is_fraud'" in result.stderr
