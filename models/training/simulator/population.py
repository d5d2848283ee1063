"""Who lives in the simulated world: accounts, merchants, devices, and who usually pays whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.training.simulator.config import SimulatorConfig
from models.training.simulator.events import (
    ATM_CODE,
    BILL_CODE,
    CATEGORY_CODE,
    CATEGORY_LOG_PRICE,
    CATEGORY_ONLINE,
    CATEGORY_PHYSICAL,
    CATEGORY_SPREAD,
    COUNTRIES,
    COUNTRY_OFFSET_HOURS,
    COUNTRY_SHARE,
    EXTERNAL,
    KIND,
)
from schemas.columns import F64, I32, I64, U8, Bool

FAVOURITE_SHOPS = 5
FAVOURITES = 8  # the first five are shops in the home country, the other three sell online
CONTACTS = 6

SEGMENTS = ("worker", "young", "retired", "business")
BUSINESS = SEGMENTS.index("business")

ZONES = np.unique(COUNTRY_OFFSET_HOURS)
ZONE_OF_COUNTRY = np.searchsorted(ZONES, COUNTRY_OFFSET_HOURS).astype(np.int32)


@dataclass(frozen=True)
class Population:
    """Arrays over accounts and merchants; the index is the number in the identifier."""

    # accounts
    country: U8
    segment: U8
    lane: I32  # index of (segment, time zone) into the rhythm tables
    rate: F64  # spontaneous events a day
    log_spend: F64  # logarithm of the spending level; 0 is usual
    transfer_share: F64
    online_share: F64  # of the card payments
    favourites: I32  # (accounts, FAVOURITES) merchants
    contacts: I64  # (accounts, CONTACTS) entity codes
    household: I64  # account whose devices this one uses: itself, or a neighbour
    has_second_device: Bool
    employer: I32  # account; -1 for businesses
    salary_eur: F64
    pay_day: U8  # day of the month, 1 to 28
    rent_day: U8
    landlord: I64  # entity code; -1 for owners
    savings: I64  # entity code of the account's own savings account at another bank
    # merchants
    merchant_country: U8
    merchant_category: I32  # MCC
    merchant_log_price: F64
    merchant_spread: F64
    shop_start: I64  # (countries + 1,) physical merchants of a country: a range of merchant numbers
    atm_start: I64  # (countries + 1,)
    bill_start: int
    online_start: int
    # other banks
    external_country: U8

    @property
    def businesses(self) -> int:
        """Accounts below this number belong to businesses."""
        return int(np.count_nonzero(self.segment == BUSINESS))


def _skewed(rng: np.random.Generator, count: int | I64, size: int | tuple[int, ...], power: float = 3.0) -> I64:
    """Draw numbers below `count`, low ones far more often: the popular few."""
    drawn: I64 = (count * rng.random(size) ** power).astype(np.int64)
    return drawn


def _starts(first: int, sizes: I64) -> I64:
    return first + np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def make_population(config: SimulatorConfig) -> Population:
    """Draw the population of a configuration.

    Cost about 1 µs an account; memory about 250 bytes an account.
    """
    rng = np.random.default_rng([config.seed, 1])
    n, m = config.accounts, config.merchants

    # Merchant numbers are laid out in ranges: shops by country, cash machines by country, billers, online shops.
    online = max(40, m // 4)
    billers = max(20, m // 50)
    weight = np.maximum(COUNTRY_SHARE, 0.01)
    weight /= weight.sum()
    atms = np.maximum(1, (0.05 * m * weight).astype(np.int64))
    shops = np.maximum(4, ((m - online - billers - atms.sum()) * weight).astype(np.int64))
    shop_start = _starts(0, shops)
    atm_start = _starts(int(shop_start[-1]), atms)
    bill_start = int(atm_start[-1])
    online_start = bill_start + billers
    m = online_start + online

    merchant_country = np.empty(m, np.uint8)
    for starts in (shop_start, atm_start):
        for c in range(len(COUNTRIES)):
            merchant_country[starts[c] : starts[c + 1]] = c
    merchant_country[bill_start:] = rng.choice(len(COUNTRIES), m - bill_start, p=weight)
    category = np.empty(m, np.int64)
    category[:online_start] = rng.choice(
        len(CATEGORY_CODE), online_start, p=CATEGORY_PHYSICAL / CATEGORY_PHYSICAL.sum()
    )
    category[online_start:] = rng.choice(len(CATEGORY_CODE), online, p=CATEGORY_ONLINE / CATEGORY_ONLINE.sum())
    merchant_category = CATEGORY_CODE[category]
    merchant_category[shop_start[-1] : bill_start] = ATM_CODE
    merchant_category[bill_start:online_start] = BILL_CODE

    # Accounts: businesses come first, so that "is a business" is a comparison.
    businesses = max(6, n // 60)
    country = rng.choice(len(COUNTRIES), n, p=COUNTRY_SHARE / COUNTRY_SHARE.sum()).astype(np.uint8)
    segment = rng.choice(3, n, p=[0.62, 0.18, 0.20]).astype(np.uint8)
    segment[:businesses] = BUSINESS
    is_business = segment == BUSINESS
    activity = rng.lognormal(-0.245, 0.7, n)  # mean 1
    activity[is_business] *= 3.0
    rate = config.events_per_account_day * activity / activity.mean()
    log_spend = rng.normal(0.0, 0.45, n) + np.where(is_business, 0.8, 0.0)

    favourites = np.empty((n, FAVOURITES), np.int32)
    home_shops = shops[country]
    favourites[:, :FAVOURITE_SHOPS] = shop_start[country][:, None] + _skewed(
        rng, home_shops[:, None], (n, FAVOURITE_SHOPS), 2.0
    )
    favourites[:, FAVOURITE_SHOPS:] = online_start + _skewed(rng, online, (n, FAVOURITES - FAVOURITE_SHOPS))

    # Contacts: mostly near in number (a community), some anywhere, some at other banks. A circle is closed often,
    # because neighbours have each other: laundering cycles hide among them.
    external = max(100, n // 2)
    near = (np.arange(n)[:, None] + rng.integers(1, 25, (n, CONTACTS)) * rng.choice([-1, 1], (n, CONTACTS))) % n
    anyone = rng.integers(0, n, (n, CONTACTS))
    elsewhere = EXTERNAL * KIND + rng.integers(0, external, (n, CONTACTS))
    kind = rng.random((n, CONTACTS))
    contacts = np.where(kind < 0.5, near, np.where(kind < 0.7, anyone, elsewhere))
    contacts += np.where(contacts == np.arange(n)[:, None], 1, 0)
    contacts[contacts == n] = 0

    employer = np.where(is_business, -1, _skewed(rng, businesses, n, 2.0)).astype(np.int32)
    pay_days = rng.choice([1, 15, 25, 26, 27, 28], businesses, p=[0.2, 0.1, 0.25, 0.15, 0.15, 0.15])
    landlords = max(5, n // 40)
    from_landlord_account = rng.random(n) < 0.6
    landlord = np.where(
        from_landlord_account, rng.integers(0, n, landlords)[_skewed(rng, landlords, n, 1.5)],
        EXTERNAL * KIND + _skewed(rng, external, n, 2.0),
    )  # fmt: skip
    landlord = np.where(rng.random(n) < 0.55, landlord, -1)
    numbers = np.arange(n)
    shares_device = (rng.random(n) < config.shared_device_share) & (numbers > 0)
    return Population(
        country=country,
        segment=segment,
        lane=(segment.astype(np.int32) * len(ZONES) + ZONE_OF_COUNTRY[country]).astype(np.int32),
        rate=rate,
        log_spend=log_spend,
        transfer_share=np.where(is_business, 0.75, rng.beta(2.0, 9.0, n)),
        online_share=np.clip(rng.beta(2.0, 3.0, n) - np.where(segment == 2, 0.15, 0.0), 0.02, 0.98),
        favourites=favourites,
        contacts=contacts,
        household=np.where(shares_device, numbers - 1, numbers),
        has_second_device=rng.random(n) < config.second_device_share,
        employer=employer,
        salary_eur=rng.lognormal(7.8, 0.4, n) * np.exp(0.3 * log_spend),
        pay_day=pay_days[np.maximum(employer, 0)].astype(np.uint8),
        rent_day=rng.integers(1, 6, n).astype(np.uint8),
        landlord=np.where(landlord == numbers, -1, landlord),
        savings=EXTERNAL * KIND + (numbers % external),
        merchant_country=merchant_country,
        merchant_category=merchant_category.astype(np.int32),
        merchant_log_price=CATEGORY_LOG_PRICE[category] + rng.normal(0.0, 0.3, m),
        merchant_spread=CATEGORY_SPREAD[category],
        shop_start=shop_start,
        atm_start=atm_start,
        bill_start=bill_start,
        online_start=online_start,
        external_country=rng.choice(len(COUNTRIES), external, p=weight).astype(np.uint8),
    )
