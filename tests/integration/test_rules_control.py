"""Rules come, change and go on the control topic while the job runs; a broken one is a dead letter and harms nothing.

Invariant: a decision names the version of the rule set that it was made with, and the rules that hit; records after a
change was applied are decided with it, without a restart.
"""

from __future__ import annotations

from typing import Any

import pytest

from deploy.local.stack import LocalStack
from schemas.records import decode_record, encode_record
from tests.recorded import Recorded, record_stream
from tests.scoring_job import SETTLE_SECONDS, ScoringJob, TopicLog
from tests.waiting import wait_until

# The first job of a clean clone also compiles the kernels, which takes minutes on a busy machine.
pytestmark = [pytest.mark.integration, pytest.mark.flink, pytest.mark.timeout(600)]

KEY = b"rule/everything-1"
PROBE = 20  # records that are sent to see which rules are in force


def a_rule(**overrides: Any) -> bytes:
    """Encode a rule that hits every transaction and counts too little to change an outcome."""
    rule = {
        "rule_id": "everything-1",
        "version": 1,
        "description": "Hits every transaction.",
        "expression": "amount_minor >= 0",
        "typology": "everything",
        "weight": 0.01,
        **overrides,
    }
    return encode_record("rule", rule)


class Rules:
    """Sends small groups of records until their decisions show a rule set."""

    def __init__(self, job: ScoringJob, recorded: Recorded) -> None:
        self.job = job
        self.recorded = recorded
        self.sent = 0
        self.decisions: TopicLog = job.read(job.settings.topics.decisions, committed_only=False)
        self.versions: list[str] = []

    def newest(self) -> dict[str, Any]:
        """Decide on further records; return the last of their decisions."""
        self.job.send(self.recorded, self.sent, self.sent + PROBE)
        self.sent += PROBE
        self.job.flush()
        self.decisions.wait_for(self.sent)
        decision = decode_record(self.decisions.messages[-1].value(), name="decision")
        return decision

    def wait_until_hit(self, version: int | None) -> dict[str, Any]:
        """Send records until the rule hits in that version, or no more; return such a decision."""
        found: dict[str, Any] = {}

        def so() -> bool:
            found.update(self.newest())
            hits = {hit["rule_id"]: hit["version"] for hit in found["explanation"]["rule_hits"]}
            return hits.get("everything-1") == version

        wait_until(so, SETTLE_SECONDS, f"version {version} of the rule is in force")
        return found


def test_rules_are_added_changed_and_removed_without_a_restart(
    stack: LocalStack, request: pytest.FixtureRequest
) -> None:
    recorded = record_stream(4_000, seed=31, duplicate_rate=0, poison_rate=0)
    with ScoringJob(stack, request.node.name) as job:
        control = job.settings.topics.control
        rules = Rules(job, recorded)
        dead_letters = job.read(job.settings.topics.dead_letters)
        shipped = rules.wait_until_hit(None)["rules_version"]

        job.send_records(control, [(KEY, a_rule())])
        added = rules.wait_until_hit(1)["rules_version"]
        assert added != shipped

        broken = [
            (b"rule/typo-1", a_rule(rule_id="typo-1", expression="amount_mionr > 5")),
            (b"rule/other-1", a_rule()),  # the key names another rule
            (b"rule/bytes-1", b"\xfenot a rule"),
            (b"nothing/we-know", a_rule()),
            (b"rule/\xff", None),  # removes a rule that no text can name
        ]
        job.send_records(control, broken)
        dead_letters.wait_for(len(broken))
        assert [(m.key(), m.value()) for m in dead_letters.messages] == broken
        for message in dead_letters.messages:
            headers = {name.removeprefix("__connect.errors."): text.decode() for name, text in message.headers()}
            assert (headers["topic"], headers["stage"]) == (control, "control")
            assert headers["exception.class.name"] == "INVALID_CONTROL"
            assert headers["exception.message"]
        assert rules.wait_until_hit(1)["rules_version"] == added, "a broken rule must not change those in force"

        job.send_records(control, [(KEY, a_rule(version=2, expression="amount_minor > 1"))])
        changed = rules.wait_until_hit(2)["rules_version"]
        assert changed not in (shipped, added)

        job.send_records(control, [(KEY, None)])
        removed = rules.wait_until_hit(None)["rules_version"]
        assert removed == shipped
        job.wait_for_checkpoints(1)
        dead_letters.read_to_end()
        assert len(dead_letters) == len(broken)
        assert job.restarts() == 0
