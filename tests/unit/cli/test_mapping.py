"""Rows of files become transactions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.cli.mapping import MappingError, RowMapping
from schemas.json_records import InvalidFieldError
from tests.builders import NOON_MS, a_transaction


def a_row(**overrides: Any) -> dict[str, Any]:
    row = {
        "transaction_id": "t",
        "account_id": "a",
        "counterparty_id": "c",
        "currency": "EUR",
        "amount_minor": 5,
        "event_time_ms": NOON_MS,
    }
    return {name: value for name, value in {**row, **overrides}.items() if value is not ...}


def test_a_complete_record_passes_unchanged() -> None:
    assert RowMapping().apply(a_transaction()) == a_transaction()


def test_columns_of_other_names_are_mapped_and_the_rest_is_left_out() -> None:
    mapping = RowMapping.parse(["TX_ID=transaction_id", "CUSTOMER=account_id"])
    assert mapping.check_columns(["TX_ID", "CUSTOMER", "SCENARIO", "currency"]) == ["SCENARIO"]
    row = a_row(transaction_id=..., account_id=..., TX_ID=7, CUSTOMER="x", SCENARIO=3)
    record = mapping.apply(row)
    assert (record["transaction_id"], record["account_id"]) == ("7", "x")
    assert "SCENARIO" not in record


def test_a_mapped_column_wins_over_one_that_bears_the_fields_name() -> None:
    mapping = RowMapping.parse(["IBAN=account_id"])
    assert mapping.apply(a_row(IBAN="de"))["account_id"] == "de"
    assert mapping.check_columns(["IBAN", "account_id"]) == ["account_id"]


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [("12.50", "EUR", 1250), (57.16, "EUR", 5716), ("12", "JPY", 12), ("1.234", "KWD", 1234), (0.1 + 0.2, "EUR", 30)],
)
def test_major_units_become_minor_ones_with_the_currencys_digits(amount: Any, currency: str, minor: int) -> None:
    assert RowMapping().apply(a_row(amount_minor=..., amount=amount, currency=currency))["amount_minor"] == minor


@given(st.integers(0, 10**15))
def test_every_amount_in_cents_survives_being_written_in_euros(minor: int) -> None:
    text = f"{minor // 100}.{minor % 100:02d}"
    assert RowMapping().apply(a_row(amount_minor=..., amount=text))["amount_minor"] == minor


@given(st.integers(0, 10**11))
def test_amounts_in_binary_floating_point_find_their_cents(minor: int) -> None:
    assert RowMapping().apply(a_row(amount_minor=..., amount=minor / 100))["amount_minor"] == minor


def test_more_digits_than_the_currency_has_are_refused() -> None:
    with pytest.raises(InvalidFieldError, match="more than the 2 digits of EUR"):
        RowMapping().apply(a_row(amount_minor=..., amount="1.005"))


@pytest.mark.parametrize(
    "time",
    [
        {"event_time": "2026-01-01T12:00:00Z"},
        {"event_time": "2026-01-01 12:00:00"},
        {"event_time": "2026-01-01T13:00:00+01:00"},
        {"event_time": datetime(2026, 1, 1, 12, tzinfo=UTC)},
        {"event_time": datetime(2026, 1, 1, 12)},
        {"event_time_s": NOON_MS // 1_000},
        {"event_time_s": str(NOON_MS / 1_000)},
        {"event_time_ms": str(NOON_MS)},
        {"event_time_ms": datetime(2026, 1, 1, 12, tzinfo=UTC)},
    ],
)
def test_times_are_understood_in_every_way_of_writing(time: dict[str, Any]) -> None:
    assert RowMapping().apply(a_row(**{"event_time_ms": ..., **time}))["event_time_ms"] == NOON_MS


def test_a_default_fills_what_a_row_leaves_empty_and_nothing_else() -> None:
    mapping = RowMapping.parse([], ["currency=EUR", "channel=atm"])
    assert mapping.apply(a_row(currency=""))["currency"] == "EUR"
    assert mapping.apply(a_row(currency="USD"))["currency"] == "USD"
    assert mapping.apply(a_row())["channel"] == "atm"


def test_a_column_can_be_an_attribute() -> None:
    mapping = RowMapping.parse(["RISK=attributes.risk"])
    assert mapping.apply(a_row(RISK="0.5"))["attributes"] == {"risk": 0.5}


def test_a_category_read_as_a_float_is_a_whole_number_again() -> None:
    assert RowMapping().apply(a_row(merchant_category=5411.0))["merchant_category"] == 5411
    assert RowMapping().apply(a_row(merchant_category=float("nan")))["merchant_category"] is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"account_id": ...}, "account_id: missing"),
        ({"amount_minor": "a lot"}, "amount_minor: expected a number, found 'a lot'"),
        ({"amount_minor": 1.5}, "amount_minor: expected a whole number"),
        ({"amount_minor": float("inf")}, "amount_minor: expected a finite number"),
        ({"event_time_ms": ..., "event_time": "yesterday"}, "event_time: 'yesterday' is not ISO 8601"),
    ],
)
def test_a_bad_row_is_told_by_its_field(row: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidFieldError, match=message):
        RowMapping().apply(a_row(**row))


@pytest.mark.parametrize("text", ["no equals sign", "COLUMN=no_such_field", "COLUMN=attributes."])
def test_a_mapping_to_nowhere_is_refused(text: str) -> None:
    with pytest.raises(MappingError):
        RowMapping.parse([text])


def test_a_mapped_column_that_the_file_lacks_is_refused() -> None:
    with pytest.raises(MappingError, match="no column 'ID'; it has A, B"):
        RowMapping.parse(["ID=transaction_id"]).check_columns(["A", "B"])
