"""Start a replay, watch it, and go on with one that was interrupted."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.cli.context import say
from deploy.local.errors import SubmissionError
from deploy.local.submit import FINAL_STATES, FlinkRest
from jobs.settings import Settings
from jobs.stream.replay.spec import ReplaySpec

JOB = "jobs.replay"
METRIC = "weir_replay_records_total"
POLL_SECONDS = 0.5


class ReplayError(Exception):
    """A replay that cannot go on; the message says what to do."""


@dataclass(slots=True)
class Run:
    """What is known of a run on this machine.

    Attributes
    ----------
    path
        Where it is kept.
    spec
        The replay.
    parallelism
        Slots.
    job_id
        Newest Flink job of the run.
    checkpoint
        Newest checkpoint that a further job can go on from; empty before the first.
    state
        Last known state of the job.
    """

    path: Path
    spec: ReplaySpec
    parallelism: int
    job_id: str = ""
    checkpoint: str = ""
    state: str = ""

    def save(self) -> None:
        """Write what is known."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fields = {
            "spec": json.loads(self.spec.to_json()),
            "parallelism": self.parallelism,
            "job_id": self.job_id,
            "checkpoint": self.checkpoint,
            "state": self.state,
        }
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(fields, indent=2))
        part.replace(self.path)


def run_file(settings: Settings, run_id: str) -> Path:
    """Return where a run is kept."""
    return settings.home_dir / "replays" / f"{run_id}.json"


def load_run(settings: Settings, run_id: str) -> Run | None:
    """Return what is known of a run; None if there is none."""
    path = run_file(settings, run_id)
    if not path.exists():
        return None
    fields = json.loads(path.read_text())
    return Run(
        path, ReplaySpec.from_json(json.dumps(fields["spec"])), fields["parallelism"], fields["job_id"],
        fields["checkpoint"], fields["state"],
    )  # fmt: skip


def known_runs(settings: Settings) -> list[Run]:
    """Return every run of this machine, the newest first."""
    folder = settings.home_dir / "replays"
    paths = sorted(folder.glob("*.json"), key=lambda path: -path.stat().st_mtime) if folder.exists() else []
    return [run for path in paths if (run := load_run(settings, path.stem)) is not None]


def submit(settings: Settings, run: Run, ship_connector: bool = False) -> None:
    """Submit the job of a run, from its newest checkpoint if it has one.

    Raises
    ------
    ReplayError
        If the cluster has not enough free slots.
    SubmissionError
        If it cannot be submitted.
    """
    from deploy.local.jars import fetch_jars
    from deploy.local.run_topics import create_run_topics
    from deploy.local.stack import LocalStack
    from deploy.local.submit import submit_job
    from jobs.replay import output_settings
    from jobs.settings import kafka_properties

    rest = FlinkRest(settings.flink_rest_url)
    free = int(rest.overview()["slots-available"])
    if free < run.parallelism:
        raise ReplayError(
            f"the replay needs {run.parallelism} free slots and Flink has {free}: start TaskManagers ('weir up "
            "--taskmanagers N' for the embedded stack), or end another job"
        )
    prefix = output_settings(settings, run.spec.run_id).topic_prefix
    create_run_topics(kafka_properties(settings), prefix, max(1, len(run.spec.transactions)))
    stack = LocalStack(settings.home_dir)
    is_ours = stack.status()["flink_rest_url"] == settings.flink_rest_url
    run.job_id = submit_job(
        settings.flink_rest_url,
        JOB,
        ("--spec", run.spec.to_json(), "--parallelism", str(run.parallelism)),
        jars=fetch_jars(stack.jars_folder, say),
        work_folder=settings.home_dir / "logs",
        options=stack.flink.job_options() if is_ours else None,
        savepoint=run.checkpoint or None,
        ship_connector=ship_connector,
        environment=settings.as_environment(),
    )
    run.state = "RUNNING"
    run.save()


def newest_checkpoint(rest: FlinkRest, job_id: str) -> str:
    """Return the address of a job's newest complete checkpoint; empty without one."""
    latest = rest.checkpoints(job_id).get("latest") or {}
    return str((latest.get("completed") or {}).get("external_path") or "")


def records_read(rest: FlinkRest, job_id: str) -> int | None:
    """Return how many records a replay has read so far; None before it is known."""
    for vertex in rest.job(job_id)["vertices"]:
        path = f"/jobs/{job_id}/vertices/{vertex['id']}/metrics"
        names = [m["id"] for m in rest.get(path) if m["id"].endswith(METRIC)]
        if names:
            found: list[dict[str, Any]] = rest.get(f"{path}?get={','.join(names)}")
            return sum(int(float(metric["value"])) for metric in found)
    return None


def follow(settings: Settings, run: Run) -> str:
    """Show how far a run is until its job ends; return the job's final state.

    Ctrl-C cancels the job, keeps its newest checkpoint, and raises KeyboardInterrupt.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    rest = FlinkRest(settings.flink_rest_url)
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task(f"replay {run.spec.run_id}", total=max(1, run.spec.rows), rate="starting")
            return _watch(rest, run, lambda done, rate: progress.update(task, completed=done, rate=rate))
    except KeyboardInterrupt:
        rest.cancel(run.job_id)
        run.checkpoint = newest_checkpoint(rest, run.job_id) or run.checkpoint
        run.state = rest.state(run.job_id)  # it may have ended by itself
        run.save()
        raise


def _watch(rest: FlinkRest, run: Run, show: Any) -> str:
    begun: tuple[float, int] | None = None
    told = time.monotonic()
    while True:
        try:
            state = rest.state(run.job_id)
            done = records_read(rest, run.job_id) if state == "RUNNING" else None
            checkpoint = newest_checkpoint(rest, run.job_id)
        except SubmissionError:  # the JobManager is away for a moment, or for good: the caller's Ctrl-C ends it
            time.sleep(POLL_SECONDS)
            continue
        if checkpoint and checkpoint != run.checkpoint:
            run.checkpoint = checkpoint
            run.save()
        if done is not None:
            if begun is None or done < begun[1]:  # a job that was restarted goes back to its checkpoint
                begun = (time.monotonic(), done)
            passed = time.monotonic() - begun[0]
            rate = f"{(done - begun[1]) / passed:,.0f} records/s" if passed > 1 else ""
            show(done, rate)
            if time.monotonic() - told > 15:
                told = time.monotonic()
                say(f"{done:,} of {run.spec.rows:,} records {rate}")
        if state in FINAL_STATES:
            run.state = state
            run.save()
            if state == "FINISHED":
                show(run.spec.rows, "done")
            return state
        time.sleep(POLL_SECONDS)
