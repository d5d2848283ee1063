"""Events before they become text: one row of numbers each, and the tables their codes point into."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

EVENT = np.dtype(
    [
        ("time_ms", "i8"),
        ("originator", "i8"),  # entity code, see below
        ("counterparty", "i8"),
        ("amount_minor", "i8"),
        ("device", "i8"),  # -1 where none
        ("ip", "i8"),  # IPv4 as a number; -1 where none
        ("episode", "i8"),  # which occurrence of a pattern; -1 for legitimate events
        ("merchant_category", "i4"),  # -1 where none
        ("currency", "u1"),  # index into CURRENCIES
        ("channel", "u1"),  # index into CHANNELS
        ("originator_country", "u1"),  # index into COUNTRIES
        ("counterparty_country", "u1"),
        ("memo", "u1"),  # index into MEMOS; 0 where none
        ("pattern", "u1"),  # index into PATTERNS
    ]
)
UNMARKED = 255
"""Pattern of an episode's events that look and are ordinary; the scheduler turns it into legitimate."""

Events = npt.NDArray[Any]  # of dtype EVENT

# An entity's code is kind * KIND + number, so that one integer travels until the text is written.
KIND = 1_000_000_000
ACCOUNT, MERCHANT, EXTERNAL = 0, 1, 2
KIND_LETTERS = b"AME"  # account at this bank, merchant or cash machine, account at another bank
KIND_DIGITS = (8, 7, 8)

# code, currency, hours ahead of UTC (standard time all year), share of accounts
_COUNTRY_ROWS: tuple[tuple[str, str, int, float], ...] = (
    ("DE", "EUR", 1, 0.26), ("FR", "EUR", 1, 0.17), ("NL", "EUR", 1, 0.09), ("IT", "EUR", 1, 0.10),
    ("ES", "EUR", 1, 0.10), ("AT", "EUR", 1, 0.04), ("BE", "EUR", 1, 0.04), ("IE", "EUR", 0, 0.03),
    ("GB", "GBP", 0, 0.06), ("CH", "CHF", 1, 0.03), ("PL", "PLN", 1, 0.04), ("US", "USD", -5, 0.03),
    ("JP", "JPY", 9, 0.01), ("AE", "USD", 4, 0.0), ("HK", "USD", 8, 0.0), ("PA", "USD", -5, 0.0),
)  # fmt: skip
COUNTRIES = tuple(row[0] for row in _COUNTRY_ROWS)
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "PLN", "JPY")
MINOR_PER_EUR = np.array([100.0, 108.0, 85.0, 95.0, 430.0, 160.0])
"""Minor units of each currency that one euro buys: the rate times ten to the currency's decimals (JPY has none)."""

COUNTRY_CURRENCY = np.array([CURRENCIES.index(row[1]) for row in _COUNTRY_ROWS], np.uint8)
COUNTRY_OFFSET_HOURS = np.array([row[2] for row in _COUNTRY_ROWS], np.int64)
COUNTRY_SHARE = np.array([row[3] for row in _COUNTRY_ROWS])
OFFSHORE = np.array([COUNTRIES.index(code) for code in ("AE", "HK", "PA")], np.uint8)

MEMOS: tuple[str | None, ...] = (
    None, "salary", "rent", "invoice", "thanks", "dinner", "savings", "birthday", "holiday", "payout",
    "loan", "car", "takings", "gift", "furniture", "repayment", "consulting", "order",
)  # fmt: skip

# MCC, median price in EUR, spread of its logarithm, share among physical merchants, share among online merchants
_CATEGORY_ROWS: tuple[tuple[int, float, float, float, float], ...] = (
    (5411, 28.0, 0.7, 0.26, 0.04), (5812, 24.0, 0.6, 0.20, 0.10), (5541, 48.0, 0.4, 0.08, 0.00),
    (5651, 55.0, 0.7, 0.10, 0.16), (5732, 180.0, 1.0, 0.05, 0.12), (5944, 220.0, 1.1, 0.02, 0.03),
    (5912, 17.0, 0.6, 0.08, 0.04), (4121, 16.0, 0.5, 0.06, 0.06), (7011, 160.0, 0.7, 0.05, 0.06),
    (4511, 210.0, 0.8, 0.00, 0.05), (5816, 6.0, 0.9, 0.00, 0.16), (7995, 30.0, 1.0, 0.02, 0.04),
    (6051, 150.0, 1.2, 0.00, 0.02), (8398, 20.0, 0.8, 0.02, 0.02), (5999, 40.0, 0.9, 0.06, 0.10),
)  # fmt: skip
CATEGORY_CODE = np.array([row[0] for row in _CATEGORY_ROWS], np.int32)
CATEGORY_LOG_PRICE = np.log([row[1] for row in _CATEGORY_ROWS])
CATEGORY_SPREAD = np.array([row[2] for row in _CATEGORY_ROWS])
CATEGORY_PHYSICAL = np.array([row[3] for row in _CATEGORY_ROWS])
CATEGORY_ONLINE = np.array([row[4] for row in _CATEGORY_ROWS])
ATM_CODE = 6011
BILL_CODE = 4900

# Devices: a customer's are account * 8 + generation (+ 4 for the second one). Ranges of their own for the rest.
ONE_OFF_DEVICE = 600_000_000
CRIMINAL_DEVICE = 800_000_000

FIRST_OCTET = np.array([31, 37, 46, 62, 77, 78, 80, 83, 86, 89, 91, 98, 106, 94, 103, 190], np.int64)
"""First byte of a country's addresses; made up, but stable."""
PROXY_OCTET = 185


def new_events(count: int) -> Events:
    """Return `count` blank legitimate events: no device, no address, no category."""
    events = np.zeros(count, EVENT)
    for name in ("device", "ip", "episode", "merchant_category"):
        events[name] = -1
    return events
