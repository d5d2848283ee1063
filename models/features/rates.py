"""Currencies: what a major unit is worth, and how many digits its minor unit has."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files


@lru_cache(maxsize=1)
def rate_table() -> dict[str, tuple[float, int]]:
    """Return, by ISO 4217 code, EUR for one major unit and the digits of the minor unit."""
    table = json.loads(files("models.features").joinpath("rates.json").read_text())
    digits = table["digits"]
    return {code: (rate, digits.get(code, table["digits_default"])) for code, rate in table["rates"].items()}


def minor_digits(currency: str | None) -> int:
    """Return the digits of a currency's minor unit: 0 for JPY, 3 for KWD; 2 outside the table.

    >>> minor_digits("JPY"), minor_digits("EUR"), minor_digits(None)
    (0, 2, 2)
    """
    return rate_table().get(currency or "", (1.0, 2))[1]


def plain_amount(minor: int, currency: str | None) -> str:
    """Write an amount in major units, without separators and without its currency.

    >>> plain_amount(123456, "EUR"), plain_amount(1500, "JPY"), plain_amount(1500, "KWD")
    ('1234.56', '1500', '1.500')
    """
    digits = minor_digits(currency)
    written = f"{minor:0{digits + 1}d}"
    return f"{written[:-digits]}.{written[-digits:]}" if digits else written
