"""Evidence on the real stack: services that misbehave, and a promise that is kept all the same.

Invariant: every requested piece of evidence ends in exactly one final revision, answered, timed out, refused or failed,
whatever the services do; requests that are delivered twice are answered once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from deploy.local.stack import LocalStack
from jobs.stream.alert_reader import newest_of
from jobs.stream.evidence_function import SERVICE_HEADER
from jobs.stream.worker_process import ancestors, process_of
from models.scoring.evidence_rule import EvidenceWeight, revised_score
from schemas.records import decode_record
from tests.evidence import an_alert, assert_one_final_revision_each, encoded, requests_for
from tests.recorded import ledger_of, plain_loop, record_stream
from tests.scoring_job import SETTLE_SECONDS, ScoringJob, settled
from tests.side_service import VERSION, SideService, probability_of
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.flink, pytest.mark.timeout(600)]

MODULE = "jobs.gather_evidence"
BUDGET_MS = 10_000
SHORT_BUDGET_MS = 3_000
QUICK = {
    "fast": "answered",
    "refuse": "refused",
    "error": "failed",
    "reset": "failed",
    "lie": "failed",
    "flood": "failed",
}
ENDLESS = ("hang", "drip")


def requests_to(modes: Iterable[str], count: int, budget_ms: int, name: str) -> list[dict[str, Any]]:
    """Return requests to a service that behaves in one of some modes, to another one that is well, and to none."""
    requests = []
    for i, mode in zip(range(count), cycle(modes), strict=False):
        alert = an_alert(f"{name}{i}", account_id=f"a{i % 7}", score=0.5, degraded=["multimodal", "text", "vision"])
        document = f"file:///e/{name}{i}.png"
        pieces = [("vision", f"{document}?mode={mode}"), ("multimodal", document), ("text", "memo:")]
        requests += requests_for(alert, pieces, VERSION, budget_ms=budget_ms)
    return requests


def test_every_request_ends_once_whatever_the_services_do(stack: LocalStack, request: pytest.FixtureRequest) -> None:
    requests: list[dict[str, Any]] = []
    with SideService() as vision, SideService() as multimodal:
        job = ScoringJob(
            stack,
            request.node.name,
            module=MODULE,
            parallelism=1,
            evidence_vision_url=vision.url,
            evidence_vision_output="probability",
            evidence_multimodal_url=multimodal.url,
            evidence_multimodal_output="1-probability",
            evidence_budget_seconds=BUDGET_MS / 1000,
            evidence_attempt_seconds=1.0,
            evidence_breaker_failures=1_000,  # what each mode comes to is the question here
        )
        topics = job.settings.topics
        with job:
            evidence, alerts = job.read(topics.evidence), job.read(topics.alerts, committed_only=False)

            def send(new: list[dict[str, Any]], *more: tuple[bytes, bytes, str]) -> None:
                """Send requests, some of them twice, and wait for their endings."""
                for piece in new:
                    piece["requested_at_ms"] = time.time_ns() // 1_000_000
                records = [encoded(piece) for piece in new]
                job.send_headed(topics.evidence_requests, SERVICE_HEADER, [*records, *records[:30], *more])
                job.flush()
                requests.extend(new)
                evidence.wait_for(len(requests))

            send(requests_to(["fast"], 1, BUDGET_MS, "first"))  # the Python process starts, which takes its time
            send(requests_to(QUICK, 36, BUDGET_MS, "quick"), UNREADABLE)
            send(requests_to(ENDLESS, 6, SHORT_BUDGET_MS, "endless"))
            alerts.wait_for(len(requests))
            job.wait_for_checkpoints()
            for log in (evidence, alerts):
                log.read_to_end()
            dead = job.read(topics.dead_letters)
            dead.wait_for(1)
            longest_ms = max(
                checkpoint["end_to_end_duration"]
                for checkpoint in stack.rest.checkpoints(job.id)["history"]
                if checkpoint["status"] == "COMPLETED"
            )
            assert job.restarts() == 0
        calls = multimodal.calls()
    endings = assert_one_final_revision_each(requests, evidence.values, alerts.values)
    for piece in requests[3:]:
        ending = endings[piece["request_id"]]
        mode = piece["reference"].rpartition("=")[2]
        if piece["service"] == "text":  # no address is set
            assert ending["status"] == "refused"
        elif piece["service"] == "vision":
            assert ending["status"] == QUICK.get(mode, "timed_out"), ending["reason"]
        elif piece["budget_ms"] == BUDGET_MS:
            assert ending["status"] == "answered", ending["reason"]
            assert ending["score"] == pytest.approx(1 - probability_of(piece["reference"]), abs=1e-6)
            assert calls[piece["request_id"]] <= 2  # that of the duplicate is dropped
    assert dead.values == [UNREADABLE[1]]
    assert dict(dead.messages[0].headers())["__connect.errors.exception.class.name"] == b"UNDECODABLE"
    # Every call is bounded, so a checkpoint that waits for those on their way is too; the rest is a busy machine's.
    assert longest_ms < BUDGET_MS + 10_000
    check_last_revisions(alerts.values)


UNREADABLE = (b"a0", b"no request", "vision")


def check_last_revisions(alerts: list[bytes]) -> None:
    """The last revision of an alert says what its answers come to, and what is still missing."""
    weight = EvidenceWeight()
    finals = [alert for alert in (decode_record(value, name="alert") for value in alerts) if alert["is_final"]]
    assert Counter(alert["alert_id"] for alert in finals).most_common(1)[0][1] <= 2, "delivered again at most"
    for alert in finals:
        answers = [(p["service"], p["score"]) for p in alert["evidence"] if p["status"] == "answered"]
        expected = revised_score(0.5, answers, {"vision": weight, "multimodal": weight})
        assert alert["score"] == pytest.approx(expected, abs=1e-6)
        assert alert["outcome"] == ("decline" if alert["score"] >= 0.75 else "review")
        missing = {p["service"] for p in alert["evidence"] if p["status"] != "answered"}
        assert set(alert["degraded"]) == missing
        assert alert["change"]


def test_a_killed_job_and_killed_services_lose_and_repeat_nothing(
    stack: LocalStack, request: pytest.FixtureRequest
) -> None:
    with SideService() as vision:
        job = ScoringJob(
            stack,
            request.node.name,
            module=MODULE,
            parallelism=1,
            evidence_vision_url=vision.url,
            evidence_vision_output="probability",
        )
        topics = job.settings.topics
        requests = []
        with job:
            evidence, alerts = job.read(topics.evidence), job.read(topics.alerts, committed_only=False)
            for part in range(3):
                new = []
                for i in range(100):
                    alert = an_alert(f"t{part}-{i}", account_id=f"a{i % 7}")
                    pieces = [("vision", f"file:///e/{part}/{i}/{n}.png") for n in range(2)]
                    new += requests_for(alert, pieces, VERSION)
                job.send_headed(topics.evidence_requests, SERVICE_HEADER, [encoded(piece) for piece in new])
                job.flush()
                requests += new
                if part == 0:
                    evidence.wait_for(1)
                    index = taskmanager_of(stack, job.id)
                    workers = workers_of(stack.process(f"taskmanager-{index}").pid)
                    assert workers, "the job has no Python process"
                    stack.kill_taskmanager(index)
                    stack.start_taskmanager(index)
                elif part == 1:
                    vision.kill()
                    vision.start()
            wait_until(lambda: evidence.poll() is None or len(evidence) >= len(requests), SETTLE_SECONDS, "all ended")
            alerts.wait_for(len(requests))
            job.wait_for_checkpoints()
            evidence.read_to_end()
            alerts.read_to_end()
            restored = stack.rest.checkpoints(job.id)["counts"]["restored"]
    endings = assert_one_final_revision_each(requests, evidence.values, alerts.values)
    assert sum(ending["status"] == "answered" for ending in endings.values()) >= 200
    assert restored, "the kill did not hit the job"
    wait_until(lambda: not any(map(process_of, workers)), SETTLE_SECONDS, "its Python process has ended too")


def workers_of(taskmanager: int) -> list[int]:
    """Return the ids of all processes that a TaskManager has started."""
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [pid for pid in pids if any(one.pid == taskmanager for one in ancestors(pid))]


def taskmanager_of(stack: LocalStack, job_id: str) -> int:
    """Return the number of a TaskManager that runs a job of one slot."""
    vertex = stack.rest.get(f"/jobs/{job_id}")["vertices"][0]["id"]
    hosts = stack.rest.get(f"/jobs/{job_id}/vertices/{vertex}/taskmanagers")["taskmanagers"]
    return next(i for i in range(2) if any(f"taskmanager-{i}" in host["taskmanager-id"] for host in hosts))


def test_alerts_of_the_scoring_job_are_revised_and_the_ledger_is_as_without_evidence(
    stack: LocalStack, request: pytest.FixtureRequest
) -> None:
    recorded = record_stream(1_500, seed=11, evidence_share=1.0)
    with SideService() as vision:
        evidence = {
            "evidence_vision_url": vision.url,
            "evidence_vision_version": VERSION,
            "evidence_vision_output": "probability",
        }
        # Reference data would make the outcome depend on what other tests put into Redis.
        job = ScoringJob(
            stack, request.node.name, parallelism=1, shards=1, redis_url=None, reference_budget_ms=0, **evidence
        )
        gather = ScoringJob(
            stack,
            request.node.name,
            module=MODULE,
            parallelism=1,
            topic_prefix=job.settings.topic_prefix,
            **evidence,
        )
        topics = job.settings.topics
        expected = plain_loop(recorded, settings=job.core_settings)
        with job, gather:
            job.send(recorded)
            job.flush()
            logs = settled(job, len(expected.decisions), len(expected.rejected), expected.duplicates)
            requests = job.read(topics.evidence_requests)
            requests.read_to_end()
            asked = [decode_record(value, name="evidence_request") for value in requests.values]
            endings, alerts = gather.read(topics.evidence), gather.read(topics.alerts, committed_only=False)
            endings.wait_for(len(asked))
            gather.wait_for_checkpoints()
            endings.read_to_end()

            def revised() -> int:
                alerts.poll()
                return sum(bool(alert["revision"]) for alert in map(decode_record, alerts.values))

            wait_until(lambda: revised() >= len(asked), SETTLE_SECONDS, f"{len(asked)} revisions")
            alerts.read_to_end()
    assert asked
    assert_one_final_revision_each(asked, endings.values, alerts.values)
    found = ledger_of(logs["decisions"].values)
    assert found == ledger_of(expected.decisions), "the ledger knows nothing of evidence"
    provisional = [alert for alert in map(decode_record, alerts.values) if not alert["revision"]]
    assert {alert["transaction_id"] for alert in provisional} == {
        decision["transaction_id"] for decision in found.values() if decision["outcome"] != "approve"
    }
    assert all("vision" in alert["degraded"] and not alert["is_final"] for alert in provisional)
    assert {piece["alert_id"] for piece in asked} == {alert["alert_id"] for alert in provisional}
    newest = newest_of(map(decode_record, alerts.values))
    assert all(alert["is_final"] and "vision" not in alert["degraded"] for alert in newest)
