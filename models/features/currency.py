"""Amounts in one reference currency, so that sums over an entity's transactions have a unit."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files

import numpy as np

from models.features.store_spec import MAX_AMOUNT_MINOR
from schemas.columns import F64, I64, StringColumn

REFERENCE_CURRENCY = "EUR"
"""Amounts of features are in this currency; its minor unit is the cent."""

_CODES = 1 << 15  # three letters of 5 bits


@lru_cache(maxsize=1)
def rate_table() -> dict[str, tuple[float, int]]:
    """Return, by ISO 4217 code, EUR for one major unit and the digits of the minor unit."""
    table = json.loads(files("models.features").joinpath("rates.json").read_text())
    digits = table["digits"]
    return {code: (rate, digits.get(code, table["digits_default"])) for code, rate in table["rates"].items()}


@lru_cache(maxsize=1)
def _factors() -> F64:
    """Cents of EUR for one minor unit, by packed code. Currencies outside the table count like EUR."""
    factors = np.ones(_CODES, np.float64)
    for code, (rate, digits) in rate_table().items():
        packed = sum((ord(letter) & 31) << shift for letter, shift in zip(code, (10, 5, 0), strict=True))
        factors[packed] = rate * 10.0 ** (2 - digits)
    return factors


def to_reference_minor(amount_minor: I64, currency: StringColumn) -> I64:
    """Convert amounts to minor units of the reference currency, rounded half to even.

    Amounts in EUR stay as they are; amounts above `MAX_AMOUNT_MINOR` count as that.

    Examples
    --------
    >>> to_reference_minor(np.array([1250, 1250]), StringColumn.from_values(["EUR", "JPY"])).tolist()
    [1250, 739]
    """
    usable = currency.lengths == 3
    offsets = np.where(usable, currency.offsets, 0)
    if not len(currency.buffer):
        packed = np.zeros(len(offsets), np.int64)
    else:
        last = len(currency.buffer) - 1
        letters = [currency.buffer[np.minimum(offsets + i, last)].astype(np.int64) & 31 for i in range(3)]
        packed = np.where(usable, letters[0] << 10 | letters[1] << 5 | letters[2], 0)
    converted = np.rint(amount_minor * _factors()[packed])
    return np.clip(converted, 0, MAX_AMOUNT_MINOR).astype(np.int64)
