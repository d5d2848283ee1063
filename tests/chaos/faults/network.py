"""Faults of the network between the broker and Flink's processes, by the proxy that stands there."""

from __future__ import annotations

import random

from tests.chaos.faults.world import World, last
from tests.chaos.proxy import Proxy
from tests.waiting import wait_until

FLIPS_SECONDS = 30.0


def _proxy(world: World) -> Proxy:
    assert world.proxy is not None, "Flink's processes reach the broker directly: nothing stands in between"
    return world.proxy


def drop(world: World, draw: random.Random) -> None:
    """Let nothing through: a partition."""
    _proxy(world).drop()
    try:
        last(draw.uniform(5, 15))
    finally:
        _proxy(world).heal()


def cut(world: World, draw: random.Random) -> None:
    """Reset every connection, and each new one for some seconds."""
    _proxy(world).cut()
    try:
        last(draw.uniform(1, 6))
    finally:
        _proxy(world).heal()


def delay(world: World, draw: random.Random) -> None:
    """Hold everything back."""
    _proxy(world).delay(draw.uniform(0.05, 0.3))
    try:
        last(draw.uniform(5, 10))
    finally:
        _proxy(world).heal()


def flip(world: World, draw: random.Random) -> None:
    """Flip a bit in some record batches."""
    proxy, wanted = _proxy(world), draw.randint(1, 3)
    before = proxy.flipped
    proxy.flip(wanted)
    try:
        wait_until(lambda: proxy.flipped >= before + wanted, FLIPS_SECONDS, f"{wanted} record batches come by")
    finally:
        proxy.heal()
