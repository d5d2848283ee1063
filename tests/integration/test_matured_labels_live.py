"""Labels on the real stack: label, matured label, risk feature of a later decision, with both jobs running.

Invariants: with `risk_labels` matured a counterparty's risk follows the label that holds, and nothing else: no lower
source that contradicts it, no rule, no repetition; a correction is followed. Every verdict stands on `matured-labels`
once. What was decided so is recomputed from the log to the same bytes, and replayed in the log's order to the same
bytes whatever the batches.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from deploy.cli.replay.planning import plan
from deploy.cli.replay.verifying import verify
from deploy.local.stack import LocalStack
from jobs.replay import core_of, open_deciders, open_source
from jobs.settings import Settings
from jobs.stream.replay.batch_source import tell_nobody
from models.features.catalogue import FEATURE_NAMES
from models.replay.audit import EQUAL
from models.replay.core import ReplayCore
from models.scoring.decide_batch import Run
from schemas.records import decode_record, encode_record
from tests.builders import a_label, a_transaction
from tests.replayed import bodies
from tests.scoring_job import SETTLE_SECONDS, ScoringJob, TopicLog
from tests.waiting import wait_until

# The first job of a clean clone also compiles the kernels, which takes minutes on a busy machine.
pytestmark = [pytest.mark.integration, pytest.mark.flink, pytest.mark.timeout(900)]

DAY_MS = 86_400_000
RISK, FRAUDS = (FEATURE_NAMES.index(name) for name in ("counterparty_risk_30d", "counterparty_fraud_count_30d"))


class Story:
    """Sends transactions and labels, and looks at what decisions say of a merchant."""

    def __init__(self, job: ScoringJob) -> None:
        self.job, self.sent = job, 0
        self.log: TopicLog = job.read(job.settings.topics.decisions, committed_only=False)
        self.about: dict[str, dict[str, Any]] = {}

    def pay(self, merchant: str, days_ago: int = 0) -> dict[str, Any]:
        """Let a customer who never came before pay; return the decision."""
        now = time.time_ns() // 1_000_000
        self.sent += 1
        name = f"t{self.sent}"
        payment = a_transaction(
            transaction_id=name, account_id=f"customer-{self.sent}", counterparty_id=merchant, device_id=None,
            event_time_ms=now - days_ago * DAY_MS,
        )  # fmt: skip
        self.about[name] = payment
        self.job.produce(self.job.settings.topics.transactions, 0, now, encode_record("transaction", payment))
        self.job.flush()
        self.log.wait_for(self.sent)
        return decode_record(self.log.values[-1], name="decision")

    def label(self, name: str, source: str, is_fraud: bool) -> None:
        now = time.time_ns() // 1_000_000
        # What the label says of the sides is wrong, and must not matter.
        label = a_label(
            transaction_id=name, account_id="nobody", counterparty_id="nobody",
            event_time_ms=self.about[name]["event_time_ms"], label_time_ms=now, is_fraud=is_fraud, source=source,
        )  # fmt: skip
        self.job.produce(self.job.settings.topics.labels, 0, now, encode_record("label", label))
        self.job.flush()

    def wait_for_risk(self, merchant: str, risk: float) -> dict[str, Any]:
        """Pay until the merchant's risk is so; return that decision."""
        newest: dict[str, Any] = {}

        def is_so() -> bool:
            newest.update(self.pay(merchant))
            return bool(newest["features"][RISK] == risk)

        wait_until(is_so, SETTLE_SECONDS, f"the risk of {merchant} is {risk}")
        return newest


def replayed(settings: Settings, batch_rows: int) -> list[bytes]:
    """Decide again in the log's order, in this process."""
    now = time.time_ns() // 1_000_000
    spec = plan(
        settings, "log", now - DAY_MS, now, "log", (), None, None, None, "max", batch_rows, "window", now
    )  # fmt: skip
    assert spec.risk_labels == "matured"
    source, core = (
        open_source(settings, spec, None),
        ReplayCore(core_of(settings, spec), open_deciders(settings, spec), Run("replay", "log")),
    )
    try:
        decisions: list[bytes] = []
        while parts := source.next_batch():
            decisions += core.add(parts).decisions
        return decisions
    finally:
        source.close()


def test_the_risk_of_a_counterparty_follows_the_label_that_holds(
    stack: LocalStack, request: pytest.FixtureRequest
) -> None:
    partitions = {"transactions": 1, "decisions": 1}
    with ScoringJob(stack, request.node.name, partitions, parallelism=1, risk_labels="matured") as job:
        prefix = job.settings.topic_prefix
        with ScoringJob(
            stack, request.node.name, partitions, "jobs.update_learners", topic_prefix=prefix, idle_seconds=1.0
        ):
            story = Story(job)
            for merchant in ("shop", "fence"):
                story.pay(merchant, days_ago=10)
            assert story.pay("shop")["features"][RISK] == 0.0

            story.label("t1", "analyst", True)
            found = story.wait_for_risk("shop", 1.0)
            assert found["features"][FRAUDS] == 1.0

            # A lower source, a rule and a repetition; the label behind them tells when they have had their effect.
            for source, is_fraud in (("other", False), ("rule", False), ("analyst", True)):
                story.label("t1", source, is_fraud)
            story.label("t2", "chargeback", True)
            story.wait_for_risk("fence", 1.0)
            held = story.pay("shop")
            assert (held["features"][RISK], held["features"][FRAUDS]) == (1.0, 1.0)

            story.label("t1", "sar", False)
            corrected = story.wait_for_risk("shop", 0.0)
            assert corrected["features"][FRAUDS] == 0.0

            dead_letters = job.read(job.settings.topics.dead_letters)
            job.produce(job.settings.topics.labels, 0, time.time_ns() // 1_000_000, b"no label")
            job.flush()
            dead_letters.wait_for(1)
            headers = dict(dead_letters.messages[0].headers())
            assert headers["__connect.errors.topic"] == job.settings.topics.labels.encode()
            assert len(dead_letters) == 1

            job.wait_for_checkpoints()
            matured = job.read(job.settings.topics.matured_labels)
            matured.read_to_end()
        settings = job.settings
        ledger = job.read(settings.topics.decisions)
        ledger.wait_for(story.sent)

    records = [decode_record(value, name="matured_label") for value in matured.values]
    assert [(r["transaction_id"], r["source"], r["is_fraud"], r["replaced_source"]) for r in records] == [
        ("t1", "analyst", True, None), ("t2", "chargeback", True, None), ("t1", "sar", False, "analyst"),
    ]  # fmt: skip
    assert [(r["account_id"], r["counterparty_id"]) for r in records] == [
        ("customer-1", "shop"), ("customer-2", "fence"), ("customer-1", "shop"),
    ]  # fmt: skip
    assert matured.keys == [b"customer-1", b"customer-2", b"customer-1"]

    by_id = {decode_record(value, name="decision")["transaction_id"]: value for value in ledger.values}
    for decision in (found, held, corrected):
        value = by_id[decision["transaction_id"]]
        record = decode_record(value, name="decision")
        verification = verify(settings, value, record, tell_nobody)
        assert (verification.verdict, verification.obstacle, verification.differences) == (EQUAL, "", ())
        raw = settings.model_copy(update={"risk_labels": "raw"})
        if decision is held:
            assert verify(raw, value, record, tell_nobody).verdict != EQUAL, "raw labels cannot have made it"
    assert bodies(replayed(settings, 4_000)) == bodies(replayed(settings, 7))
