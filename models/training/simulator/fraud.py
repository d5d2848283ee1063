"""Fraud patterns: one function makes the events of one episode that starts at a given time.

A careful episode uses the victim's own device and amounts near the usual ones; the others give themselves away.
"""

from __future__ import annotations

import numpy as np

from models.training.simulator.config import DAY_MS, HOUR_MS
from models.training.simulator.events import UNMARKED, Events
from models.training.simulator.world import Rng, World
from schemas.columns import F64, I64

MINUTE_MS = 60_000


def _after(rng: Rng, start_ms: int, mean_gap_ms: float, count: int) -> I64:
    """Return `count` rising times from `start_ms` on, with exponential gaps."""
    gaps = rng.exponential(mean_gap_ms, count).astype(np.int64) + 1_000
    gaps[0] = 0
    times: I64 = start_ms + np.cumsum(gaps)
    return times


def card_testing(world: World, rng: Rng, start_ms: int, is_careful: bool) -> Events:
    """Try a list of stolen cards with tiny amounts at one merchant; use some of the live ones hours later."""
    count = int(rng.integers(4, 19))
    cards = world.customers(rng, count)
    merchant = int(rng.choice(world.small_online[: max(8, len(world.small_online) // 2)]))
    tries = np.repeat(cards, rng.integers(1, 3, count))
    times = _after(rng, start_ms, (15 if is_careful else 0.7) * MINUTE_MS, len(tries))
    eur = rng.uniform(0.5, 5.0, len(tries)) if not is_careful else rng.uniform(0.9, 20.0, len(tries))
    farm = world.criminal_devices(rng, int(rng.integers(1, 3)) if not is_careful else max(2, count // 2))
    devices = rng.choice(farm, len(tries))
    tests = world.payments(times, tries, merchant, eur, is_online=True, device=devices, by_proxy=not is_careful)
    live = cards[rng.random(count) < 0.25]
    used_at = times[-1] + (rng.uniform(0.5, 30, len(live)) * HOUR_MS).astype(np.int64)
    shops = rng.choice(world.resale_online, len(live))
    uses = world.payments(
        used_at, live, shops, rng.lognormal(5.4, 0.7, len(live)), True, device=rng.choice(farm, len(live))
    )
    return np.concatenate([tests, uses])


def account_takeover(world: World, rng: Rng, start_ms: int, is_careful: bool) -> Events:
    """Log in as the customer, try a small transfer, then empty the account towards one or two mules."""
    victim = world.customers(rng, 1)
    count = int(rng.integers(1, 6))
    mules = world.mules(rng, start_ms, 2)
    mules = mules[mules != victim[0]]
    device = world.own_devices(victim, np.array([start_ms])) if is_careful else world.criminal_devices(rng, 1)
    times = _after(rng, start_ms, (90 if is_careful else 9) * MINUTE_MS, count)
    size = world.population.salary_eur[victim[0]] * (0.15 if is_careful else 0.5)
    eur = size * rng.lognormal(0.0, 0.6, count)
    if count > 1 and rng.random() < 0.4:
        eur[0] = rng.uniform(1.0, 15.0)
    targets = rng.choice(mules, count) if len(mules) else world.externals(rng, count)
    how = "instant_transfer" if rng.random() < 0.75 else "transfer"
    return world.transfers(times, victim[0], targets, eur, channel=how, device=device[0], by_proxy=not is_careful)


def stolen_card(world: World, rng: Rng, start_ms: int, is_careful: bool) -> Events:
    """Spend on a stolen card until it is blocked: a small purchase first, then goods that sell again."""
    p = world.population
    victim = int(world.customers(rng, 1)[0])
    count = int(rng.integers(2, 10))
    times = _after(rng, start_ms, (5 * 60 if is_careful else 50) * MINUTE_MS, count)
    is_online = np.full(count, rng.random() < 0.4)
    country = int(p.country[victim]) if rng.random() < 0.7 else int(rng.integers(0, 13))
    near = world.shops_near(rng, country, count)
    is_resale = rng.random(count) < (0.25 if is_careful else 0.6)
    resale_near = world.resale_shops[p.merchant_country[world.resale_shops] == country]
    goods = rng.choice(resale_near if len(resale_near) else near, count)
    shops = np.where(is_online, rng.choice(world.resale_online, count), np.where(is_resale, goods, near))
    eur = np.exp(p.merchant_log_price[shops] + p.merchant_spread[shops] * rng.normal(size=count))
    eur *= 1.0 if is_careful else rng.uniform(1.2, 3.5)
    eur[0] *= 0.3
    device = world.criminal_devices(rng, 1)[0]
    return world.payments(
        times, victim, shops, np.maximum(eur, 1.0), is_online, device=device, by_proxy=bool(rng.random() < 0.5)
    )


def bust_out(world: World, rng: Rng, start_ms: int, is_careful: bool) -> Events:
    """Build up trust with ordinary, rising spending; then draw every limit within days and disappear.

    The build-up stays unmarked: nobody can call it fraud while it happens.
    """
    p = world.population
    account = int(world.customers(rng, 1)[0])
    rising = int(rng.integers(4, 10))
    days = rng.uniform(8, 25)
    built_at = start_ms + np.sort(rng.uniform(0, days * DAY_MS, rising)).astype(np.int64)
    build_up = world.payments(
        built_at, account, world.favourite_shops(rng, account, rising), _rising(rng, rising), is_online=False
    )
    count = int(rng.integers(6, 20))
    bust_ms = start_ms + int(days * DAY_MS)
    times = _after(rng, bust_ms, (8 if is_careful else 3) * HOUR_MS, count)
    is_online = rng.random(count) < 0.5
    shops = np.where(is_online, rng.choice(world.resale_online, count), rng.choice(world.resale_shops, count))
    at_machine = rng.random(count) < 0.2
    machine = int(p.atm_start[p.country[account]])
    shops = np.where(at_machine, machine, shops)
    eur = rng.lognormal(5.3 if is_careful else 6.1, 0.7, count)
    eur = np.where(at_machine, np.ceil(np.minimum(eur, 1_000) / 50) * 50, eur)
    bust = world.payments(times, account, shops, eur, is_online & ~at_machine)
    build_up["pattern"] = UNMARKED
    return np.concatenate([build_up, bust])


def _rising(rng: Rng, count: int) -> F64:
    rising: F64 = np.linspace(30.0, 250.0, count) * rng.lognormal(0.0, 0.4, count)
    return rising
