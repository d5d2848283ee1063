"""A step of the wall clock of every process of the stack at once.

Within half of the transactions' timeout: a broker whose clock jumps further takes an open transaction for expired.
"""

from __future__ import annotations

import random

from tests.chaos.clock import Clock
from tests.chaos.faults.world import World, last


def _clock(world: World) -> Clock:
    assert world.clock is not None, "the processes have the system's clock"
    return world.clock


def step_forward(world: World, draw: random.Random) -> None:
    """Set the clock forwards by up to five minutes."""
    _clock(world).step(10 ** draw.uniform(0, 2.47))
    last(2)


def step_back(world: World, draw: random.Random) -> None:
    """Set the clock backwards by up to a second, as a time server's correction does."""
    _clock(world).step(-draw.uniform(0.05, 1))
    last(2)


def step_far_back(world: World, draw: random.Random) -> None:
    """Set the clock backwards by ten seconds to two minutes: more than is promised to pass without a trace."""
    _clock(world).step(-(10 ** draw.uniform(1, 2.08)))
    last(2)
