"""Payments as the planners of salaries, fraud and laundering write them: vectorised, with country, currency, device."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.training.simulator.config import DAY_MS, SimulatorConfig
from models.training.simulator.events import (
    ATM_CODE,
    COUNTRY_CURRENCY,
    CRIMINAL_DEVICE,
    EXTERNAL,
    FIRST_OCTET,
    KIND,
    MEMOS,
    MERCHANT,
    MINOR_PER_EUR,
    OFFSHORE,
    PROXY_OCTET,
    Events,
    new_events,
)
from models.training.simulator.ordinary import device_at
from models.training.simulator.population import FAVOURITE_SHOPS, Population
from schemas.columns import CHANNELS, F64, I64, U8

Rng = np.random.Generator
Codes = I64 | int
Amounts = F64 | float

_RESALE_CODES = (5732, 5944, 5651, 6051)
"""What stolen cards buy: electronics, jewellery, clothing, quasi-cash."""


@dataclass(frozen=True)
class World:
    """A population with the lists that planners draw from."""

    config: SimulatorConfig
    population: Population
    resale_shops: I64  # physical merchants whose goods are easily sold on
    resale_online: I64
    small_online: I64  # online merchants of small amounts, where cards are tested
    _rings: dict[int, I64] = field(default_factory=dict, repr=False)  # mules by month: a function of seed and month

    @classmethod
    def of(cls, config: SimulatorConfig, population: Population) -> World:
        """Gather the lists for a population."""
        p = population
        number = np.arange(len(p.merchant_country))
        is_resale = np.isin(p.merchant_category, _RESALE_CODES)
        is_online = number >= p.online_start
        is_small = np.isin(p.merchant_category, (5816, 8398, 7995, 5999))
        is_shop = number < p.shop_start[-1]
        online = np.flatnonzero(is_online)
        return cls(
            config=config,
            population=p,
            resale_shops=_or_all(np.flatnonzero(is_shop & is_resale), np.flatnonzero(is_shop)),
            resale_online=_or_all(np.flatnonzero(is_online & is_resale), online),
            small_online=_or_all(np.flatnonzero(is_online & is_small), online),
        )

    def country_of(self, codes: I64) -> U8:
        """Return the country of each entity."""
        p = self.population
        kind, number = np.divmod(codes, KIND)
        country = p.country[np.where(kind == 0, number, 0)]
        country = np.where(kind == MERCHANT, p.merchant_country[np.where(kind == MERCHANT, number, 0)], country)
        external = p.external_country[np.where(kind == EXTERNAL, number, 0)]
        return np.where(kind == EXTERNAL, external, country).astype(np.uint8)

    def customers(self, rng: Rng, count: int) -> I64:
        """Draw private accounts, without repeats as far as there are enough."""
        p = self.population
        drawn = rng.integers(p.businesses, self.config.accounts, count * 2 + 4)
        _, first = np.unique(drawn, return_index=True)
        distinct = drawn[np.sort(first)]
        return distinct[:count] if len(distinct) >= count else drawn[:count]

    def externals(self, rng: Rng, count: int) -> I64:
        """Draw accounts at other banks."""
        return EXTERNAL * KIND + rng.integers(0, len(self.population.external_country), count)

    def offshore(self, rng: Rng, count: int) -> I64:
        """Draw accounts at banks abroad that laundered money likes; shell companies are few."""
        numbers = np.flatnonzero(np.isin(self.population.external_country, OFFSHORE))
        if len(numbers) == 0:
            return self.externals(rng, count)
        return EXTERNAL * KIND + numbers[(len(numbers) * rng.random(count) ** 2).astype(np.int64)]

    def mules(self, rng: Rng, time_ms: int, count: int) -> I64:
        """Draw distinct mule accounts: mostly from the ring recruited for the month, sometimes somebody fresh.

        The ring is 1 in 250 private accounts, so a mule works several times before the bank closes it.
        """
        ring = self._ring(time_ms // (30 * DAY_MS))
        drawn = rng.permutation(ring)[np.arange(count) % len(ring)]
        fresh = self.customers(rng, count)
        is_new = (rng.random(count) < 0.3) & ~(fresh[:, None] == drawn).any(axis=1)
        return np.where(is_new, fresh, drawn)

    def _ring(self, month: int) -> I64:
        if month not in self._rings:
            rng = np.random.default_rng([self.config.seed, 2, month])
            self._rings[month] = self.customers(rng, max(12, self.config.accounts // 250))
        return self._rings[month]

    def criminal_devices(self, rng: Rng, count: int) -> I64:
        """Draw devices of criminals; farms reuse a few thousand."""
        return CRIMINAL_DEVICE + (rng.random(count) ** 3 * 20_000).astype(np.int64)

    def own_devices(self, accounts: I64, time_ms: I64) -> I64:
        """Return the devices that these accounts usually use."""
        return device_at(self.population.household[accounts], time_ms)

    def shops_near(self, rng: Rng, country: int, count: int) -> I64:
        """Draw physical merchants of a country, popular ones more often."""
        start, end = self.population.shop_start[country : country + 2]
        drawn: I64 = start + ((end - start) * rng.random(count) ** 2).astype(np.int64)
        return drawn

    def favourite_shops(self, rng: Rng, account: int, count: int) -> I64:
        """Draw among the shops that an account usually goes to."""
        drawn: I64 = self.population.favourites[account, rng.integers(0, FAVOURITE_SHOPS, count)].astype(np.int64)
        return drawn

    def transfers(
        self, time_ms: Codes, originator: Codes, counterparty: Codes, eur: Amounts,
        channel: str | U8 = "transfer", memo: str | None = None, device: Codes | None = None, by_proxy: bool = False,
    ) -> Events:  # fmt: skip
        """Return transfers; every argument is one value or one for each.

        Accounts of this bank use their own device unless one is given; other banks' transfers carry none.
        """
        times, sources, targets, amounts = np.broadcast_arrays(
            np.asarray(time_ms, np.int64), np.asarray(originator, np.int64), np.asarray(counterparty, np.int64), eur
        )
        events = new_events(times.size)
        events["time_ms"] = times
        events["originator"] = sources
        events["counterparty"] = targets
        countries = self.country_of(sources)
        events["originator_country"] = countries
        events["counterparty_country"] = self.country_of(targets)
        events["currency"] = COUNTRY_CURRENCY[countries]
        events["amount_minor"] = to_minor(amounts, events["currency"])
        events["channel"] = CHANNELS.index(channel) if isinstance(channel, str) else channel
        events["memo"] = MEMOS.index(memo)
        is_here = sources < KIND
        own = self.own_devices(np.where(is_here, sources, 0), times) if device is None else device
        events["device"] = np.where(is_here, own, -1)
        self._set_addresses(events, by_proxy)
        return events

    def payments(
        self, time_ms: Codes, account: Codes, merchant: Codes, eur: Amounts, is_online: npt.ArrayLike,
        device: Codes | None = None, by_proxy: bool = False,
    ) -> Events:  # fmt: skip
        """Return card payments at merchants (numbers, not codes); every argument is one value or one for each."""
        p = self.population
        times, accounts, merchants, amounts, online = np.broadcast_arrays(
            np.asarray(time_ms, np.int64), np.asarray(account, np.int64), np.asarray(merchant, np.int64), eur, is_online
        )
        events = new_events(times.size)
        events["time_ms"] = times
        events["originator"] = accounts
        events["counterparty"] = MERCHANT * KIND + merchants
        events["originator_country"] = p.country[accounts]
        events["counterparty_country"] = p.merchant_country[merchants]
        events["merchant_category"] = p.merchant_category[merchants]
        where = np.where(online, events["originator_country"], events["counterparty_country"])
        events["currency"] = COUNTRY_CURRENCY[where]
        events["amount_minor"] = to_minor(amounts, events["currency"])
        by_card = np.where(online, CHANNELS.index("card_not_present"), CHANNELS.index("card_present"))
        events["channel"] = np.where(p.merchant_category[merchants] == ATM_CODE, CHANNELS.index("atm"), by_card)
        own = self.own_devices(accounts, times) if device is None else device
        events["device"] = np.where(online, own, -1)
        self._set_addresses(events, by_proxy)
        return events

    def _set_addresses(self, events: Events, by_proxy: bool) -> None:
        """Give every event with a device an address of its device and country; proxies share one range."""
        octets = np.where(by_proxy, PROXY_OCTET, FIRST_OCTET[events["originator_country"]])
        scrambled = events["device"] * 2_654_435_761 + events["time_ms"] // (5 * DAY_MS) * 40_503
        events["ip"] = np.where(events["device"] < 0, -1, (octets << 24) | (scrambled & 0xFFFFFF))


def to_minor(eur: Amounts, currency: U8) -> I64:
    """Convert euros to minor units of currencies (indices); at least one."""
    minor: I64 = np.maximum(1, np.rint(np.asarray(eur) * MINOR_PER_EUR[currency])).astype(np.int64)
    return minor


def _or_all(some: I64, every: I64) -> I64:
    return some if len(some) else every
