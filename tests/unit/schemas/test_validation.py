"""What decoded values must say."""

import numpy as np
import pytest
from babel.core import get_global

from models.features.rates import rate_table
from schemas.validate import EARLIEST_MS, known_currencies, validate_labels, validate_transactions
from tests.builders import NOON_MS, a_label, a_transaction, label_columns, transaction_columns

DAY_MS = 86_400_000


def faults(timestamp_ms=NOON_MS, **overrides):
    names = tuple(overrides.get("attributes", ()))
    columns = transaction_columns([a_transaction(), a_transaction(**overrides), a_transaction()], names)
    rejected = validate_transactions(columns, np.full(3, timestamp_ms, np.int64))
    assert all(r.stage == "validate" and r.row == 1 and r.message for r in rejected)
    return [r.error for r in rejected]


@pytest.mark.parametrize(
    "overrides",
    [
        {"transaction_id": "x"},
        {"transaction_id": "x" * 256},
        {"amount_minor": 0},
        {"amount_minor": 10**15},
        {"currency": "JPY"},
        {"currency": "HRK"},
        {"event_time_ms": EARLIEST_MS},
        {"event_time_ms": NOON_MS + DAY_MS},
        {"account_country": "", "counterparty_country": ""},
        {"merchant_category": None},
        {"merchant_category": 0},
        {"merchant_category": 9999},
        {"device_id": None},
        {"attributes": {"x": float("nan")}},
    ],
    ids=repr,
)
def test_values_at_the_edge_are_accepted(overrides):
    assert faults(**overrides) == []


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"transaction_id": ""}, "EMPTY_ID"),
        ({"account_id": ""}, "EMPTY_ID"),
        ({"counterparty_id": ""}, "EMPTY_ID"),
        ({"transaction_id": "x" * 257}, "ID_TOO_LONG"),
        ({"account_id": "ü" * 129}, "ID_TOO_LONG"),
        ({"device_id": "x" * 257}, "ID_TOO_LONG"),
        ({"amount_minor": -1}, "AMOUNT_OUT_OF_RANGE"),
        ({"amount_minor": 10**15 + 1}, "AMOUNT_OUT_OF_RANGE"),
        ({"currency": "eur"}, "UNKNOWN_CURRENCY"),
        ({"currency": ""}, "UNKNOWN_CURRENCY"),
        ({"currency": "EURO"}, "UNKNOWN_CURRENCY"),
        ({"currency": "QQQ"}, "UNKNOWN_CURRENCY"),
        ({"currency": "XXX"}, "UNKNOWN_CURRENCY"),
        ({"currency": "E€"}, "UNKNOWN_CURRENCY"),
        ({"event_time_ms": EARLIEST_MS - 1}, "TIME_OUT_OF_RANGE"),
        ({"event_time_ms": NOON_MS // 1000}, "TIME_OUT_OF_RANGE"),
        ({"event_time_ms": NOON_MS + DAY_MS + 1}, "TIME_OUT_OF_RANGE"),
        ({"event_time_ms": 2**63 - 1}, "TIME_OUT_OF_RANGE"),
        ({"event_time_ms": -(2**63)}, "TIME_OUT_OF_RANGE"),
        ({"account_country": "de"}, "INVALID_COUNTRY"),
        ({"counterparty_country": "DEU"}, "INVALID_COUNTRY"),
        ({"counterparty_country": "D"}, "INVALID_COUNTRY"),
        ({"merchant_category": 10_000}, "INVALID_MERCHANT_CATEGORY"),
        ({"merchant_category": -2}, "INVALID_MERCHANT_CATEGORY"),
        ({"attributes": {"x": float("inf")}}, "NOT_FINITE"),
        ({"attributes": {"x": float("-inf")}}, "NOT_FINITE"),
    ],
    ids=repr,
)
def test_each_absurd_value_has_its_code(overrides, code):
    assert faults(**overrides) == [code]


def test_of_several_faults_one_is_named():
    assert faults(transaction_id="", amount_minor=-1, currency="?") == ["EMPTY_ID"]


def test_without_a_record_timestamp_the_future_ends_in_2100():
    assert faults(timestamp_ms=-1, event_time_ms=NOON_MS + 30 * DAY_MS) == []
    assert faults(timestamp_ms=-1, event_time_ms=2**62) == ["TIME_OUT_OF_RANGE"]


def test_messages_show_no_identifiers():
    columns = transaction_columns([a_transaction(account_id="4111111111111111" * 20)])
    [rejected] = validate_transactions(columns, np.array([NOON_MS]))
    assert "4111" not in rejected.message
    assert "account_id 320" in rejected.message


def test_no_transactions_have_no_faults():
    assert validate_transactions(transaction_columns([]), np.zeros(0, np.int64)) == []


def test_every_accepted_currency_has_a_rate():
    assert known_currencies() <= set(rate_table())


def test_accepted_currencies_are_in_iso_4217():
    territories = get_global("territory_currencies").values()
    assert known_currencies() <= {code for uses in territories for code, *_ in uses}
    assert len(known_currencies()) > 150


@pytest.mark.parametrize(
    ("overrides", "codes"),
    [
        ({}, []),
        ({"account_id": ""}, ["EMPTY_ID"]),
        ({"transaction_id": "x" * 257}, ["ID_TOO_LONG"]),
        ({"label_time_ms": NOON_MS + 9 * DAY_MS}, ["TIME_OUT_OF_RANGE"]),
        ({"event_time_ms": 0}, ["TIME_OUT_OF_RANGE"]),
        ({"label_time_ms": NOON_MS - 1}, ["LABEL_BEFORE_EVENT"]),
    ],
)
def test_labels_are_checked_likewise(overrides, codes):
    columns = label_columns([a_label(**overrides)])
    assert [r.error for r in validate_labels(columns, np.array([NOON_MS + 7 * DAY_MS]))] == codes
