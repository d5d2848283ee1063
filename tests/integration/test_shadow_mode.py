"""What is on trial beside the running job raises alerts of its own, and changes nothing that is decided.

Invariant: with rules and a model on trial, the ledger and the live alerts are those of a job that knows of neither; the
would-be alerts are those that a decider raises in which the rules and the model are live.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from deploy.local.stack import LocalStack
from jobs.stream.alert_reader import LIVE_OUTCOME_HEADER
from models.scoring.decider import Decider
from models.scoring.explain import alert_id_of
from models.scoring.model import ScoringModel
from models.scoring.pipeline import ScoredRecords, ScoringCore
from models.scoring.rules import Rule
from schemas.records import decode_record, encode_record
from tests.recorded import TEST_MODEL, Recorded, a_decider, assert_same_ledger, comparable, ledger_of, record_stream
from tests.scoring_job import SETTLE_SECONDS, ScoringJob, TopicLog, settled
from tests.waiting import wait_until

# The first job of a clean clone also compiles the kernels, which takes minutes on a busy machine.
pytestmark = [pytest.mark.integration, pytest.mark.flink, pytest.mark.timeout(600)]

EVENTS = 2_000
PROBE = 20  # records that are sent to see whether the rule is on trial
RULE = {
    "rule_id": "large-1",
    "version": 1,
    "description": "An amount of some size.",
    "expression": "amount >= 50",
    "typology": "trial",
    "weight": 0.6,
}


def would_be_alerts(log: TopicLog) -> dict[str, dict[str, Any]]:
    """Decode would-be alerts, which may come twice, by transaction; with what was decided."""
    found = {}
    for message in log.messages:
        alert = comparable(decode_record(message.value(), name="alert"))
        assert message.key().decode() == alert["account_id"]
        outcome = dict(message.headers())[LIVE_OUTCOME_HEADER].decode()
        found[alert["transaction_id"]] = {**alert, "live_outcome": outcome}
    return found


def scored_by(decider: Decider, recorded: Recorded, job: ScoringJob) -> ScoredRecords:
    """Return what a decider makes of the stream, without Flink."""
    reference = job.reference()
    try:
        return ScoringCore(job.core_settings, decider, reference=reference).transactions(recorded.raw())
    finally:
        reference.close()


def by_transaction(alerts: list[bytes]) -> dict[str, dict[str, Any]]:
    """Decode alerts."""
    decoded = [comparable(decode_record(alert, name="alert")) for alert in alerts]
    return {alert["transaction_id"]: alert for alert in decoded}


def assert_as_if_live(found: dict[str, Any], expected: dict[str, Any], outcome: str) -> None:
    """Compare a would-be alert with the alert of a decider in which what is on trial is live."""
    own = {
        "alert_id": alert_id_of(expected["transaction_id"], "shadow"), "mode": "shadow", "live_outcome": outcome,
        "decision_time_ms": found["decision_time_ms"],
    }  # fmt: skip
    assert found == {**expected, **own}


def test_a_rule_on_trial_raises_would_be_alerts_and_changes_no_decision(
    stack: LocalStack, request: pytest.FixtureRequest
) -> None:
    recorded = record_stream(EVENTS, seed=41, duplicate_rate=0, poison_rate=0)
    undisturbed = a_decider()
    with ScoringJob(stack, request.node.name) as job:
        topics = job.settings.topics
        would_be = job.read(topics.shadow_alerts, committed_only=False)
        decisions = job.read(topics.decisions, committed_only=False)
        sent = 0

        def send(count: int) -> None:
            nonlocal sent
            job.send(recorded, sent, sent + count)
            sent += count
            job.flush()
            decisions.wait_for(sent)

        send(200)
        assert not would_be.poll(), "nothing is on trial yet"
        value = encode_record("rule", {**RULE, "mode": "shadow"})
        on_the_wire = {**decode_record(value, name="rule"), "mode": "live"}  # weights travel as float32
        job.send_records(topics.control, [(b"rule/large-1", value)])

        def is_tried() -> bool:
            send(PROBE)
            return bool(would_be.poll())

        wait_until(is_tried, SETTLE_SECONDS, "the rule is on trial")
        begun = sent
        send(len(recorded) - sent)
        found_ledger = settled(job, len(recorded))
        job.wait_for_checkpoints(1)
        would_be.read_to_end()
        alerts = job.read(topics.alerts, committed_only=False)
        alerts.read_to_end()
        expected = scored_by(undisturbed, recorded, job)
        promoted = undisturbed.with_rules(undisturbed.rules.with_rule(Rule.from_record(on_the_wire)))
        raised = by_transaction(scored_by(promoted, recorded, job).alerts)
        assert job.restarts() == 0

    ledger = ledger_of(expected.decisions)
    assert_same_ledger(found_ledger["decisions"].values, ledger, found_ledger["decisions"].keys)
    ids = {decode_record(alert, name="alert")["alert_id"] for alert in expected.alerts}
    assert {decode_record(alert, name="alert")["alert_id"] for alert in alerts.values} == ids
    found = would_be_alerts(would_be)
    offset = {decision["transaction_id"]: place[1] for place, decision in ledger.items()}
    outcome = {decision["transaction_id"]: decision["outcome"] for decision in ledger.values()}
    due = {name for name in raised if offset[name] >= begun}
    assert due <= set(found) <= set(raised)
    assert {outcome[name] for name in due} >= {"approve"}, "the rule raises nothing new, which shows little"
    for name, alert in found.items():
        assert_as_if_live(alert, raised[name], outcome[name])


def test_a_model_on_trial_raises_would_be_alerts_and_changes_no_decision(
    stack: LocalStack, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    recorded = record_stream(EVENTS, seed=43, duplicate_rate=0, poison_rate=0)
    candidate = tmp_path / "candidate"
    shutil.copytree(TEST_MODEL, candidate)
    card = json.loads((candidate / "card.json").read_text())
    card |= {"name": "candidate", "version": "2", "thresholds": {"review": 0.002, "decline": 0.02}}
    (candidate / "card.json").write_text(json.dumps(card))
    undisturbed = a_decider()
    with ScoringJob(stack, request.node.name, shadow_models_dir=candidate) as job:
        would_be = job.read(job.settings.topics.shadow_alerts, committed_only=False)
        job.send(recorded)
        job.flush()
        found_ledger = settled(job, len(recorded))
        would_be.read_to_end()
        expected = ledger_of(scored_by(undisturbed, recorded, job).decisions)
        promoted = undisturbed.with_model(ScoringModel.load(candidate))
        raised = by_transaction(scored_by(promoted, recorded, job).alerts)
        assert job.restarts() == 0
    assert_same_ledger(found_ledger["decisions"].values, expected, found_ledger["decisions"].keys)
    outcome = {decision["transaction_id"]: decision["outcome"] for decision in expected.values()}
    found = would_be_alerts(would_be)
    assert set(found) == set(raised)
    assert {outcome[name] for name in found} >= {"approve"}, "the model raises nothing new, which shows little"
    for name, alert in found.items():
        assert_as_if_live(alert, raised[name], outcome[name])
        assert alert["model_name"] == "candidate"
