"""Every fault by name, what it needs, and how often the full run has it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.faults import clocks, disk, kills, network, pauses
from tests.chaos.faults.world import World


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes
    ----------
    inject
        Does it, heals it, and starts again what died; returns then.
    count
        In the full run; 0 for what is known to leave a trace, and documented.
    is_kill
        Whether recovery counts from its beginning. Other faults last as long as they please: theirs counts from the
        moment when they are over.
    needs
        Part of the world: proxy, disks or clock; empty for none.
    """

    inject: Callable[[World, random.Random], None]
    count: int
    is_kill: bool = False
    needs: str = ""


FAULTS: dict[str, Fault] = {
    "taskmanager-kill": Fault(kills.kill_taskmanager, 20, is_kill=True),
    "broker-kill": Fault(kills.kill_broker, 10, is_kill=True),
    "jobmanager-kill": Fault(kills.kill_jobmanager, 5, is_kill=True),
    "redis-kill": Fault(kills.kill_redis, 10, is_kill=True),
    "taskmanager-pause": Fault(pauses.pause_taskmanager, 3),
    "broker-pause": Fault(pauses.pause_broker, 2),
    "jobmanager-pause": Fault(pauses.pause_jobmanager, 2),
    "network-drop": Fault(network.drop, 3, needs="proxy"),
    "network-cut": Fault(network.cut, 3, needs="proxy"),
    "network-delay": Fault(network.delay, 2, needs="proxy"),
    "network-flip": Fault(network.flip, 3, needs="proxy"),
    "disk-broker": Fault(disk.fill_broker, 2, needs="disks"),
    "disk-checkpoints": Fault(disk.fill_checkpoints, 2, needs="disks"),
    "disk-logs": Fault(disk.fill_logs, 2, needs="disks"),
    "clock-forward": Fault(clocks.step_forward, 3, needs="clock"),
    "clock-back": Fault(clocks.step_back, 3, needs="clock"),
    "clock-far-back": Fault(clocks.step_far_back, 0, needs="clock"),
}
