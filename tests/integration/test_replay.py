"""Replays on the real stack of a live run with labels, duplicates, poison, a changed rule and a learner.

Invariants: in recorded order the decisions are the live ones byte for byte; in the log's order they are the same for
every parallelism and cut; a replay that was interrupted goes on to the same end; nothing of the live run changes.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.cli.replay.planning import plan
from deploy.cli.replay.running import Run, follow, load_run, newest_checkpoint, run_file, submit
from jobs.replay import output_settings
from jobs.stream.replay.spec import ReplaySpec
from schemas.records import decode_record
from tests.replayed import bodies
from tests.replayed_live import Live, counts, ends, read
from tests.waiting import wait_until

# The first job of a clean clone also compiles the kernels, which takes minutes on a busy machine.
pytestmark = [pytest.mark.integration, pytest.mark.flink, pytest.mark.timeout(900)]

DAY_MS = 86_400_000


def a_spec(live: Live, run_id: str, **changed: Any) -> ReplaySpec:
    now = int(time.time() * 1000)
    options: dict[str, Any] = {
        "from_ms": now - DAY_MS,
        "to_ms": now,
        "order": "log",
        "partitions": (),
        "account": None,
        "model": None,
        "rules": None,
        "speed": "max",
        "batch_rows": 500,
        "warm": "window",
        **changed,
    }
    return plan(live.settings, run_id, now_ms=now, **options)


def replayed(live: Live, spec: ReplaySpec, parallelism: int = 1) -> list[bytes]:
    """Run a replay to its end; return its decisions."""
    run = Run(run_file(live.settings, spec.run_id), spec, parallelism)
    submit(live.settings, run)
    state = follow(live.settings, run)
    assert state == "FINISHED", live.stack.rest.failure(run.job_id)[:3000]
    return outputs(live, spec)


def outputs(live: Live, spec: ReplaySpec) -> list[bytes]:
    own = output_settings(live.settings, spec.run_id)
    found = counts(own)
    assert sum(found.values()) == spec.rows_to_decide
    decisions = read(own, own.topics.decisions)
    for value in decisions[:50]:
        processing = decode_record(value, name="decision")["processing"]
        assert (processing["mode"], processing["run_id"]) == ("replay", spec.run_id)
    return decisions


def test_the_live_decisions_are_reproduced_byte_for_byte_in_their_recorded_order(live: Live) -> None:
    learners = {decode_record(value, name="decision")["learner_version"] for value in live.decisions}
    rules = {decode_record(value, name="decision")["rules_version"] for value in live.decisions}
    assert len(learners) > 1, "the learner changed in mid-stream"
    assert len(rules) > 1, "the rules changed in mid-stream"
    found = replayed(live, a_spec(live, "recorded", order="recorded"), parallelism=2)
    assert bodies(found) == bodies(live.decisions)
    assert ends(live.settings) == live.ends


def test_two_replays_in_the_logs_order_are_equal_whatever_parallelism_and_batches(live: Live) -> None:
    one = replayed(live, a_spec(live, "log-1", batch_rows=4_000), parallelism=1)
    two = replayed(live, a_spec(live, "log-2", batch_rows=333), parallelism=2)
    assert bodies(one) == bodies(two)
    assert len(one) == len(live.decisions)
    assert ends(live.settings) == live.ends


def test_an_interrupted_replay_goes_on_to_the_same_end(live: Live) -> None:
    # So slow that it takes two minutes: longer than the first checkpoint may.
    spec = a_spec(live, "interrupted", order="recorded", batch_rows=10, speed="0.05x")
    run = Run(run_file(live.settings, spec.run_id), spec, 1)
    submit(live.settings, run)
    rest = live.stack.rest
    try:
        wait_until(lambda: bool(newest_checkpoint(rest, run.job_id)), 120, "a checkpoint")
    except AssertionError:
        print(
            rest.checkpoints(run.job_id)["counts"],
            rest.checkpoints(run.job_id)["latest"],
            rest.failure(run.job_id)[:2000],
        )
        raise
    run.checkpoint = newest_checkpoint(rest, run.job_id)
    rest.cancel(run.job_id)
    assert rest.state(run.job_id) == "CANCELED", "it was interrupted in its midst"
    run.state = "CANCELED"
    run.save()
    again = load_run(live.settings, spec.run_id)
    assert again is not None
    assert again.checkpoint
    again.spec = replace(again.spec, speed=0.0)
    submit(live.settings, again)
    assert follow(live.settings, again) == "FINISHED", rest.failure(again.job_id)[:3000]
    assert bodies(outputs(live, spec)) == bodies(live.decisions)


def test_a_range_in_mid_stream_is_warmed_up_from_what_lies_before(live: Live) -> None:
    times = sorted(stamp for stamps in live.transactions.timestamps for stamp in stamps)
    begin, end = times[len(times) // 2], times[3 * len(times) // 4]
    spec = a_spec(live, "middle", order="recorded", from_ms=begin, to_ms=end)
    assert sum(span.begin - span.warm for span in spec.transactions) > 0
    found = bodies(replayed(live, spec))
    expected = bodies(live.decisions)
    inside = {(s.partition, offset) for s in spec.transactions for offset in range(s.begin, s.end)}
    assert found == {place: body for place, body in expected.items() if place in inside}


def test_other_rules_change_what_they_are_about(live: Live, tmp_path: Path) -> None:
    rule = {
        "rule_id": "everything-1",
        "version": 1,
        "description": "Hits every transaction.",
        "expression": "amount_minor >= 0",
        "typology": "everything",
        "weight": 1.0,
    }
    (tmp_path / "rules.json").write_text(json.dumps([rule]))
    found = replayed(live, a_spec(live, "rules", rules=tmp_path / "rules.json"))
    assert {decode_record(value, name="decision")["outcome"] for value in found} == {"decline"}
    account = decode_record(found[0], name="decision")["account_id"]
    spec = a_spec(live, "alone", account=account)
    run = Run(run_file(live.settings, spec.run_id), spec, 1)
    submit(live.settings, run)
    assert follow(live.settings, run) == "FINISHED"
    own = output_settings(live.settings, spec.run_id)
    alone = [decode_record(value, name="decision") for value in read(own, own.topics.decisions)]
    assert {decision["account_id"] for decision in alone} == {account}
    assert len(alone) == sum(decode_record(value, name="decision")["account_id"] == account for value in found)
