"""A learner's parameters reach the running scoring job; decisions name them, and their scores are theirs, bit for bit.

Invariant: of any decision, learner score and score follow from its features, its model score and the update that it
names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deploy.local.stack import LocalStack
from models.features.catalogue import FEATURE_NAMES
from models.scoring.online import NO_SCORE
from online_learning.combination.live_learner import LiveLearner
from schemas.records import decode_record, encode_record
from tests.learner_updates import KEY, an_update
from tests.recorded import Recorded, record_stream
from tests.scoring_job import SETTLE_SECONDS, ScoringJob, TopicLog
from tests.waiting import wait_until

# The first job of a clean clone also compiles the kernels, which takes minutes on a busy machine.
pytestmark = [pytest.mark.integration, pytest.mark.flink, pytest.mark.timeout(600)]

GROUP = 20  # records that are sent to see what is in force


class Decisions:
    """Sends small groups of records until their decisions name a version."""

    def __init__(self, job: ScoringJob, recorded: Recorded) -> None:
        self.job, self.recorded, self.sent = job, recorded, 0
        self.log: TopicLog = job.read(job.settings.topics.decisions, committed_only=False)

    def until_version(self, version: str) -> list[dict[str, Any]]:
        """Return the decisions of the first group whose last one names that version; "" is none."""
        newest: list[dict[str, Any]] = []

        def is_there() -> bool:
            self.job.send(self.recorded, self.sent, self.sent + GROUP)
            self.sent += GROUP
            self.job.flush()
            self.log.wait_for(self.sent)
            messages = self.log.messages[self.sent - GROUP : self.sent]
            newest[:] = [decode_record(message.value(), name="decision") for message in messages]
            return bool(newest[-1]["learner_version"] == version)

        wait_until(is_there, SETTLE_SECONDS, f"version {version!r} of the learner is in force")
        return [decision for decision in newest if decision["learner_version"] == version]


def assert_follows(decisions: list[dict[str, Any]], update: dict[str, Any]) -> None:
    """Score again what the decisions say that was scored."""
    live = LiveLearner.of_update(update, FEATURE_NAMES)
    X = np.array([decision["features"] for decision in decisions], np.float32)
    own = np.array([decision["model_score"] for decision in decisions], np.float32)
    learned, decided = live.score(X, own)
    np.testing.assert_array_equal(learned, np.array([d["learner_score"] for d in decisions], np.float32))
    np.testing.assert_array_equal(decided, np.array([d["score"] for d in decisions], np.float32))
    assert {d["learner_sha256"] for d in decisions} == {update["sha256"][:16]}


def test_updates_are_swapped_in_without_a_restart(stack: LocalStack, request: pytest.FixtureRequest) -> None:
    recorded = record_stream(6_000, seed=37, duplicate_rate=0, poison_rate=0)
    with ScoringJob(stack, request.node.name) as job:
        updates = job.settings.topics.model_updates
        decisions = Decisions(job, recorded)
        dead_letters = job.read(job.settings.topics.dead_letters)
        assert decisions.until_version("")[0]["learner_score"] == NO_SCORE
        recorded_only, combined = an_update(1, is_combined=False), an_update(2, is_combined=True)
        for update in (recorded_only, combined):
            job.send_records(updates, [(KEY, encode_record("model_update", update))])
            assert_follows(decisions.until_version(update["version"]), update)
        job.send_records(updates, [(KEY, b"no update"), (b"learner/another", encode_record("model_update", combined))])
        dead_letters.wait_for(1)
        headers = dict(dead_letters.messages[0].headers())
        assert headers["__connect.errors.topic"] == updates.encode()
        assert_follows(decisions.until_version(combined["version"]), combined)
        job.send_records(updates, [(KEY, b"")])
        assert {d["score"] == d["model_score"] for d in decisions.until_version("")} == {True}
        assert job.restarts() == 0
