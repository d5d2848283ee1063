"""Amounts in one reference currency, so that sums over an entity's transactions have a unit."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from models.features.rates import rate_table
from models.features.store_spec import MAX_AMOUNT_MINOR
from schemas.columns import F64, I32, I64, U8, StringColumn

REFERENCE_CURRENCY = "EUR"
"""Amounts of features are in this currency; its minor unit is the cent."""

_CODES = 1 << 15  # three letters of 5 bits


@lru_cache(maxsize=1)
def _factors() -> F64:
    """Cents of EUR for one minor unit, by packed code. Currencies outside the table count like EUR."""
    factors = np.ones(_CODES, np.float64)
    for code, (rate, digits) in rate_table().items():
        factors[_packed(code)] = rate * 10.0 ** (2 - digits)
    return factors


def _packed(code: str) -> int:
    return sum((ord(letter) & 31) << shift for letter, shift in zip(code, (10, 5, 0), strict=True))


@lru_cache(maxsize=1)
def currency_digits() -> I64:
    """Return the digits of the minor unit by packed code; 2 outside the table."""
    digits = np.full(_CODES, 2, np.int64)
    for code, (_, of_code) in rate_table().items():
        digits[_packed(code)] = of_code
    return digits


def packed_currency(currency: StringColumn) -> I64:
    """Return each code as a number below 2^15; 0 for what has not three letters."""
    packed: I64 = _pack(currency.buffer, currency.offsets, currency.lengths)
    return packed


@njit(cache=True, nogil=True)
def _pack(buffer: U8, offsets: I64, lengths: I32) -> I64:
    packed = np.zeros(len(offsets), np.int64)
    for row in range(len(offsets)):
        if lengths[row] == 3:
            for i in range(3):
                packed[row] = packed[row] << 5 | np.int64(buffer[offsets[row] + i]) & 31
    return packed


def to_reference_minor(amount_minor: I64, currency: StringColumn) -> I64:
    """Convert amounts to minor units of the reference currency, rounded half to even.

    Amounts in EUR stay as they are; amounts above `MAX_AMOUNT_MINOR` count as that.

    Examples
    --------
    >>> to_reference_minor(np.array([1250, 1250]), StringColumn.from_values(["EUR", "JPY"])).tolist()
    [1250, 739]
    """
    converted = np.rint(amount_minor * _factors()[packed_currency(currency)])
    return np.clip(converted, 0, MAX_AMOUNT_MINOR).astype(np.int64)
