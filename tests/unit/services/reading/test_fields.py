"""Fields of the payment against lines that OCR read."""

import pytest

from models.services.reading.fields import amounts_in, check_fields, days_in
from models.services.reading.ocr import Line
from models.services.reading.payment import checked_payment

PAYMENT = {
    "amount_minor": 123_456,
    "currency": "EUR",
    "beneficiary": "Solvik Trading",
    "date": "2025-04-13",
    "goods": "olive oil",
}


def lines(*texts: str) -> list[Line]:
    return [Line(text, (10, 20 * i, 200, 20 * i + 15), 0.9) for i, text in enumerate(texts)]


@pytest.mark.parametrize("written", ["1.234,56 EUR", "EUR1,234.56", "Total1 234,56", "1234.56"])
def test_an_amount_is_found_in_every_writing(written: str) -> None:
    assert amounts_in(written) == [123_456]


def test_days_are_no_amounts_and_account_numbers_neither() -> None:
    assert amounts_in("13.04.2025") == []
    assert amounts_in("Account 4585 3442 3114 0946") == []


@pytest.mark.parametrize("written", ["13.04.2025", "13/04/2025", "Date13Apr2025", "2025-04-13", "13 April 2025"])
def test_a_day_is_found_in_every_writing(written: str) -> None:
    assert days_in(written) == ["2025-04-13"]


def test_impossible_days_are_none() -> None:
    assert days_in("45.13.2025") == []


def test_fields_that_were_read_agree_and_say_where() -> None:
    checks = {
        c.field: c
        for c in check_fields(PAYMENT, lines("1.234,56 EUR", "Datum13.04.2025", "0live oil", "Pay toSolvikTrading"))
    }
    assert all(check.agrees is True for check in checks.values())
    assert checks["date"].box == (10, 20, 200, 35)


def test_another_amount_disagrees_and_is_named() -> None:
    (check,) = check_fields({"amount_minor": 123_456, "currency": "EUR"}, lines("1.284,56 EUR", "7x", "15.00"))
    assert check.agrees is False
    assert check.read == ("1284.56", "15.00")
    assert check.expected == "EUR 1234.56"


@pytest.mark.parametrize(
    ("minor", "currency", "shown", "written"),
    [
        (150_000, "JPY", "JPY 150000", "Total ¥150,000"),
        (150_000, "JPY", "JPY 150000", "150 000 JPY"),
        (1_500, "KWD", "KWD 1.500", "KWD 1.500"),
        (1_500, "KWD", "KWD 1.500", "1,500 KD"),
    ],
)
def test_an_amount_without_two_decimals_is_found_or_open(minor: int, currency: str, shown: str, written: str) -> None:
    payment = {"amount_minor": minor, "currency": currency}
    (check,) = check_fields(payment, lines("Invoice 77, 13.04.2025", written))
    assert (check.agrees, check.expected, check.box) == (True, shown, (10, 20, 200, 35))
    (check,) = check_fields(payment, lines("Invoice 77", "7 pieces at 15.00", "13.04.2025"))
    assert (check.agrees, check.read) == (None, ())


def test_what_was_not_read_is_open_and_not_wrong() -> None:
    assert [check.agrees for check in check_fields(PAYMENT, [])] == [None] * 4
    (goods,) = check_fields({"goods": "olive oil"}, lines("steel pipes"))
    assert goods.agrees is None


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        "text",
        {"amount_minor": "5"},
        {"amount_minor": True},
        {"amount_minor": -1},
        {"currency": "eur"},
        {"date": "2025-02-30"},
        {"date": 5},
        {"goods": "x" * 501},
        {"beneficiary": 7},
    ],
)
def test_a_payment_of_the_wrong_form_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="payment"):
        checked_payment(wrong)
