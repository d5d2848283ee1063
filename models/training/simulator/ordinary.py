"""Spontaneous legitimate events: purchases, cash withdrawals and transfers, compiled."""

from __future__ import annotations

import math

import numba
import numpy as np

from models.training.simulator.config import DAY_MS, HOUR_MS, SimulatorConfig
from models.training.simulator.draws import fraction, key, normal, poisson, unit
from models.training.simulator.events import (
    ATM_CODE,
    COUNTRY_CURRENCY,
    COUNTRY_SHARE,
    EXTERNAL,
    FIRST_OCTET,
    KIND,
    MERCHANT,
    MINOR_PER_EUR,
    ONE_OFF_DEVICE,
    PROXY_OCTET,
    Events,
    new_events,
)
from models.training.simulator.population import BUSINESS, CONTACTS, FAVOURITE_SHOPS, FAVOURITES, Population
from models.training.simulator.rhythm import slice_rhythm
from schemas.columns import CHANNELS, F64, I32, I64, U8, Bool

_CARD_PRESENT = CHANNELS.index("card_present")
_CARD_NOT_PRESENT = CHANNELS.index("card_not_present")
_ATM = CHANNELS.index("atm")
_TRANSFER = CHANNELS.index("transfer")
_INSTANT = CHANNELS.index("instant_transfer")
_WIRE = CHANNELS.index("wire")

_TRAVEL_SHARE = 0.02  # of the weeks of an account
_TRAVEL_TO = len(COUNTRY_SHARE)
_DEVICE_LIFE_MS = 600 * DAY_MS
_ATM_SHARE = 0.05
_MARKETPLACES = 3  # the first online merchants: a few percent of everybody's purchases go there


@numba.njit(cache=True, nogil=True)
def count_events(seed: np.uint64, number: int, rate: F64, lane: I32, rhythm: F64, counts: I64) -> int:
    """Draw how many events each account has in a slice; return their sum."""
    state = np.empty(1, np.uint64)
    total = 0
    for a in range(len(rate)):
        state[0] = key(seed, number, a)
        counts[a] = poisson(state, rate[a] * rhythm[lane[a], -1])
        total += counts[a]
    return total


@numba.njit(cache=True, nogil=True, inline="always")
def to_minor(eur: float, minor_per_eur: float) -> int:
    """Convert euros to minor units of a currency; at least one."""
    return max(1, int(eur * minor_per_eur + 0.5))


@numba.njit(cache=True, nogil=True, inline="always")
def device_of(account: int, time_ms: int) -> int:
    """Return the code of an account's first device at a time: phones are replaced every 600 days or so."""
    phase = (account * 7919) % 600 * DAY_MS
    return account * 8 + ((time_ms + phase) // _DEVICE_LIFE_MS) % 4


@numba.njit(cache=True, nogil=True, inline="always")
def address_of(device: int, time_ms: int, first_octet: int) -> int:
    """Return the IPv4 address of a device: stable for some days, its first byte tells the country."""
    low = key(np.uint64(17), device, time_ms // (5 * DAY_MS)) & np.uint64(0xFFFFFF)
    return (first_octet << 24) | int(low)


@numba.njit(cache=True, nogil=True)
def write_events(
    seed: np.uint64, number: int, start_ms: int, rhythm: F64, counts: I64,
    country: U8, segment: U8, lane: I32, log_spend: F64, transfer_share: F64, online_share: F64,
    favourites: I32, contacts: I64, household: I64, has_second_device: Bool,
    shop_start: I64, atm_start: I64, online_start: int,
    merchant_country: U8, merchant_category: I32, merchant_log_price: F64, merchant_spread: F64, external_country: U8,
    country_currency: U8, minor_per_eur: F64, first_octet: I64,
    out: Events,
) -> None:  # fmt: skip
    """Fill `out` with the events counted by `count_events`, account by account, not yet ordered in time."""
    state = np.empty(1, np.uint64)
    accounts = len(country)
    merchants = len(merchant_country)
    hours = rhythm.shape[1]
    end_ms = start_ms + hours * HOUR_MS
    row = 0
    for a in range(accounts):
        if counts[a] == 0:
            continue
        state[0] = key(seed, number, a) ^ np.uint64(0x5DEECE66D)
        home = country[a]
        week = key(seed ^ np.uint64(0xA11), a, start_ms // (7 * DAY_MS))
        is_travelling = fraction(week) < _TRAVEL_SHARE
        here = int(week & np.uint64(0xFFFF)) % _TRAVEL_TO if is_travelling else home
        previous_ms = np.int64(-1)
        for _ in range(counts[a]):
            # When: by the rhythm, but a quarter of the events follow the one before within the hour.
            mass = unit(state) * rhythm[lane[a], -1]
            hour = 0
            while hour < hours - 1 and rhythm[lane[a], hour] <= mass:
                hour += 1
            time_ms = start_ms + hour * HOUR_MS + np.int64(unit(state) * HOUR_MS)
            if previous_ms >= 0 and unit(state) < 0.25:
                follows_ms = previous_ms + 60_000 + np.int64(unit(state) * 45 * 60_000)
                if follows_ms < end_ms:
                    time_ms = follows_ms
            previous_ms = time_ms
            event = out[row]
            row += 1
            event.time_ms = time_ms
            event.originator = a
            event.originator_country = home

            uses_device = False
            kind = unit(state)
            if kind < transfer_share[a]:
                # Whom: usually a contact, the closest most often; now and then somebody new.
                uses_device = True
                choice = unit(state)
                if choice < 0.90:
                    partner = contacts[a, int(CONTACTS * unit(state) ** 2)]
                elif choice < 0.95:
                    partner = np.int64(unit(state) * accounts)
                    if partner == a:
                        partner = (a + 1) % accounts
                else:
                    partner = EXTERNAL * KIND + np.int64(unit(state) * len(external_country))
                partner_country = country[partner] if partner < KIND else external_country[partner - EXTERNAL * KIND]
                is_business = segment[a] == BUSINESS
                eur = math.exp((5.9 if is_business else 3.9) + 0.8 * log_spend[a] + 1.3 * normal(state))
                eur = min(max(eur, 1.0), 60_000.0)
                if unit(state) < 0.45:  # people like round amounts
                    step = 5.0 if eur < 100.0 else 50.0 if eur < 1_000.0 else 100.0
                    eur = max(step, math.floor(eur / step + 0.5) * step)
                how = unit(state)
                event.channel = _WIRE if is_business and how < 0.15 else _INSTANT if how < 0.45 else _TRANSFER
                event.counterparty = partner
                event.counterparty_country = partner_country
                event.currency = country_currency[home]
                memo = unit(state)
                event.memo = (3 if is_business else 4 + int(memo * 12.0) % 5) if memo < 0.5 else 0
            elif kind < transfer_share[a] + _ATM_SHARE:
                machines = atm_start[here + 1] - atm_start[here]
                event.counterparty = MERCHANT * KIND + atm_start[here] + np.int64(machines * unit(state) ** 2)
                event.counterparty_country = here
                event.currency = country_currency[here]
                event.channel = _ATM
                event.merchant_category = ATM_CODE
                eur = 10.0 * (1 + int(min(49.0, math.exp(2.0 + 0.5 * log_spend[a] + 0.7 * normal(state)))))
            else:
                is_online = unit(state) < online_share[a]
                choice = unit(state)
                if is_online:
                    uses_device = True
                    if choice < 0.60:
                        shop = favourites[a, FAVOURITE_SHOPS + int((FAVOURITES - FAVOURITE_SHOPS) * unit(state))]
                    elif choice < 0.70:
                        shop = online_start + int(unit(state) * _MARKETPLACES)
                    else:
                        shop = online_start + int((merchants - online_start) * unit(state) ** 3)
                elif choice < 0.75 and not is_travelling:
                    shop = favourites[a, int(FAVOURITE_SHOPS * unit(state) ** 1.5)]
                else:
                    shop = shop_start[here] + int((shop_start[here + 1] - shop_start[here]) * unit(state) ** 2)
                event.counterparty = MERCHANT * KIND + shop
                event.counterparty_country = merchant_country[shop]
                event.merchant_category = merchant_category[shop]
                event.channel = _CARD_NOT_PRESENT if is_online else _CARD_PRESENT
                event.currency = country_currency[home if is_online else merchant_country[shop]]
                eur = math.exp(merchant_log_price[shop] + 0.6 * log_spend[a] + merchant_spread[shop] * normal(state))
                eur = min(max(eur, 0.5), 15_000.0)
                ending = unit(state)
                if ending < 0.25:
                    eur = math.floor(eur) + 0.99
                elif ending < 0.40:
                    eur = math.floor(eur) + 1.0
            event.amount_minor = to_minor(eur, minor_per_eur[event.currency])

            if uses_device:
                device = device_of(household[a], time_ms)
                which = unit(state)
                if which < 0.01:  # a borrowed or brand-new device
                    device = ONE_OFF_DEVICE + np.int64(unit(state) * 150_000_000)
                elif which < 0.25 and has_second_device[a]:
                    device += 4
                event.device = device
                octet = first_octet[here] if unit(state) < 0.96 else PROXY_OCTET
                event.ip = address_of(device, time_ms, octet)


def device_at(account: I64, time_ms: I64) -> I64:
    """Do what `device_of` does, for arrays."""
    phase = (account * 7919) % 600 * DAY_MS
    device: I64 = account * 8 + ((time_ms + phase) // _DEVICE_LIFE_MS) % 4
    return device


def ordinary_events(config: SimulatorConfig, population: Population, number: int, start_ms: int) -> Events:
    """Return the spontaneous legitimate events of the slice that starts at `start_ms`, unordered.

    `number` is the slice's own: what its random draws are seeded by.
    """
    p = population
    rhythm = slice_rhythm(start_ms, config.slice_ms // HOUR_MS)
    seed = np.uint64((config.seed * 0x9E3779B97F4A7C15 + 0x1234567) % 2**64)
    counts = np.empty(config.accounts, np.int64)
    events = new_events(count_events(seed, number, p.rate, p.lane, rhythm, counts))
    write_events(
        seed, number, start_ms, rhythm, counts,
        p.country, p.segment, p.lane, p.log_spend, p.transfer_share, p.online_share,
        p.favourites, p.contacts, p.household, p.has_second_device,
        p.shop_start, p.atm_start, p.online_start,
        p.merchant_country, p.merchant_category, p.merchant_log_price, p.merchant_spread, p.external_country,
        COUNTRY_CURRENCY, MINOR_PER_EUR, FIRST_OCTET,
        events,
    )  # fmt: skip
    return events
