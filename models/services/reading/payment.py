"""A payment as requests carry it, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

PAYMENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "amount_minor": {"type": "integer", "minimum": 0, "maximum": 10**15, "description": "Amount in minor units."},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "beneficiary": {"type": "string", "maxLength": 200},
        "date": {"type": "string", "format": "date"},
        "goods": {"type": "string", "maxLength": 500},
    },
}


def checked_payment(value: object) -> Mapping[str, Any] | None:
    """Return the payment; None where there is none.

    Raises
    ------
    ValueError
        It is no object, or a field has the wrong form.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError("payment must be an object with amount_minor, currency, beneficiary, date, goods")
    amount = value.get("amount_minor")
    if amount is not None and (isinstance(amount, bool) or not isinstance(amount, int) or not 0 <= amount <= 10**15):
        raise ValueError("payment.amount_minor must be an integer from 0 to 10^15: the amount in minor units")
    currency = value.get("currency")
    if currency is not None and not (isinstance(currency, str) and re.fullmatch("[A-Z]{3}", currency)):
        raise ValueError("payment.currency must be three capital letters")
    for name, longest in (("beneficiary", 200), ("goods", 500)):
        text = value.get(name)
        if text is not None and not (isinstance(text, str) and len(text) <= longest):
            raise ValueError(f"payment.{name} must be text of at most {longest} characters")
    day = value.get("date")
    if day is not None:
        if not (isinstance(day, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", day)):
            raise ValueError("payment.date must be a day as YYYY-MM-DD")
        try:
            date.fromisoformat(day)
        except ValueError as cause:
            raise ValueError("payment.date must be a day as YYYY-MM-DD") from cause
    return value
