"""`weir replay diff` on files of decisions: terminal, Parquet and page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import fastavro
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from deploy.cli.context import CommandContext
from deploy.cli.replay.diff import command
from models.scoring.decider import rule_columns
from models.scoring.rules import RuleSet, default_rules
from schemas.records import decode_record
from schemas.versions import current
from tests.recorded import a_decider, plain_loop, record_stream


def decisions(threshold: int) -> list[bytes]:
    rule = dataclasses.replace(
        default_rules()[0], rule_id="large", expression=f"amount_minor > {threshold}", typology="planted", weight=0.6
    )
    rules = RuleSet.compile((*default_rules(), rule), rule_columns())
    return plain_loop(record_stream(800, seed=9), decider=a_decider().with_rules(rules)).decisions


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write two runs whose rules differ in one threshold."""
    folder = tmp_path_factory.mktemp("runs")
    for name, threshold in (("a", 50_000), ("b", 40_000)):
        with (folder / f"{name}.avro").open("wb") as file:
            records = [decode_record(value, name="decision") for value in decisions(threshold)]
            fastavro.writer(file, current("decision").parsed, records)
    return folder / "a.avro", folder / "b.avro"


def diff(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments], obj=CommandContext(), env={"COLUMNS": "200"})


def new_alerts(runs: tuple[Path, Path]) -> set[str]:
    outcomes = []
    for path in runs:
        with path.open("rb") as file:
            outcomes.append({r["transaction_id"]: r["outcome"] for r in fastavro.reader(file)})  # type: ignore[index, call-overload]
    return {key for key, outcome in outcomes[1].items() if outcome != "approve" and outcomes[0][key] == "approve"}


def test_a_changed_threshold_shows_in_terminal_parquet_and_page(runs: tuple[Path, Path], tmp_path: Path) -> None:
    expected = new_alerts(runs)
    result = diff(*runs, "--without-labels", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    row = next(line for line in result.output.splitlines() if line.strip().startswith("new alerts"))
    assert row.split()[-1] == f"{len(expected):,}"
    assert "RULE:large" in result.output
    table = pq.read_table(tmp_path / "difference.parquet").to_pylist()
    assert {row["transaction_id"] for row in table if row["kind"] == "new"} == expected
    assert all("RULE:large" in row["reasons_b"] for row in table if row["kind"] == "new")
    page = (tmp_path / "report.html").read_text()
    assert "RULE:large" in page
    assert f"<td>new alerts</td><td>{len(expected):,}</td>" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ), "the page needs nothing else"


def test_labels_say_what_the_change_is_worth(runs: tuple[Path, Path], tmp_path: Path) -> None:
    expected = sorted(new_alerts(runs))
    labels = tmp_path / "labels.jsonl"
    lines = [
        {"transaction_id": key, "label_time_ms": 1, "is_fraud": i % 2 == 0, "pattern": "planted"}
        for i, key in enumerate(expected)
    ]
    labels.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = diff(*runs, "--labels", labels)
    assert result.exit_code == 0, result.output
    lines_by_name = {" ".join(line.split()[:1]): line.split() for line in result.output.splitlines() if line.split()}
    frauds = -(-len(expected) // 2)
    assert lines_by_name["recall"][1:3] == ["0", "1"]
    assert lines_by_name["planted"][1:4] == [str(frauds), "0", str(frauds)]


def test_equal_runs_end_with_status_0_and_others_with_1_if_asked(runs: tuple[Path, Path]) -> None:
    assert diff(runs[0], runs[0], "--without-labels", "--exit-code").exit_code == 0
    assert diff(runs[0], runs[1], "--without-labels", "--exit-code").exit_code == 1
