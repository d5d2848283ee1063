"""SIGKILL of one process, and its start on the same data soon after, as a supervisor does it.

Python runs inside the TaskManager (thread mode), so it dies with it: there is no Python process to kill alone.
"""

from __future__ import annotations

import random

from tests.chaos.faults.world import World, last


def kill_taskmanager(world: World, draw: random.Random) -> None:
    """Kill a TaskManager that runs tasks of the job; one more stands by."""
    index = world.a_host(draw)
    world.stack.kill_taskmanager(index)
    world.strike()
    last(draw.uniform(0, 1))
    world.stack.start_taskmanager(index)


def kill_broker(world: World, draw: random.Random) -> None:
    """Kill the only broker."""
    world.stack.kill_broker()
    world.strike()
    last(draw.uniform(0, 2))
    world.stack.restart_broker()


def kill_jobmanager(world: World, draw: random.Random) -> None:
    """Kill the JobManager; ZooKeeper remembers its jobs."""
    world.stack.kill_jobmanager()
    world.strike()
    last(draw.uniform(0, 1))
    world.stack.start_jobmanager()
    world.wait_until_known()


def kill_redis(world: World, draw: random.Random) -> None:
    """Kill Redis; scoring goes on without it."""
    world.stack.kill_redis()
    world.strike()
    last(draw.uniform(1, 3))
    world.stack.start_redis()
