"""Planned legitimate payments of a day: what honest life has in common with the patterns.

Payroll fans out, landlords and marketplaces see fan-in, savings and house moves pass money through, shared dinners
fan in on one person, shopkeepers deposit takings just below the reporting threshold, subscriptions are as small as
card tests. A model that only looks for these shapes is wrong most of the time.
"""

from __future__ import annotations

import datetime as dt

import numpy as np

from models.training.simulator.config import DAY_MS, HOUR_MS
from models.training.simulator.events import EXTERNAL, KIND, Events
from models.training.simulator.world import Rng, World
from schemas.columns import CHANNELS, I64, Bool


def plan_day(world: World, day_ms: int) -> Events:
    """Return the planned legitimate payments that start on the UTC day at `day_ms`; some run into the days after."""
    rng = np.random.default_rng([world.config.seed, 3, day_ms // DAY_MS])
    date = dt.datetime.fromtimestamp(day_ms / 1000, dt.UTC)
    parts = [
        _salaries(world, rng, day_ms, date.day),
        _rents(world, rng, day_ms, date.day),
        _bills(world, rng, day_ms, date.day),
        _subscriptions(world, rng, day_ms, date.day),
        _takings(world, rng, day_ms, date.weekday()),
        _cash_from_private_people(world, rng, day_ms),
        _income_from_elsewhere(world, rng, day_ms),
        _supplier_runs(world, rng, day_ms, date.weekday()),
        _shared_bills(world, rng, day_ms),
        _large_purchases(world, rng, day_ms),
        _circles(world, rng, day_ms),
    ]
    return np.concatenate(parts)


def _times(rng: Rng, day_ms: int, first_hour: float, last_hour: float, count: int) -> I64:
    return (day_ms + rng.uniform(first_hour, last_hour, count) * HOUR_MS).astype(np.int64)


def _salaries(world: World, rng: Rng, day_ms: int, day: int) -> Events:
    """Employers pay in one run within minutes; part of the salary moves on to savings the same day."""
    p = world.population
    employees = np.flatnonzero((p.employer >= 0) & (p.pay_day == day))
    employers = p.employer[employees].astype(np.int64)
    run_start = day_ms + 4 * HOUR_MS + (employers * 7919 % 240) * 60_000
    times = run_start + rng.integers(0, 20 * 60_000, len(employees))
    paid = world.transfers(times, employers, employees, p.salary_eur[employees], memo="salary")
    saves = rng.random(len(employees)) < 0.35
    savers = employees[saves]
    share = np.where(rng.random(len(savers)) < 0.15, rng.uniform(0.8, 0.98, len(savers)), rng.beta(2, 5, len(savers)))
    later = times[saves] + (rng.exponential(5.0, len(savers)) * HOUR_MS).astype(np.int64) + 60_000
    kept = world.transfers(
        later, savers, p.savings[savers], np.ceil(p.salary_eur[savers] * share / 10) * 10, memo="savings"
    )
    return np.concatenate([paid, kept])


def _rents(world: World, rng: Rng, day_ms: int, day: int) -> Events:
    p = world.population
    tenants = np.flatnonzero((p.landlord >= 0) & (p.rent_day == day))
    rent = np.round(0.3 * p.salary_eur[tenants] / 10) * 10
    return world.transfers(_times(rng, day_ms, 5, 11, len(tenants)), tenants, p.landlord[tenants], rent, memo="rent")


def _bills(world: World, rng: Rng, day_ms: int, day: int) -> Events:
    """One direct debit a month and account, on a day of its own: power, water, telephone."""
    p = world.population
    accounts = np.arange(world.config.accounts)
    payers = np.flatnonzero(accounts * 31 % 28 + 1 == day)
    billers = p.bill_start + payers * 17 % (p.online_start - p.bill_start)
    eur = rng.lognormal(4.0, 0.5, len(payers))
    events = world.payments(_times(rng, day_ms, 2, 6, len(payers)), payers, billers, eur, is_online=True)
    events["channel"] = CHANNELS.index("direct_debit")
    events["device"] = -1
    events["ip"] = -1
    return events


def _subscriptions(world: World, rng: Rng, day_ms: int, day: int) -> Events:
    """Small recurring amounts at few online merchants, all in the same early hours."""
    accounts = np.arange(world.config.accounts)
    payers = np.flatnonzero(accounts * 13 % 28 + 1 == day)
    payers = payers[payers % 5 < 3]
    merchants = world.small_online[payers % min(6, len(world.small_online))]
    eur = np.array([0.99, 1.99, 4.99, 9.99, 12.99])[payers % 5]
    events = world.payments(_times(rng, day_ms, 0, 3, len(payers)), payers, merchants, eur, is_online=True)
    events["device"] = -1
    events["ip"] = -1
    return events


def _takings(world: World, rng: Rng, day_ms: int, weekday: int) -> Events:
    """A third of the businesses deposit cash on workdays; good days lie just below the reporting threshold."""
    p = world.population
    if weekday == 6:
        return world.transfers(np.zeros(0, np.int64), 0, 0, np.zeros(0))
    shops = np.arange(0, p.businesses, 3)
    shops = shops[rng.random(len(shops)) < 0.6]
    eur = np.minimum(rng.lognormal(7.5 + 0.3 * p.log_spend[shops], 0.8), 24_000.0)
    times = _times(rng, day_ms, 15, 20, len(shops))
    events = world.transfers(times, shops, p.savings[shops], np.round(eur / 5) * 5 + 5, channel="cash", memo="takings")
    events["device"] = -1
    events["ip"] = -1
    return events


def _cash_from_private_people(world: World, rng: Rng, day_ms: int) -> Events:
    """A used car sold, a wedding, savings from under the mattress: cash deposits out of the blue."""
    people = world.customers(rng, int(rng.poisson(0.002 * world.config.accounts)))
    eur = np.ceil(np.minimum(rng.lognormal(6.9, 1.1, len(people)), 25_000.0) / 50) * 50
    times = _times(rng, day_ms, 7, 17, len(people))
    events = world.transfers(times, people, world.population.savings[people], eur, channel="cash")
    events["device"] = -1
    events["ip"] = -1
    return events


def _income_from_elsewhere(world: World, rng: Rng, day_ms: int) -> Events:
    """Pensions, family, things sold, refunds: money from other banks, mostly small, sometimes not."""
    count = int(rng.poisson(0.08 * world.config.accounts))
    people = rng.integers(0, world.config.accounts, count)
    channel = np.where(rng.random(count) < 0.4, CHANNELS.index("instant_transfer"), CHANNELS.index("transfer"))
    eur = rng.lognormal(4.9, 1.3, count)
    eur = np.where(rng.random(count) < 0.4, np.ceil(eur / 10) * 10, eur)
    times = _times(rng, day_ms, 5, 22, count)
    return world.transfers(times, world.externals(rng, count), people, eur, channel=channel.astype(np.uint8))


def _supplier_runs(world: World, rng: Rng, day_ms: int, weekday: int) -> Events:
    """Some businesses settle with 5 to 30 suppliers in one go, often straight after money came in: honest fan-out."""
    p = world.population
    chosen: Bool = rng.random(p.businesses) < (0.04 if weekday < 5 else 0.004)
    parts = []
    for business in np.flatnonzero(chosen):
        count = int(rng.integers(5, 31))
        total = rng.lognormal(8.6, 0.8)
        at = day_ms + int(rng.uniform(8, 16) * HOUR_MS)
        if rng.random() < 0.6:
            customer = world.externals(rng, 1)[0]
            parts.append(world.transfers(at - int(rng.uniform(0.2, 6) * HOUR_MS), customer, business, total * 1.05))
        suppliers = np.where(rng.random(count) < 0.6, world.externals(rng, count), world.customers(rng, count))
        times = at + np.sort(rng.integers(0, int(rng.uniform(0.2, 5) * HOUR_MS), count))
        parts.append(
            world.transfers(times, business, suppliers, total * rng.dirichlet(np.full(count, 2.0)), memo="invoice")
        )
    return _joined(world, parts)


def _shared_bills(world: World, rng: Rng, day_ms: int) -> Events:
    """Somebody pays for all; friends send their share within two days: honest fan-in on a private account."""
    p = world.population
    parts = []
    for payer in world.customers(rng, int(rng.poisson(0.0015 * world.config.accounts))):
        friends = p.contacts[payer]
        friends = np.unique(friends[(friends < KIND) | (friends >= EXTERNAL * KIND)])
        friends = friends[friends != payer]
        bill = rng.lognormal(4.8, 0.8)
        if rng.random() < 0.15:  # a collection: a present, a club, a holiday flat
            extra = world.customers(rng, int(rng.integers(6, 20)))
            friends = np.unique(np.concatenate([friends, extra[extra != payer]]))
            bill *= 5.0
        at = day_ms + int(rng.uniform(10, 22) * HOUR_MS)
        shop = world.shops_near(rng, int(p.country[payer]), 1)
        parts.append(world.payments(at, payer, shop, bill, is_online=False))
        times = at + (rng.exponential(9.0, len(friends)) * HOUR_MS).astype(np.int64) + 300_000
        share = np.ceil(bill / (len(friends) + 1))
        parts.append(world.transfers(times, friends, payer, share, channel="instant_transfer", memo="dinner"))
    return _joined(world, parts)


def _large_purchases(world: World, rng: Rng, day_ms: int) -> Events:
    """A loan or sale brings money in and most of it leaves within a day, to somebody new: honest pass-through."""
    parts = []
    for account in world.customers(rng, int(rng.poisson(0.0008 * world.config.accounts))):
        eur = np.round(rng.lognormal(8.6, 0.7), -2) + 500
        at = day_ms + int(rng.uniform(7, 18) * HOUR_MS)
        source, target = world.externals(rng, 2)
        if rng.random() < 0.3:
            target = world.customers(rng, 1)[0]
        later = at + int(rng.exponential(14.0) * HOUR_MS) + 600_000
        parts.append(world.transfers(at, source, account, eur, memo="loan"))
        if target != account:
            parts.append(
                world.transfers(
                    later, account, target, eur * rng.uniform(0.8, 1.0), channel="instant_transfer", memo="car"
                )
            )
    return _joined(world, parts)


def _circles(world: World, rng: Rng, day_ms: int) -> Events:
    """Friends lend money on and get it back within days: an honest cycle of two to four."""
    parts = []
    for first in world.customers(rng, int(rng.poisson(0.0005 * world.config.accounts))):
        others = world.customers(rng, int(rng.integers(1, 4)))
        ring = np.concatenate([[first], others[others != first]])
        if len(ring) < 2:
            continue
        hops = (rng.exponential(20.0, len(ring)) * HOUR_MS).astype(np.int64) + 600_000
        times = day_ms + int(rng.uniform(8, 20) * HOUR_MS) + np.cumsum(hops)
        eur = np.round(rng.lognormal(5.2, 1.0) / 10) * 10 + 10
        parts.append(world.transfers(times, ring, np.roll(ring, -1), eur, memo="repayment"))
    return _joined(world, parts)


def _joined(world: World, parts: list[Events]) -> Events:
    if parts:
        return np.concatenate(parts)
    return world.transfers(np.zeros(0, np.int64), 0, 0, np.zeros(0))
