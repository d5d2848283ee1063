"""Rows of other people's files as transactions: which column is which field, and in what unit. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache, cached_property
from typing import Any

from babel.numbers import get_currency_precision

from schemas.json_records import InvalidFieldError, checked_record
from schemas.versions import current

ATTRIBUTES = "attributes."
PSEUDO_FIELDS = {
    "amount": "amount in major units, such as 12.50; becomes amount_minor with the currency's number of digits",
    "event_time": "date and time: ISO 8601, UTC where it names no zone",
    "event_time_s": "seconds since 1970-01-01 UTC",
}
"""Targets of a mapping besides the schema's own fields."""


class MappingError(Exception):
    """A mapping names something that does not exist."""


@cache
def _fields() -> dict[str, Any]:
    kinds = {}
    for spec in current("transaction").parsed["fields"]:
        kind = spec["type"]
        if isinstance(kind, list):
            kind = next(branch for branch in kind if branch != "null")
        kinds[spec["name"]] = kind["type"] if isinstance(kind, dict) else kind
    return kinds


@dataclass(frozen=True)
class RowMapping:
    """How a row becomes a transaction.

    Attributes
    ----------
    targets
        Field by column; a column that is not named here and bears a field's name is that field.
    defaults
        Values, as text, for fields that a row leaves empty.

    Examples
    --------
    >>> mapping = RowMapping.parse(["ID=transaction_id", "EUR=amount"], ["currency=EUR"])
    >>> mapping.apply({"ID": 7, "EUR": "12.5", "event_time": "2026-01-01", "account_id": "a", "counterparty_id": "b"})[
    ...     "amount_minor"]
    1250
    """

    targets: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, maps: Sequence[str], defaults: Sequence[str] = ()) -> RowMapping:
        """Read ``COLUMN=FIELD`` and ``FIELD=VALUE`` texts.

        Raises
        ------
        MappingError
            If a text has no equals sign, or there is no such field.
        """
        targets, values = {}, {}
        for text in maps:
            column, found, name = text.rpartition("=")
            if not found:
                raise MappingError(f"{text!r}: expected COLUMN=FIELD")
            targets[column] = _known(name)
        for text in defaults:
            name, found, value = text.partition("=")
            if not found:
                raise MappingError(f"{text!r}: expected FIELD=VALUE")
            values[_known(name)] = value
        return cls(targets, values)

    @cached_property
    def _by_name(self) -> frozenset[str]:
        # A column that was mapped to a field takes that field from a column of the same name
        return frozenset((_fields().keys() | PSEUDO_FIELDS.keys()) - set(self.targets.values()))

    def field_of(self, column: str) -> str | None:
        """Field that a column goes to; None if it is left out."""
        return self.targets.get(column) or (column if column in self._by_name else None)

    def check_columns(self, columns: Sequence[str]) -> list[str]:
        """Return the columns that are left out; raise where a mapped one is not there."""
        missing = [column for column in self.targets if column not in columns]
        if missing:
            raise MappingError(f"the file has no column {missing[0]!r}; it has {', '.join(columns)}")
        return [column for column in columns if self.field_of(column) is None]

    def apply(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Make a complete, type-checked transaction of a row.

        Raises
        ------
        InvalidFieldError
            If a field is missing or its value is not of its type; the message names the field.
        """
        record: dict[str, Any] = dict(self.defaults)
        attributes: dict[str, float] = {}
        for column, value in row.items():
            name = self.field_of(column)
            if name is None or _is_absent(value):
                continue
            if name.startswith(ATTRIBUTES):
                attributes[name.removeprefix(ATTRIBUTES)] = _float(name, value)
            else:
                record[name] = value
        if "event_time" in record:
            record.setdefault("event_time_ms", _time_ms(record.pop("event_time")))
        if "event_time_s" in record:
            seconds = _decimal("event_time_s", record.pop("event_time_s"))
            record.setdefault("event_time_ms", int(seconds * 1_000))
        if "amount" in record:
            amount = _decimal("amount", record.pop("amount"))
            record.setdefault("amount_minor", _minor(amount, str(record.get("currency", ""))))
        typed = {name: _typed(name, _fields().get(name), value) for name, value in record.items()}
        if attributes:
            typed["attributes"] = {**typed.get("attributes", {}), **attributes}
        return checked_record(typed, current("transaction").parsed)


def _known(name: str) -> str:
    if name in _fields() or name in PSEUDO_FIELDS or (name.startswith(ATTRIBUTES) and name != ATTRIBUTES):
        return name
    raise MappingError(
        f"there is no field {name!r}; a transaction has {', '.join(_fields())}; besides, "
        f"{', '.join(PSEUDO_FIELDS)} and attributes.NAME are understood"
    )


def _is_absent(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _decimal(name: str, value: Any) -> Decimal:
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise InvalidFieldError(f"{name}: expected a number, found {str(value)[:60]!r}") from None
    if not number.is_finite():
        raise InvalidFieldError(f"{name}: expected a finite number, found {value}")
    return number


def _minor(amount: Decimal, currency: str) -> int:
    digits = get_currency_precision(currency)
    minor = amount.scaleb(digits)
    nearest = minor.to_integral_value()
    # Binary floating point writes 57.16 as 57.1599999…; a real further digit is a question for the producer
    if abs(minor - nearest) > Decimal("0.0001"):
        raise InvalidFieldError(f"amount: {amount} has more than the {digits} digits of {currency or 'the currency'}")
    return int(nearest)


def _time_ms(value: Any) -> int:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise InvalidFieldError(
                f"event_time: {value[:60]!r} is not ISO 8601, such as 2026-01-31T12:00:00Z"
            ) from None
    if not isinstance(value, datetime):
        raise InvalidFieldError(
            f"event_time: expected a date and time, found {value!r}; map numbers to event_time_s or event_time_ms"
        )
    moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def _float(name: str, value: Any) -> float:
    return float(_decimal(name, value))


def _typed(name: str, kind: Any, value: Any) -> Any:
    """Give a value the type that the schema asks for, where that loses nothing."""
    if kind in {"int", "long"}:
        if isinstance(value, datetime):
            return _time_ms(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        number = _decimal(name, value)
        if number != number.to_integral_value():
            raise InvalidFieldError(f"{name}: expected a whole number, found {value}")
        return int(number)
    if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(int(value)) if value == int(value) else str(value)
    if name == "attributes" and isinstance(value, list):  # how Arrow gives a map
        return dict(value)
    return value
