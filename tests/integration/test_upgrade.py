"""Stopped with a savepoint and gone on: with another parallelism, and with code of another feature set.

Invariant: every record is in one ledger once, in order, and each decision equals, field by field (but `processing`),
that of an undisturbed run of the code that made it: after the upgrade, of the new code over the whole stream.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.cli.main import weir
from deploy.local.savepoints import NOTE, folder_of
from deploy.local.stack import LocalStack
from schemas.records import decode_record
from tests.other_code import decisions_of_other_code, write_other_code
from tests.recorded import assert_same_ledger, ledger_of, plain_loop, record_stream
from tests.scoring_job import ScoringJob, settled

# Three starts of the job and four of TaskManagers: 50 s on an idle 2-core machine, and a busy one is some times slower.
pytestmark = [pytest.mark.integration, pytest.mark.flink, pytest.mark.timeout(900)]

EVENTS = 1_200


def weir_command(job: ScoringJob, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """Run a command with the job's settings; return what it prints last."""
    with monkeypatch.context() as patch:
        for name, value in {**job.settings.as_environment(), "WEIR_HOME_DIR": str(job.stack.home)}.items():
            patch.setenv(name, value)
        result = CliRunner().invoke(weir, arguments)
    assert result.exit_code == 0, result.output
    return result.output.strip().splitlines()[-1]


def restart_taskmanagers(stack: LocalStack, count: int) -> None:
    """Start them anew: a TaskManager keeps the code that it has imported."""
    for process in stack.processes():
        if process.name.startswith("taskmanager-") and process.is_alive():
            process.kill()
    for index in range(count):
        stack.start_taskmanager(index)


def test_decisions_do_not_show_where_the_job_was_stopped_and_upgraded(
    stack: LocalStack, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parallelism 1, 2 and 1 again; from the second savepoint on with new features, some of windows never kept before.

    Scope: one partition; the savepoint's disk survives.
    """
    recorded = record_stream(EVENTS, seed=31)
    good, repeated = recorded.rows("good"), recorded.rows("duplicate")
    poison = [row for row, error in enumerate(recorded.errors) if error is not None]
    cuts = [len(recorded) // 3, 2 * len(recorded) // 3, len(recorded)]
    code = write_other_code(tmp_path / "code")
    job = ScoringJob(stack, request.node.name, parallelism=1)
    try:
        with job:
            log = job.read(job.settings.topics.decisions)
            at = 0
            for cut, go_on in zip(cuts, (("--parallelism", "2"), ("--parallelism", "1"), None), strict=True):
                job.send(recorded, at, cut)
                job.flush()
                at = cut
                log.wait_for(sum(row < cut for row in good))
                if go_on is None:
                    break
                savepoint = weir_command(job, monkeypatch, "stop")
                assert (folder_of(savepoint) / NOTE).exists()  # type: ignore[operator]
                if go_on[1] == "1":
                    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(code), os.environ.get("PYTHONPATH", "")]))
                    restart_taskmanagers(stack, 1)
                job.id = weir_command(job, monkeypatch, "score", "--savepoint", savepoint, *go_on)
            found = settled(job, len(good), len(poison), len(repeated))
    finally:
        monkeypatch.undo()
        restart_taskmanagers(stack, 2)
    decisions = found["decisions"].values
    reference = job.reference()
    before = ledger_of(plain_loop(recorded, (500,), job.core_settings, reference=reference).decisions)
    reference.close()
    after = ledger_of(decisions_of_other_code(code, recorded, job.core_settings.shards, stack.redis_url, tmp_path))
    expected = {place: (before if place[1] < cuts[1] else after)[place] for place in before}
    assert_same_ledger(decisions, expected, found["decisions"].keys)
    features = {len(decode_record(value, name="decision")["features"]) for value in decisions}
    assert len(features) == 2, "the upgrade changed nothing"
