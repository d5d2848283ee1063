"""How records look in a terminal: money, times, scores, reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from babel.numbers import get_currency_precision
from rich.text import Text

OUTCOME_STYLES = {"approve": "green", "review": "yellow", "decline": "red"}


def money(amount_minor: int, currency: str) -> str:
    """Show an amount in major units.

    >>> money(123456, "EUR"), money(5000, "JPY")
    ('1,234.56 EUR', '5,000 JPY')
    """
    digits = get_currency_precision(currency)
    return f"{Decimal(amount_minor).scaleb(-digits):,.{digits}f} {currency}"


def moment(time_ms: int) -> str:
    """Show a time in UTC to the millisecond; what no calendar holds is shown as the number it is.

    >>> moment(1767268800123)
    '2026-01-01 12:00:00.123'
    """
    try:
        shown = datetime.fromtimestamp(time_ms // 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(time_ms)
    return f"{shown}.{time_ms % 1_000:03d}"


def number(value: float | None) -> str:
    """Show a feature value shortly; missing values as a dash.

    >>> number(0.12345), number(1234567.0), number(3.0), number(float("nan"))
    ('0.123', '1,234,567', '3', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    if value == int(value) if math.isfinite(value) else False:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1_000 else f"{value:.3g}"


def outcome(name: str) -> Text:
    """Show an outcome in its colour."""
    return Text(name, style=OUTCOME_STYLES.get(name, ""))


def reason_texts(reasons: list[Mapping[str, Any]], most: int = 4) -> list[str]:
    """Sentences of the first reasons."""
    return [str(reason["text"]) for reason in reasons[:most]]


def as_plain(value: Any) -> Any:
    """Make a record fit for JSON: NaN becomes null, bytes become text."""
    if isinstance(value, Mapping):
        return {key: as_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value
