"""Set a stack up for a schedule of faults, play it, and check what came of it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaException

from deploy.local.errors import StackError
from deploy.local.stack import LocalStack, StackOptions
from jobs.stream.topic_reader import ReadError
from tests.chaos import clock, disks
from tests.chaos.clock import Clock
from tests.chaos.disks import Disks
from tests.chaos.faults.matrix import FAULTS
from tests.chaos.faults.world import World
from tests.chaos.proxy import Proxy
from tests.chaos.result import Result
from tests.chaos.schedule import Planned
from tests.chaos.story import Story
from tests.chaos.verdict import check, collect
from tests.recorded import Recorded
from tests.scoring_job import ScoringJob

TASKMANAGERS = 3  # two at work, one that stands by


def impossible(counts: Mapping[str, int]) -> dict[str, str]:
    """Return the kinds that this machine cannot do, each with the reason."""
    reasons = {"disks": disks.why_not(), "clock": clock.why_not(), "proxy": None, "": None}
    return {kind: reason for kind, n in counts.items() if n and (reason := reasons[FAULTS[kind].needs])}


def play(
    home: Path,
    partitions: Sequence[Recorded],
    schedule: Sequence[Planned],
    tell: Callable[[int, str], None] = lambda rows, text: None,
) -> Result:
    """Start everything under a folder, run the story, stop everything; logs stay under ``logs`` of the folder.

    Raises
    ------
    StackError
        If the stack or the job does not start.
    """
    needs = {FAULTS[planned.kind].needs for planned in schedule}
    LocalStack(home / "stack").down()  # of a run that was killed itself
    disks.unmount_below(home)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with contextlib.ExitStack() as held:
        proxy = Proxy(schedule[0].seed) if "proxy" in needs else None
        if proxy:
            held.callback(proxy.close)
        options = StackOptions(
            taskmanagers=TASKMANAGERS,
            topics=False,
            quick_start=True,
            high_availability=True,
            detour_port=proxy.port if proxy else None,
        )
        stack = LocalStack(home / "stack", options)
        world = World(stack, proxy=proxy)
        if "disks" in needs:
            folders = {
                "broker": stack.home / "data" / "kafka",
                "checkpoints": stack.home / "flink" / "checkpoints",
                "logs": stack.logs,
            }
            world.disks = Disks(folders)
            held.callback(world.disks.unmount)
            world.disks.mount()
        if "clock" in needs:
            world.clock = Clock(home / "clock")
            held.callback(world.clock.remove)
            world.clock.come_into_force()
        held.callback(lambda: _keep_logs(world, home / "logs"))
        held.callback(stack.down)
        tell(0, "the stack starts")
        stack.up()
        settings = {}
        if proxy:
            proxy.start(stack.detour_target)
            settings["bootstrap_servers"] = f"127.0.0.1:{proxy.port}"
        tell(0, "the job starts")
        job = ScoringJob(stack, "chaos", len(partitions), **settings).start()
        story = Story(job, world, partitions, home, tell)
        held.callback(story.stop)
        result = story.run(schedule)
        tell(story.rows, "the ledgers are read")
        collected = None
        try:
            collected = collect(job, story.reader, partitions)
        except (AssertionError, StackError, ReadError, KafkaException) as error:
            result.hangs.append(f"the ledgers cannot be read: {error}")
    if collected is not None:
        tell(story.rows, "the undisturbed runs")
        check(partitions, job.core_settings, collected, result)
    shutil.rmtree(home / "stack", ignore_errors=True)
    return result


def _keep_logs(world: World, target: Path) -> None:
    shutil.copytree(world.stack.logs, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(disks.BALLAST))
