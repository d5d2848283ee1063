"""Back-tests against an oracle: everything is decided by the plain loop with each rule set, and compared."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deploy.cli.backtest.results import ALERTS, DAYS, PAGE, RULES
from deploy.cli.backtest.sources import evaluate_decisions, first_day_ms
from deploy.cli.main import weir
from models.backtest.evaluation import Backtest, Evaluated
from models.backtest.ledger import LedgerBlocks, unreadable
from models.backtest.rule_change import RuleChange, proposed_rules
from models.backtest.summary import DAY_MS, days_of, rules_of
from models.replay.deciders import VersionError
from models.scoring.decider import rule_columns
from models.scoring.rules import Rule, RuleSet, default_rules
from schemas.container import ContainerWriter
from schemas.records import decode_record
from tests.recorded import Recorded, a_decider, plain_loop
from tests.transaction_files import as_recorded, rows_of, write

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""An example takes a second: to look for a smaller one would take minutes."""
QUICK: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "phases": PHASES}
EXPRESSIONS = (
    "amount > {}",
    "pair_is_new = 1 AND amount > {}",
    "channel = 'card_not_present' AND amount < {}",
    "account_out_count_1d >= {} / 20",
    "amount_minor > {} * 100",
)
SEED = 17
EVENTS = 700


@cache
def stream() -> Recorded:
    """Return a stream of some days, with duplicates and records that are refused."""
    return as_recorded([row for row in rows_of(EVENTS, SEED) if row["transaction_id"]])


@cache
def decided(rules: tuple[Rule, ...]) -> tuple[dict[str, Any], ...]:
    """Decide on the stream by rules, with the plain loop."""
    decider = a_decider().with_rules(RuleSet.compile(rules, rule_columns()))
    return tuple(decode_record(value) for value in plain_loop(stream(), decider=decider).decisions)


@cache
def ledger(rules: tuple[Rule, ...]) -> tuple[bytes, ...]:
    decider = a_decider().with_rules(RuleSet.compile(rules, rule_columns()))
    return tuple(plain_loop(stream(), decider=decider).decisions)


def alerts(decisions: tuple[dict[str, Any], ...]) -> dict[int, set[str]]:
    """Return alerts by day."""
    found: dict[int, set[str]] = {}
    for decision in decisions:
        if decision["outcome"] != "approve":
            found.setdefault(decision["event_time_ms"] // DAY_MS, set()).add(decision["transaction_id"])
    return found


@st.composite
def given_rules(draw: st.DrawFn) -> tuple[Rule, ...]:
    """Draw some rules; the first may take the place of a shipped one, or take it out."""
    rules = []
    for i in range(draw(st.integers(1, 4))):
        rules.append(
            Rule(
                rule_id=f"planted-{i}",
                version=1,
                description="",
                expression=draw(st.sampled_from(EXPRESSIONS)).format(draw(st.integers(1, 400))),
                typology=draw(st.sampled_from(["one", "two", "account_takeover"])),
                weight=draw(st.sampled_from([0.3, 0.5, 1.0])),
                review_threshold=draw(st.sampled_from([0.3, 0.5, 0.8])),
                decline_threshold=draw(st.sampled_from([0.8, 1.0, 2.0])),
            )
        )
    kind = draw(st.sampled_from(["added", "replaced", "removed"]))
    if kind != "added":
        shipped = draw(st.sampled_from([rule.rule_id for rule in default_rules()]))
        rules[0] = dataclasses.replace(rules[0], rule_id=shipped, is_enabled=kind == "replaced")
    return tuple(rules)


def of_ledger(change: RuleChange, values: tuple[bytes, ...], days: int = 10_000, cut: int = 150) -> Evaluated:
    model = a_decider().model
    assert model is not None
    blocks = LedgerBlocks({model.card_sha256: model.thresholds})
    parts = [values[start : start + cut] for start in range(0, len(values), cut)]
    return evaluate_decisions(parts, blocks, Backtest(change), days, lambda rows: None).evaluated


def compare(
    evaluated: Evaluated, change: RuleChange, before: tuple[dict[str, Any], ...], after: tuple[dict[str, Any], ...]
) -> None:
    """Compare a back-test with what the plain loop decided."""
    one, other = alerts(before), alerts(after)
    counts = Counter(decision["event_time_ms"] // DAY_MS for decision in before)
    for day in days_of(evaluated):
        at = day.start_ms // DAY_MS
        was, becomes = one.get(at, set()), other.get(at, set())
        expected = (counts[at], len(was), len(becomes), len(becomes - was), len(was - becomes))
        assert (day.transactions, day.before, day.after, day.new, day.lost) == expected
    changed = {b["transaction_id"] for b, a in zip(before, after, strict=True) if b["outcome"] != a["outcome"]}
    assert {transaction for transaction, _ in evaluated.ids.values()} == changed
    np.testing.assert_allclose(evaluated.score, [d["score"] for d in before])
    hits = [
        Counter(hit["rule_id"] for decision in decisions for hit in decision["explanation"]["rule_hits"])
        for decisions in (before, after)
    ]
    in_alerts = Counter(
        hit["rule_id"] for d in after if d["outcome"] != "approve" for hit in d["explanation"]["rule_hits"]
    )
    for result in rules_of(evaluated, change):
        name = result.rule.rule_id
        assert (result.hits_before, result.hits, result.alerts) == (hits[0][name], hits[1][name], in_alerts[name])


@settings(max_examples=30, **QUICK)
@given(rules=given_rules(), only=st.booleans(), cut=st.integers(1, 300))
def test_a_back_test_on_decisions_is_what_the_plain_loop_decides(rules: tuple[Rule, ...], only: bool, cut: int) -> None:
    proposed = proposed_rules(default_rules(), rules, only)
    change = RuleChange(default_rules(), proposed, rule_columns())
    evaluated = of_ledger(change, ledger(default_rules()), cut=cut)
    compare(evaluated, change, decided(default_rules()), decided(proposed))
    assert evaluated.recorded is not None
    np.testing.assert_array_equal(evaluated.recorded, evaluated.before)


@settings(max_examples=10, **QUICK)
@given(rules=given_rules())
def test_what_a_rule_causes_alone_is_what_is_missing_without_it(rules: tuple[Rule, ...]) -> None:
    change = RuleChange(default_rules(), rules, rule_columns())
    evaluated = of_ledger(change, ledger(default_rules()))
    whole = {t for found in alerts(decided(rules)).values() for t in found}
    for result in rules_of(evaluated, change):
        if result.state == "removed":
            assert (result.hits, result.alerts, result.alone) == (0, 0, 0)
            continue
        without = tuple(rule for rule in rules if rule.rule_id != result.rule.rule_id)
        left = {t for found in alerts(decided(without)).values() for t in found}
        assert result.alone == len(whole - left)


def test_the_examples_above_hold_what_they_are_about() -> None:
    rules = (Rule("planted-0", 1, "", "amount > 100", "one", 0.5), Rule("planted-1", 1, "", "amount > 120", "one", 0.5))
    change = RuleChange(default_rules(), proposed_rules(default_rules(), rules, False), rule_columns())
    evaluated = of_ledger(change, ledger(default_rules()))
    results = {result.rule.rule_id: result for result in rules_of(evaluated, change)}
    assert results["planted-0"].alone > 0, "it alone reaches the threshold between 100 and 120"
    assert results["planted-1"].hits > 0
    assert results["planted-1"].alone == 0
    assert any(decision["explanation"]["warming"] for decision in decided(default_rules()))
    assert len(days_of(evaluated)) > 1


def test_labels_say_how_good_the_hits_of_a_rule_are() -> None:
    rules = (Rule("planted-0", 1, "", "amount > 100", "one", 0.5),)
    change = RuleChange(default_rules(), rules, rule_columns())
    evaluated = of_ledger(change, ledger(default_rules()))
    rng = np.random.default_rng(1)
    is_labelled, is_fraud = rng.random(len(evaluated)) < 0.6, rng.random(len(evaluated)) < 0.3
    (result,) = [r for r in rules_of(evaluated, change, is_labelled, is_fraud) if r.state == "added"]
    hit = np.array([d["explanation"]["rule_hits"] != [] for d in decided(rules)])
    known = hit & is_labelled
    assert (result.labelled, result.frauds) == (known.sum(), (known & is_fraud).sum())
    assert result.precision == pytest.approx((known & is_fraud).sum() / known.sum())
    assert result.recall == pytest.approx((known & is_fraud).sum() / (is_labelled & is_fraud).sum())


def test_of_the_last_days_nothing_older_counts() -> None:
    rules = (Rule("planted-0", 1, "", "amount > 100", "one", 0.5),)
    change = RuleChange(default_rules(), rules, rule_columns())
    newest = max(d["event_time_ms"] for d in decided(default_rules()))
    evaluated = of_ledger(change, ledger(default_rules()), days=1)
    since = first_day_ms(newest, 1)
    before, after = (tuple(d for d in decided(r) if d["event_time_ms"] >= since) for r in (default_rules(), rules))
    assert 0 < len(before) < len(decided(default_rules()))
    compare(evaluated, change, before, after)


def test_what_a_ledger_cannot_answer_is_refused() -> None:
    rules = (Rule("gift", 1, "", "memo LIKE '%gift%' AND amount > 1", "one", 0.5),)
    assert unreadable(RuleSet.compile(rules, rule_columns())) == {"gift": ("memo",)}
    change = RuleChange(default_rules(), (), rule_columns())
    with pytest.raises(VersionError, match="give --model"):
        evaluate_decisions([ledger(default_rules())], LedgerBlocks({}), Backtest(change), 30, lambda rows: None)


def backtest(*arguments: object) -> Result:
    return CliRunner().invoke(weir, ["backtest", *map(str, arguments)], env={"COLUMNS": "220"})


def cells(output: str, name: str) -> list[str]:
    return next(line.split()[1:] for line in output.splitlines() if line.split()[:1] == [name])


@pytest.fixture
def rule_file(tmp_path: Path) -> Path:
    """Write two rules: one reads what a ledger holds, the other a field of the transaction alone."""
    path = tmp_path / "rules.json"
    rules = [
        {"rule_id": "large", "description": "", "expression": "amount > 100", "typology": "one", "weight": 0.5},
        {"rule_id": "abroad", "description": "", "expression": "counterparty_country <> 'DE'", "typology": "two",
         "weight": 0.5},
    ]  # fmt: skip
    path.write_text(json.dumps(rules))
    return path


def in_file(path: Path) -> tuple[Rule, ...]:
    return tuple(Rule.from_record({"version": 1, **record}) for record in json.loads(path.read_text()))


def test_a_file_is_tested_as_the_plain_loop_decides_and_its_features_are_kept(rule_file: Path, tmp_path: Path) -> None:
    rows = [row for row in rows_of(EVENTS, SEED) if row["transaction_id"]]
    path = write(rows, tmp_path / "rows.parquet")
    before, after = (
        decided(default_rules()), decided(proposed_rules(default_rules(), in_file(rule_file), False)),
    )  # fmt: skip
    labels = [
        {"transaction_id": d["transaction_id"], "label_time_ms": 1, "is_fraud": i % 5 == 0, "pattern": "p"}
        for i, d in enumerate(before)
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(label) + "\n" for label in labels))
    options = ("--file", path, "--days", 10_000, "--labels", tmp_path / "labels.jsonl", "--out", tmp_path / "out")
    first = backtest(rule_file, *options)
    assert first.exit_code == 0, first.output
    assert "as kept in" not in first.output
    one, other = alerts(before), alerts(after)
    days = {row["start_ms"] // DAY_MS: row for row in pq.read_table(tmp_path / "out" / DAYS).to_pylist()}
    for at in {*one, *other}:
        was, becomes = one.get(at, set()), other.get(at, set())
        assert [days[at][name] for name in ("before", "after", "new", "lost")] == [
            len(was), len(becomes), len(becomes - was), len(was - becomes),
        ]  # fmt: skip
    changed = {b["transaction_id"]: a for b, a in zip(before, after, strict=True) if b["outcome"] != a["outcome"]}
    found = pq.read_table(tmp_path / "out" / ALERTS).to_pylist()
    assert {row["transaction_id"]: row["outcome_proposed"] for row in found} == {
        name: decision["outcome"] for name, decision in changed.items()
    }
    for row in found:
        expected = [hit["rule_id"] for hit in changed[row["transaction_id"]]["explanation"]["rule_hits"]]
        assert sorted(row["rules"]) == sorted(expected)
    frauds = {label["transaction_id"] for label in labels if label["is_fraud"]}
    stopped = sum(d["outcome"] != "approve" and d["transaction_id"] in frauds for d in after)
    assert cells(first.output, "recall")[1] == f"{stopped / len(frauds):.3g}"
    by_rule = {row["rule_id"]: row for row in pq.read_table(tmp_path / "out" / RULES).to_pylist()}
    hit = [d["transaction_id"] for d in after if "large" in {h["rule_id"] for h in d["explanation"]["rule_hits"]}]
    assert (by_rule["large"]["state"], by_rule["large"]["hits"]) == ("added", len(hit))
    assert by_rule["large"]["precision"] == pytest.approx(len(frauds & set(hit)) / len(hit))
    page = (tmp_path / "out" / PAGE).read_text()
    assert "large" in page
    assert "Back-test of rules.json" in page

    again = backtest(rule_file, *options)
    assert "features and scores are as kept in" in again.output
    assert again.stdout == first.stdout
    kept = backtest(rule_file, *options, "--no-cache")
    assert "as kept in" not in kept.output
    assert kept.stdout == first.stdout
    rows[0]["amount_minor"] += 1
    write(rows, path)
    assert "as kept in" not in backtest(rule_file, *options).output, "another content has other features"


def test_a_file_of_decisions_is_a_ledger(rule_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "decisions.avro"
    with ContainerWriter(path, "decision") as writer:
        writer.add(ledger(default_rules()))
    refused = backtest(rule_file, "--decisions", path)
    assert refused.exit_code == 1
    assert "rule abroad reads counterparty_country, which decisions do not hold" in refused.output
    rule_file.write_text(json.dumps(json.loads(rule_file.read_text())[0]))
    result = backtest(rule_file, "--decisions", path, "--days", 10_000, "--only")
    assert result.exit_code == 0, result.output
    proposed = in_file_one(rule_file)
    expected = sum(decision["outcome"] != "approve" for decision in decided(proposed))
    line = next(line for line in result.output.splitlines() if "alerts by the proposed rules" in line)
    assert line.split()[-1] == f"{expected:,}"
    assert cells(result.output, default_rules()[0].rule_id)[0] == "removed"


def in_file_one(path: Path) -> tuple[Rule, ...]:
    return (Rule.from_record({"version": 1, **json.loads(path.read_text())}),)
