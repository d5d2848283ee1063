"""`weir replay --file`: the decisions of the plain loop, every row accounted for, the same bytes however it is cut."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deploy.cli.main import weir
from deploy.cli.replay.file_run import ALERTS, DEAD_LETTERS, DECISIONS
from deploy.cli.row_files import read_rows
from deploy.cli.transaction_file import TransactionFile
from models.scoring.core_settings import CoreSettings
from models.scoring.home_stage import HomeStage
from models.state_map import MemoryState
from schemas.columns import StringColumn, TransactionColumns
from schemas.container import decisions_in
from schemas.records import decode_record
from tests.recorded import comparable, ledger_of, plain_loop
from tests.transaction_files import as_recorded, rows_of, write

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(weir, ["replay", *map(str, arguments)], env={"COLUMNS": "200"})


def replayed(path: Path, out: Path, *options: object) -> str:
    """Replay a file; return what was said."""
    result = run("--file", path, "--out", out, *options)
    assert result.exit_code == 0, result.output
    return result.output


def decisions(out: Path) -> list[bytes]:
    return [value for part in decisions_in(out / DECISIONS) for value in part]


def dead_letters(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / DEAD_LETTERS).read_text().splitlines()]


def account_line(output: str) -> str:
    return next(line for line in output.splitlines() if " rows = " in line)


def contents(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in (DECISIONS, ALERTS, DEAD_LETTERS)]


def test_a_file_gives_the_decisions_of_the_plain_loop(tmp_path: Path) -> None:
    rows = [row for row in rows_of(1_500, 11) if row["transaction_id"]]
    expected = plain_loop(as_recorded(rows), (333,))
    output = replayed(write(rows, tmp_path / "rows.parquet"), tmp_path / "out", "--run-id", "mine")
    assert ledger_of(decisions(tmp_path / "out")) == ledger_of(expected.decisions)
    assert len(decisions(tmp_path / "out")) == len(expected.decisions)
    found = dead_letters(tmp_path / "out")
    assert [(letter["row"] - 1, letter["error"]) for letter in found] == sorted(expected.rejected)
    assert expected.rejected
    assert expected.duplicates
    line = account_line(output)
    assert line.startswith(
        f"{len(rows):,} rows = {len(expected.decisions):,} decisions + {len(expected.rejected):,} dead letters + "
        f"{expected.duplicates:,} duplicates;"
    )
    with (tmp_path / "out" / ALERTS).open("rb") as file:
        alerts: list[Any] = list(fastavro.reader(file))
    alerted = [d["transaction_id"] for v in expected.decisions if (d := decode_record(v))["outcome"] != "approve"]
    assert alerted
    assert [alert["transaction_id"] for alert in alerts] == alerted
    assert {(alert["mode"], alert["run_id"]) for alert in alerts} == {("replay", "mine")}
    processing = [decode_record(value)["processing"] for value in decisions(tmp_path / "out")]
    assert {(p["mode"], p["run_id"]) for p in processing} == {("replay", "mine")}


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(seed=st.integers(0, 1_000), order=st.sampled_from(["file", "time"]), cuts=st.tuples(*[st.integers(1, 900)] * 2))
def test_the_same_bytes_whatever_the_batches(
    seed: int, order: str, cuts: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cuts")
    path = write(rows_of(400, seed), folder / "rows.parquet")
    for i, cut in enumerate(cuts):
        replayed(path, folder / str(i), "--batch-rows", cut, "--order", order)
    assert contents(folder / "0") == contents(folder / "1")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".avro"])
def test_every_format_gives_the_same_decisions(suffix: str, tmp_path: Path) -> None:
    rows = [row for row in rows_of(400, 5) if row["transaction_id"] or suffix != ".avro"]
    outputs = []
    for name in ("rows.parquet", f"rows{suffix}"):
        outputs.append(account_line(replayed(write(rows, tmp_path / name), tmp_path / name[4:])).split(";")[0])
    one, other = decisions(tmp_path / ".parquet"), decisions(tmp_path / suffix)
    assert [comparable(decode_record(v)) for v in one] == [comparable(decode_record(v)) for v in other]
    assert outputs[0] == outputs[1]
    codes = [[(d["row"], d["error"]) for d in dead_letters(tmp_path / name)] for name in (".parquet", suffix)]
    assert codes[0] == codes[1]


def test_columns_say_what_rows_say(tmp_path: Path) -> None:
    rows = rows_of(300, 6, bad=False)
    rows[4]["memo"] = rows[5]["device_id"] = rows[6]["account_country"] = ""
    path = write(rows, tmp_path / "rows.parquet")
    by_columns = TransactionFile(path)
    assert by_columns._fields is not None, "the fast way is taken"
    by_rows = TransactionFile(path)
    by_rows._fields = None
    (one,), (other,) = list(by_columns.blocks()), list(by_rows.blocks())
    assert [decode_record(v or b"") for v in one.records.values] == [
        decode_record(v or b"") for v in other.records.values
    ]
    assert one.records.offset.tolist() == other.records.offset.tolist()
    assert one.records.timestamp_ms.tolist() == other.records.timestamp_ms.tolist()
    assert (one.share, one.bad, len(next(iter(read_rows(path, "parquet"))))) == (1.0, (), len(rows))


def fields_of(columns: TransactionColumns) -> dict[str, Any]:
    return {
        name: [value.bytes_at(i) for i in range(len(columns))] if isinstance(value, StringColumn) else value.tolist()
        for name in columns.__slots__
        if name not in ("attribute_names", "evidence")  # a file has no references
        for value in (getattr(columns, name),)
    }


@pytest.mark.parametrize("max_record_bytes", [1 << 20, 260])
def test_rows_read_on_columns_are_taken_in_like_their_records(max_record_bytes: int, tmp_path: Path) -> None:
    rows = [row for row in rows_of(600, 7) if row["transaction_id"]]
    rows[4]["memo"] = rows[5]["device_id"] = rows[6]["account_country"] = ""
    rows[7]["memo"] = "long " * 40
    (block,) = TransactionFile(write(rows, tmp_path / "rows.parquet")).blocks()
    assert block.records.decoded is not None
    core = CoreSettings(max_record_bytes=max_record_bytes)
    as_columns = HomeStage(core, MemoryState()).transactions(block.records, 5)
    as_records = HomeStage(core, MemoryState()).transactions(replace(block.records, decoded=None), 5)
    assert as_columns.batch is not None
    assert as_records.batch is not None
    assert fields_of(as_columns.batch.columns) == fields_of(as_records.batch.columns)
    assert as_columns.batch.offset.tolist() == as_records.batch.offset.tolist()
    assert as_columns.rejected == as_records.rejected
    assert any(r.stage == "decode" for r in as_columns.rejected) == (max_record_bytes < 1000)
    assert any(r.stage == "validate" for r in as_columns.rejected)
    assert as_columns.duplicates.tolist() == as_records.duplicates.tolist()
    for one, other in zip(as_columns.touches, as_records.touches, strict=True):
        assert one.tobytes() == other.tobytes()


def test_unreadable_rows_become_dead_letters_with_what_they_say(tmp_path: Path) -> None:
    rows = rows_of(200, 8)
    path = write(rows, tmp_path / "rows.parquet")
    output = replayed(path, tmp_path / "out")
    found = dead_letters(tmp_path / "out")
    without_id = [number for number, row in enumerate(rows, 1) if row["transaction_id"] is None]
    assert without_id
    assert [d["row"] for d in found if d["error"] == "INVALID_FIELD"] == without_id
    for letter in found:
        assert letter["content"]["amount_minor"] == rows[letter["row"] - 1]["amount_minor"]
        assert letter["message"]
    for code, count in Counter(d["error"] for d in found).items():
        assert f"{count:,}  {code}" in output


def test_what_lies_outside_the_range_only_fills_the_windows(tmp_path: Path) -> None:
    rows = rows_of(800, 9)
    path = write(rows, tmp_path / "rows.parquet")
    replayed(path, tmp_path / "all")
    whole = [comparable(decode_record(value)) for value in decisions(tmp_path / "all")]
    times = sorted(d["event_time_ms"] for d in whole)
    begin, end = times[len(times) // 2], times[3 * len(times) // 4]

    def iso(ms: int) -> str:
        from jobs.stream.replay.range import moment

        return moment(ms)

    output = replayed(path, tmp_path / "part", "--from", iso(begin), "--to", iso(end))
    part = [comparable(decode_record(value)) for value in decisions(tmp_path / "part")]
    assert part == [d for d in whole if begin <= d["event_time_ms"] < end]
    assert "only fills the windows" in output
    numbers = [int(word.replace(",", "")) for word in account_line(output).split(";")[0].split() if word[0].isdigit()]
    assert numbers[0] == sum(numbers[1:]) == len(rows)
    assert "outside the range" in account_line(output)


def test_in_the_order_of_time_a_shuffled_file_decides_as_a_sorted_one(tmp_path: Path) -> None:
    rows = sorted(rows_of(500, 12, bad=False), key=lambda row: row["event_time_ms"])
    rows = list({row["event_time_ms"]: row for row in rows}.values())  # times that tell the order
    replayed(write(rows, tmp_path / "sorted.parquet"), tmp_path / "sorted")
    replayed(write(rows[::-1], tmp_path / "shuffled.parquet"), tmp_path / "shuffled", "--order", "time")

    def without_place(out: Path) -> list[dict[str, Any]]:
        found = [comparable(decode_record(value)) for value in decisions(out)]
        return [{name: value for name, value in d.items() if name != "source_offset"} for d in found]

    assert without_place(tmp_path / "sorted") == without_place(tmp_path / "shuffled")


def test_one_account_other_rules_and_a_dry_run(tmp_path: Path) -> None:
    rows = rows_of(300, 13)
    path = write(rows, tmp_path / "rows.jsonl")
    rule = {
        "rule_id": "all", "version": 1, "description": "", "expression": "amount >= 0", "typology": "t", "weight": 1.0,
    }  # fmt: skip
    (tmp_path / "rules.json").write_text(json.dumps([rule]))
    account = rows[0]["account_id"]
    output = replayed(path, tmp_path / "out", "--account", account, "--rules", tmp_path / "rules.json")
    found = [decode_record(value) for value in decisions(tmp_path / "out")]
    assert {(d["account_id"], d["outcome"]) for d in found} == {(account, "decline")}
    assert "of other accounts" in account_line(output)
    result = run("--file", path, "--out", tmp_path / "none", "--dry-run")
    assert f"{len(rows):,} rows" in result.output
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--speed", "1x"], "--speed is of replays from Kafka"),
        (["--order", "recorded"], "a file has the orders file and time"),
        (["--from", "2024-02-01", "--to", "2024-01-01"], "the range is empty"),
        (["--model", "nothing@1"], "there is no such model"),
        (["--format", "avro"], "no Avro container file"),
    ],
)
def test_mistakes_get_a_sentence(options: list[str], message: str, tmp_path: Path) -> None:
    path = write(rows_of(5, 1), tmp_path / "rows.jsonl")
    result = run("--file", path, "--out", tmp_path / "out", *options)
    assert result.exit_code != 0
    assert message in result.output
    assert not (tmp_path / "out" / DECISIONS).exists()
