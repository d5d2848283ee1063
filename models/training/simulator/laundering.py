"""Laundering patterns: one function makes the events of one episode that starts at a given time.

The patterns follow the typologies that anti-laundering data sets agree on: fan-in, fan-out, cycles and chains over
accounts, placed cash below the reporting threshold, and accounts that only pass money through.

References
----------
Altman et al.: Realistic Synthetic Financial Transactions for Anti-Money Laundering Models (2023),
https://arxiv.org/abs/2306.16424
"""

from __future__ import annotations

import numpy as np

from models.training.simulator.config import HOUR_MS, REPORTING_THRESHOLD_EUR
from models.training.simulator.events import Events
from models.training.simulator.world import Rng, World
from schemas.columns import F64, I64

MINUTE_MS = 60_000


def _within(rng: Rng, start_ms: int, hours: float, count: int) -> I64:
    times: I64 = start_ms + np.sort(rng.integers(0, max(1, int(hours * HOUR_MS)), count))
    return times


def _split(rng: Rng, total: float, parts: int) -> F64:
    shares: F64 = total * rng.dirichlet(np.full(parts, 6.0))
    return shares


def structuring(world: World, rng: Rng, start_ms: int, is_careful: bool) -> Events:
    """Deposit cash over days in amounts that stay below the reporting threshold, by one or a few depositors."""
    count = int(rng.integers(4, 13))
    mules = world.mules(rng, start_ms, 4)
    collector = world.externals(rng, 1)[0] if rng.random() < 0.6 else mules[0]
    depositors = mules[1 : 1 + int(rng.integers(1, 4))]
    low, high = (0.15, 0.85) if is_careful else (0.7, 0.995)
    eur = REPORTING_THRESHOLD_EUR * rng.uniform(low, high, count)
    rounds = rng.random(count) < 0.5
    eur = np.where(rounds, np.floor(eur / 50) * 50, eur)
    times = _within(rng, start_ms, 24 * (rng.uniform(4, 14) if is_careful else rng.uniform(0.5, 5)), count)
    events = world.transfers(times, rng.choice(depositors, count), collector, eur, channel="cash")
    events["device"] = -1
    events["ip"] = -1
    return events


def fan_in(world: World, rng: Rng, start_ms: int, is_careful: bool) -> Events:
    """Collect from many senders on one mule account, then send the sum on in one to three transfers."""
    mule = world.mules(rng, start_ms, 1)[0]
    count = int(rng.integers(6, 23))
    senders = np.where(rng.random(count) < 0.35, world.externals(rng, count), world.customers(rng, count))
    senders = senders[senders != mule]
    hours = rng.uniform(48, 160) if is_careful else rng.uniform(3, 48)
    eur = np.round(rng.lognormal(5.2 if is_careful else 6.2, 0.6, len(senders)) / 5) * 5 + 5
    times = _within(rng, start_ms, hours, len(senders))
    collected = world.transfers(times, senders, mule, eur, channel="instant_transfer")
    outs = int(rng.integers(1, 4))
    kept = rng.uniform(0.5, 0.8) if is_careful else rng.uniform(0.85, 0.98)
    sent_at = _within(rng, int(times[-1]) + 10 * MINUTE_MS, rng.uniform(0.5, 20), outs)
    sent = world.transfers(
        sent_at, mule, world.offshore(rng, outs), _split(rng, eur.sum() * kept, outs), channel="wire"
    )
    return np.concatenate([collected, sent])


def fan_out(world: World, rng: Rng, start_ms: int, is_careful: bool) -> Events:
    """Receive a large sum and scatter it over many accounts within hours."""
    source = world.mules(rng, start_ms, 1)[0]
    total = rng.lognormal(8.9, 0.5)
    arrived = world.transfers(start_ms, world.externals(rng, 1), source, total)
    count = int(rng.integers(6, 23))
    targets = np.where(rng.random(count) < 0.5, world.mules(rng, start_ms, count), world.externals(rng, count))
    targets = targets[targets != source]
    hours = rng.uniform(24, 96) if is_careful else rng.uniform(0.5, 12)
    times = _within(rng, start_ms + 15 * MINUTE_MS, hours, len(targets))
    eur = _split(rng, total * rng.uniform(0.85, 0.99), len(targets))
    return np.concatenate([arrived, world.transfers(times, source, targets, eur, channel="instant_transfer")])


def mule_chain(world: World, rng: Rng, start_ms: int, is_careful: bool) -> Events:
    """Hand a sum from mule to mule; each keeps a few percent."""
    hops = int(rng.integers(3, 7))
    chain = np.concatenate([world.externals(rng, 1), world.mules(rng, start_ms, hops - 1), world.offshore(rng, 1)])
    kept = rng.uniform(0.02, 0.25 if is_careful else 0.08, hops)
    eur = rng.lognormal(7.8, 0.6) * np.cumprod(1.0 - kept)
    gaps = (rng.exponential(14.0 if is_careful else 1.5, hops) * HOUR_MS).astype(np.int64) + 3 * MINUTE_MS
    times = start_ms + np.cumsum(gaps) - gaps[0]
    return world.transfers(times, chain[:-1], chain[1:], eur, channel="instant_transfer")


def pass_through(world: World, rng: Rng, start_ms: int, is_careful: bool) -> Events:
    """Money in, nearly all of it out again within hours; the same account does it for some days."""
    mule = world.mules(rng, start_ms, 1)[0]
    parts = []
    at = start_ms
    for _ in range(int(rng.integers(1, 5))):
        ins, outs = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        total = rng.lognormal(7.3, 0.6)
        came_at = _within(rng, at, 1.0, ins)
        left_at = _within(
            rng, int(came_at[-1]) + 4 * MINUTE_MS, rng.uniform(3, 12) if is_careful else rng.uniform(0.1, 3), outs
        )
        kept = rng.uniform(0.80, 0.95) if is_careful else rng.uniform(0.92, 0.995)
        targets = np.where(rng.random(outs) < 0.5, world.offshore(rng, outs), world.externals(rng, outs))
        parts.append(world.transfers(came_at, world.externals(rng, ins), mule, _split(rng, total, ins)))
        parts.append(
            world.transfers(left_at, mule, targets, _split(rng, total * kept, outs), channel="instant_transfer")
        )
        at = int(left_at[-1]) + int(rng.exponential(20.0) * HOUR_MS)
    return np.concatenate(parts)


def cycle(world: World, rng: Rng, start_ms: int, is_careful: bool) -> Events:
    """Send a sum round a ring of accounts back to where it started, once or twice."""
    size = int(rng.integers(3, 7))
    ring = world.mules(rng, start_ms, size)
    ring = ring[np.sort(np.unique(ring, return_index=True)[1])]
    rounds = int(rng.integers(1, 3))
    hops = len(ring) * rounds
    lost = rng.uniform(0.003, 0.08 if is_careful else 0.03, hops)
    eur = rng.lognormal(6.9 if is_careful else 8.2, 0.6) * np.cumprod(1.0 - lost)
    gaps = (rng.exponential(22.0 if is_careful else 6.0, hops) * HOUR_MS).astype(np.int64) + 5 * MINUTE_MS
    times = start_ms + np.cumsum(gaps) - gaps[0]
    path = np.tile(ring, rounds)
    return world.transfers(times, path, np.concatenate([path[1:], path[:1]]), eur, channel="transfer")
