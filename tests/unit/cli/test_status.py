"""What `weir status` says of the labels that the risk features count."""

from __future__ import annotations

import pytest

from deploy.cli.commands.status import LEARNER_JOB, SCORING_JOB, risk_labels_of
from jobs.settings import Settings


@pytest.mark.parametrize(
    ("counted", "jobs", "is_problem"),
    [
        ("raw", {SCORING_JOB}, False),
        ("matured", set(), False),
        ("matured", {SCORING_JOB}, True),
        ("matured", {SCORING_JOB, LEARNER_JOB}, False),
    ],
)
def test_matured_labels_without_a_learner_job_are_a_problem(counted: str, jobs: set[str], is_problem: bool) -> None:
    settings = Settings.load(environment={}, files=(), topic_prefix="x.", risk_labels=counted)
    found = risk_labels_of(settings, jobs)
    assert (found["counted"], "problem" in found) == (counted, is_problem)
    assert found["topic"] == ("x.labels" if counted == "raw" else "x.matured-labels")
