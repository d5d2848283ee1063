"""A back-test of the ledger in Kafka: decisions of the last days, rules of the control topic, labels of their topic."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from deploy.cli.main import weir
from models.backtest.rule_change import proposed_rules
from models.backtest.summary import DAY_MS, first_day_ms
from models.scoring.decider import rule_columns
from models.scoring.rules import Rule, RuleSet, default_rules
from schemas.records import decode_record, encode_record
from tests.recorded import a_decider, plain_loop, record_stream

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

RULE = {
    "rule_id": "large", "version": 1, "description": "", "expression": "amount > 100", "typology": "one", "weight": 0.5,
}  # fmt: skip
REMOVED = default_rules()[0].rule_id


def run(broker: str, prefix: str, *arguments: object) -> Result:
    options = ["--bootstrap-servers", broker, "--topic-prefix", prefix, "backtest", *map(str, arguments)]
    return CliRunner().invoke(weir, options, env={"COLUMNS": "200"})


def outcomes(rules: tuple[Rule, ...]) -> tuple[list[bytes], dict[str, tuple[int, str]]]:
    decider = a_decider().with_rules(RuleSet.compile(rules, rule_columns()))
    values = plain_loop(record_stream(2_000, seed=21), decider=decider).decisions
    decoded = [decode_record(value) for value in values]
    return values, {d["transaction_id"]: (d["event_time_ms"], d["outcome"]) for d in decoded}


def test_the_last_days_of_the_ledger_are_decided_on_again(broker: str, tmp_path: Path) -> None:
    prefix = f"backtest-{uuid.uuid4().hex[:8]}."
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    topics = [
        NewTopic(f"{prefix}{name}", count, 1) for name, count in (("decisions", 3), ("control", 1), ("labels", 1))
    ]
    for future in admin.create_topics(topics).values():
        future.result(timeout=30)
    current = tuple(rule for rule in default_rules() if rule.rule_id != REMOVED)
    values, before = outcomes(current)
    _, after = outcomes(proposed_rules(current, (Rule.from_record(RULE),), only=False))
    producer = Producer({"bootstrap.servers": broker})
    producer.produce(f"{prefix}control", b"", f"rule/{REMOVED}".encode())
    for value, (time_ms, _) in zip(values, before.values(), strict=True):
        account = decode_record(value)["account_id"].encode()
        producer.produce(f"{prefix}decisions", value, partition=account[-1] % 3, timestamp=time_ms + 50)
        producer.poll(0)
    for i, (name, (time_ms, _)) in enumerate(before.items()):
        label = {
            "transaction_id": name, "account_id": "a", "counterparty_id": "b", "event_time_ms": time_ms,
            "label_time_ms": time_ms + 1, "is_fraud": i % 4 == 0, "source": "chargeback", "pattern": None,
        }  # fmt: skip
        producer.produce(f"{prefix}labels", encode_record("label", label))
    producer.flush()
    (tmp_path / "rule.json").write_text(json.dumps(RULE))

    days = max(time_ms for time_ms, _ in before.values()) // DAY_MS - min(t for t, _ in before.values()) // DAY_MS
    assert days >= 1, "the stream is longer than what is asked for"
    result = run(broker, prefix, tmp_path / "rule.json", "--days", days, "--topic-labels")
    assert result.exit_code == 0, result.output
    since = first_day_ms(max(time_ms for time_ms, _ in before.values()), days)
    counted = [{n for n, (t, o) in found.items() if t >= since and o != "approve"} for found in (before, after)]
    lines = {" ".join(line.split()[:-1]): line.split()[-1] for line in result.output.splitlines() if line.split()}
    transactions = sum(time_ms >= since for time_ms, _ in before.values())
    assert 0 < transactions < len(before)
    expected = {
        "transactions": transactions,
        "alerts by the rules in force": len(counted[0]),
        "alerts by the proposed rules": len(counted[1]),
        "new alerts": len(counted[1] - counted[0]),
        "lost alerts": 0,
        "alerts on record": len(counted[0]),
    }
    assert {name: lines[name] for name in expected} == {name: f"{count:,}" for name, count in expected.items()}
    assert expected["new alerts"] > 0
    assert "labelled transactions" in result.output
    assert REMOVED not in result.output, "the control topic took it out"


def test_a_rule_on_what_the_ledger_does_not_hold_is_refused(broker: str, tmp_path: Path) -> None:
    prefix = f"backtest-{uuid.uuid4().hex[:8]}."
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    for future in admin.create_topics(
        [NewTopic(f"{prefix}{name}", 1, 1) for name in ("decisions", "control")]
    ).values():
        future.result(timeout=30)
    rule = {**asdict(Rule.from_record(RULE)), "expression": "memo LIKE '%gift%'"}
    (tmp_path / "rule.json").write_text(json.dumps(rule))
    result = run(broker, prefix, tmp_path / "rule.json")
    assert result.exit_code == 1
    assert "--file" in result.output
    (tmp_path / "rule.json").write_text(json.dumps(RULE))
    empty = run(broker, prefix, tmp_path / "rule.json")
    assert empty.exit_code == 1
    assert "no transactions" in empty.output
