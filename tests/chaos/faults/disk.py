"""A full disk under one part of the stack; then room again, and whoever gave up is started again."""

from __future__ import annotations

import random

from tests.chaos.disks import Disks
from tests.chaos.faults.world import World, last


def _disks(world: World) -> Disks:
    assert world.disks is not None, "no file systems of a limited size are mounted"
    return world.disks


def fill_broker(world: World, draw: random.Random) -> None:
    """Fill the broker's disk: it shuts itself down when it cannot write its log."""
    _disks(world).fill("broker")
    try:
        last(draw.uniform(5, 10))
    finally:
        _disks(world).free("broker")
    if not world.is_alive("broker"):
        world.stack.restart_broker()
        return
    # One whose log directory is offline lives on, and serves nothing, until somebody starts it again.
    world.stack.kill_broker()
    world.stack.restart_broker()


def fill_checkpoints(world: World, draw: random.Random) -> None:
    """Fill the disk of the checkpoints: none completes, and after some failures the job starts over from the last."""
    _disks(world).fill("checkpoints")
    try:
        last(draw.uniform(8, 15))
    finally:
        _disks(world).free("checkpoints")


def fill_logs(world: World, draw: random.Random) -> None:
    """Fill the disk of the logs: nobody may notice."""
    _disks(world).fill("logs")
    try:
        last(draw.uniform(4, 8))
    finally:
        _disks(world).free("logs")
