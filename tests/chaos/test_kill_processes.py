"""Processes die by SIGKILL in mid-stream; the ledgers show no trace of it.

Invariant: whatever dies, a read_committed reader of `decisions`, `dead-letters` and `duplicates` finds every record of
the input in exactly one of them, once; the decisions of an account lie in the order of its transactions; and every
decision equals, field by field (but `processing`), that of an undisturbed plain loop over the same records. A reader of
`alerts` finds an alert at least once for every decision that is not an approval, with the same id, and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from deploy.local.stack import LocalStack
from models.scoring.explain import alert_id_of
from schemas.records import decode_record
from tests.recorded import Recorded, assert_same_ledger, ledger_of, plain_loop, record_stream
from tests.scoring_job import SETTLE_SECONDS, START_SECONDS, ScoringJob, TopicLog, settled
from tests.waiting import wait_until

# Two faults, each up to a restart of everything: 20 s on an idle machine, and a busy one is some times slower.
pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.timeout(600)]

EVENTS = 4_000
PER_SECOND = 1_500.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What dies when the input has been sent up to a row, and its newest decision is at most `behind` rows back."""

    row: int
    behind: int
    kill: Callable[[], None]
    start_again: Callable[[], object]


def at_seeded_rows(seed: int, events: int, kills: list[tuple[Callable[[], None], Callable[[], object]]]) -> list[Fault]:
    """Spread faults over the stream: one in each of its equal parts, away from both ends."""
    rng = np.random.default_rng(seed)
    part = events // (len(kills) + 1)
    return [
        Fault((i + 1) * part + int(rng.integers(-part // 3, part // 3)), int(rng.integers(1, 200)), *kill)
        for i, kill in enumerate(kills)
    ]


def newest_decision(log: TopicLog, newest: list[int]) -> int:
    """Return the highest offset of the input that any decision, committed or not, is about."""
    for message in log.poll():
        newest[0] = max(newest[0], decode_record(message.value(), name="decision")["source_offset"])
    return newest[0]


def run_story(job: ScoringJob, recorded: Recorded, faults: list[Fault]) -> None:
    """Send the stream; at each fault's row let the job come near, kill, go on sending, and start what died again."""
    uncommitted, newest = job.read(job.settings.topics.decisions, committed_only=False), [-1]
    sent = 0
    for fault in faults:
        job.send(recorded, sent, fault.row, PER_SECOND)
        sent = fault.row
        # The decisions of this moment lie in a transaction that no checkpoint has ended.
        wait_until(
            lambda fault=fault: newest_decision(uncommitted, newest) >= fault.row - fault.behind,
            SETTLE_SECONDS,
            f"a decision on one of the {fault.behind} records before {fault.row}",
        )
        fault.kill()
        # Some arrive while it is dead (a broker that is dead gets them later, from the producer's queue)
        meanwhile = min(len(recorded), sent + 200)
        job.send(recorded, sent, meanwhile)
        sent = meanwhile
        fault.start_again()
        job.stack.rest.wait_until_running(job.id, START_SECONDS)
    job.send(recorded, sent, None, PER_SECOND)
    job.flush()


@pytest.mark.parametrize("who", ["taskmanager", "broker"])
def test_every_record_is_in_one_ledger_once_although_processes_are_killed(
    stack: LocalStack, request: pytest.FixtureRequest, who: str
) -> None:
    """Scope: kills of any TaskManager and of the only broker while it runs; disks and checkpoints survive."""
    recorded = record_stream(EVENTS, seed=23)
    good, repeated = recorded.rows("good"), recorded.rows("duplicate")
    poison = [row for row, error in enumerate(recorded.errors) if error is not None]
    if who == "broker":
        kills = [(stack.kill_broker, stack.restart_broker)]
    else:
        indices = np.random.default_rng(7).permutation(2).tolist()
        kills = [
            (lambda i=i: stack.kill_taskmanager(i), lambda i=i: stack.start_taskmanager(i)) for i in indices
        ]  # fmt: skip
    with ScoringJob(stack, request.node.name) as job:
        run_story(job, recorded, at_seeded_rows(23, len(recorded), kills))
        found = settled(job, len(good), len(poison), len(repeated))
        reference = job.reference()
        undisturbed = plain_loop(recorded, (500,), job.core_settings, reference=reference)
        reference.close()
        restarts = job.restarts()
        alerts = job.read(job.settings.topics.alerts, committed_only=False)
        alerts.read_to_end()
    assert_same_ledger(found["decisions"].values, ledger_of(undisturbed.decisions), found["decisions"].keys)
    asked_for = {
        alert_id_of(decision["transaction_id"]): decision["score"]
        for decision in ledger_of(undisturbed.decisions).values()
        if decision["outcome"] != "approve"
    }
    assert asked_for, "the stream raises no alert, so none can be lost"
    assert asked_for == {alert["alert_id"]: alert["score"] for alert in map(decode_record, alerts.values)}
    for topic, rows in (("dead-letters", poison), ("duplicates", repeated)):
        offsets = [int(dict(m.headers())["__connect.errors.offset"]) for m in found[topic].messages]
        assert sorted(offsets) == rows
    if who == "taskmanager":
        assert restarts >= len(kills), f"{len(kills)} kills and {restarts} restarts: not every kill hit the job"
