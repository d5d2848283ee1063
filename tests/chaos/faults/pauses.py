"""SIGSTOP of one process, for longer than the others wait for it; then it goes on as if nothing had been."""

from __future__ import annotations

import random

from tests.chaos.faults.world import World, last

HEARTBEAT_SECONDS = 5.0  # heartbeat.timeout of the embedded cluster
REQUEST_SECONDS = 30.0  # request.timeout.ms of Kafka's clients
SESSION_SECONDS = 4.0  # the JobManager's session with ZooKeeper


def pause_taskmanager(world: World, draw: random.Random) -> None:
    """Stop a TaskManager for longer than its heartbeat may stay away: another takes over, and then it wakes up."""
    name = f"taskmanager-{world.a_host(draw)}"
    world.stack.pause(name)
    try:
        last(HEARTBEAT_SECONDS * draw.uniform(1.6, 3))
    finally:
        world.stack.resume(name)


def pause_broker(world: World, draw: random.Random) -> None:
    """Stop the broker for longer than its clients wait for an answer."""
    world.stack.pause("broker")
    try:
        last(REQUEST_SECONDS + draw.uniform(2, 5))
    finally:
        world.stack.resume("broker")


def pause_jobmanager(world: World, draw: random.Random) -> None:
    """Stop the JobManager for longer than its session with ZooKeeper."""
    world.stack.pause("jobmanager")
    try:
        last(SESSION_SECONDS * draw.uniform(1.6, 3))
    finally:
        world.stack.resume("jobmanager")
    world.wait_until_known()
