"""Documents that come with payments: what is planted, how often, and that it follows from the payment."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date

import pytest

from models.training.documents.attached import (
    FORGED,
    FRAUD_SHARES,
    HONEST_SHARES,
    OTHERS,
    OWN,
    PaidTransaction,
    draw_attached,
)

PAYMENT = PaidTransaction("T1", 123_456, "EUR", "E00000179", date(2026, 3, 14), "invoice", False)


def test_equal_payments_give_equal_documents() -> None:
    assert draw_attached(PAYMENT) == draw_attached(PAYMENT)
    assert draw_attached(replace(PAYMENT, transaction_id="T2")).jpeg != draw_attached(PAYMENT).jpeg


def test_fraud_comes_with_forged_documents_and_honest_payments_with_their_own() -> None:
    assert sum(HONEST_SHARES.values()) == pytest.approx(1)
    assert sum(FRAUD_SHARES.values()) == pytest.approx(1)
    kinds = {
        is_fraud: Counter(
            draw_attached(replace(PAYMENT, transaction_id=f"T{i}", is_fraud=is_fraud)).planted for i in range(40)
        )
        for is_fraud in (False, True)
    }
    assert kinds[False][OWN] > 30
    assert kinds[True][FORGED] > 12
    assert kinds[True][OTHERS] > 3


def test_an_edited_document_says_so() -> None:
    drawn = [draw_attached(replace(PAYMENT, transaction_id=f"T{i}", is_fraud=True)) for i in range(12)]
    for document in drawn:
        assert (document.forgery != "genuine") == (document.planted == FORGED) == ("edited" in document.truth)
