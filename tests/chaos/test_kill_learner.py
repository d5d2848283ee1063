"""The learner job's processes die by SIGKILL in mid-stream; its weights show no trace of it.

Invariants: whatever dies, and whenever, the parameters published last for a given number of labels are the bytes that
an undisturbed plain loop over the same topics comes to; and a read_committed reader of `matured-labels` finds what that
loop lets mature, each once, in its order. Labels come late, early, twice, contradicting each other, and
about transactions that nobody scored; operators quarantine a source for a while and set the learner back.

``WEIR_TEST_LEARNER_LABELS`` and ``WEIR_TEST_LEARNER_KILLS`` make the story longer (`make chaos-learning`).
"""

from __future__ import annotations

import os
import time
from collections import defaultdict

import numpy as np
import pytest

from deploy.local.errors import StackError
from deploy.local.stack import LocalStack
from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from models.state_map import MemoryState
from online_learning.guards.commands import Command
from online_learning.learning_stage import DECISIONS, LearningSettings, LearningStage
from schemas.records import decode_record, encode_record
from tests.ledger import DECISION_PARTITIONS, Sent, a_ledger
from tests.scoring_job import START_SECONDS, ScoringJob
from tests.waiting import wait_until

TRANSACTIONS = int(os.environ.get("WEIR_TEST_LEARNER_LABELS", "6000"))
KILLS = int(os.environ.get("WEIR_TEST_LEARNER_KILLS", "3"))

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.timeout(300 + 60 * KILLS + TRANSACTIONS // 200)]


def commands_for(sent: list[Sent]) -> list[tuple[bytes, bytes]]:
    """Return control records: a source in quarantine for a tenth of the stream, and the learner set back in mid-way."""
    first, last = sent[0].timestamp_ms, sent[-1].timestamp_ms
    records = [
        {"action": "quarantine", "source": "analyst", "from_ms": first + (last - first) * 4 // 10},
        {"action": "release", "source": "analyst", "from_ms": first + (last - first) * 5 // 10},
        {"action": "rollback", "labels_seen": TRANSACTIONS // 4, "from_ms": first + (last - first) * 6 // 10},
    ]
    return [(f"learning/{i}".encode(), encode_record("learning_command", record)) for i, record in enumerate(records)]


def undisturbed(sent: list[Sent]) -> LearningStage:
    """Learn from the topics, partition by partition, in one go."""
    stage = LearningStage(LearningSettings(FEATURE_SET, FEATURE_NAMES, DECISION_PARTITIONS, 1), MemoryState())
    for key, value in commands_for(sent):
        stage.command(Command.of_record(key, value))
    partitions: dict[tuple[int, int], list[Sent]] = defaultdict(list)
    for record in sent:
        partitions[record.topic, record.partition].append(record)
    for (topic, partition), records in sorted(partitions.items()):
        n = len(records)
        stage.take(
            topic, np.full(n, partition, np.int32), np.arange(n),
            np.array([record.timestamp_ms for record in records]), [record.value for record in records],
        )  # fmt: skip
    return stage


def wait_until_known(stack: LocalStack, job_id: str) -> None:
    """Wait until a JobManager that started again has taken its predecessor's job up."""

    def is_known() -> bool:
        try:
            return bool(stack.rest.get(f"/jobs/{job_id}")["state"])
        except StackError:
            return False

    wait_until(is_known, START_SECONDS, f"job {job_id} is taken up by the new JobManager")


def test_weights_are_those_of_an_undisturbed_run_although_processes_are_killed(
    stack: LocalStack, request: pytest.FixtureRequest
) -> None:
    """Scope: kills of the TaskManager that runs the job, and of the JobManager; checkpoints and broker survive."""
    # Of today: a broker deletes what is a week old.
    sent = a_ledger(TRANSACTIONS, seed=31, start_ms=time.time_ns() // 1_000_000 - 3_600_000)
    expected = undisturbed(sent)
    last, told = expected.learner.parameters(), expected.take_matured()
    assert expected.counts.quarantined
    assert expected.counts.rollbacks == 1
    rng = np.random.default_rng(31)
    cuts = np.sort(rng.integers(len(sent) // 20, len(sent) - len(sent) // 20, KILLS)).tolist()
    job = ScoringJob(
        stack,
        request.node.name,
        {"decisions": DECISION_PARTITIONS, "labels": 1},
        "jobs.update_learners",
        idle_seconds=0.0,
    )
    topics = job.settings.topics
    job.send_records(topics.control, commands_for(sent))
    with job:
        log = job.read(topics.model_updates)
        newest: dict[str, bytes] = {}

        def seen() -> int:
            for message in log.poll():
                update = decode_record(message.value() or b"", name="model_update")
                newest["parameters"], newest["version"] = update["parameters"], update["version"]
            # Set back, the learner counts on from a lower number: what it ends with is the last word.
            return int(newest.get("version", "0"))

        for kill, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(sent)], strict=True)):
            for record in sent[start:end]:
                topic = topics.decisions if record.topic == DECISIONS else topics.labels
                job.produce(topic, record.partition, record.timestamp_ms, record.value)
            job.flush()
            if kill == len(cuts):
                break
            before = seen()
            # Somewhere between the arrival of these records and the commit of what they taught.
            learned = int(rng.integers(0, 2))
            if learned and end - start > 1_000:
                wait_until(lambda before=before: seen() != before, START_SECONDS, "something more is learned")
            if kill % 3 == 1:
                stack.kill_jobmanager()
                stack.start_jobmanager()
                wait_until_known(stack, job.id)
                stack.rest.wait_until_running(job.id, START_SECONDS)
                continue
            running = stack.rest.get(f"/jobs/{job.id}")["vertices"][0]["id"]
            hosts = stack.rest.get(f"/jobs/{job.id}/vertices/{running}/taskmanagers")["taskmanagers"]
            index = next(
                (i for i in range(2) if any(f"taskmanager-{i}" in h["taskmanager-id"] for h in hosts)), kill % 2
            )
            stack.kill_taskmanager(index)
            stack.start_taskmanager(index)
            stack.rest.wait_until_running(job.id, START_SECONDS)
        wait_until(
            lambda: seen() == expected.learner.labels_seen and newest["parameters"] == last,
            2 * START_SECONDS + TRANSACTIONS / 300,
            "all labels are learned",
        )
        matured = job.read(topics.matured_labels)
        # Each topic has a transaction of its own: one may be committed a moment after the other.
        matured.wait_for(len(told))
        matured.read_to_end()
        restored = stack.rest.checkpoints(job.id)["counts"]["restored"]
    assert newest["version"] == str(expected.learner.labels_seen)
    assert newest["parameters"] == last
    assert list(zip(matured.keys, matured.values, strict=True)) == told
    assert restored, "no kill hit the job: it was never restored"
