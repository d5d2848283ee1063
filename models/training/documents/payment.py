"""The payment that a document belongs to: its ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from models.training.documents.words import BRANDS, FIRST_NAMES, GOODS, LANGUAGES, LAST_NAMES

CURRENCIES = ("EUR", "USD", "GBP", "CHF")
_FIRST_DAY = date(2024, 1, 1)


@dataclass(frozen=True, slots=True)
class Payment:
    """What a payment says, and so what its document should say.

    Attributes
    ----------
    amount_minor
        Amount in minor units of `currency` (cents).
    brand
        Index of the beneficiary in `words.BRANDS`; its emblem follows from it.
    day
        Day of the payment.
    """

    amount_minor: int
    currency: str
    brand: int
    day: date
    goods: str
    number: str
    payer: str
    language: str

    @property
    def beneficiary(self) -> str:
        """The beneficiary's trading name."""
        return BRANDS[self.brand]


def draw_payment(rng: np.random.Generator) -> Payment:
    """Draw a payment; amounts are log-normal around 400 in major units."""
    return Payment(
        amount_minor=int(np.clip(np.exp(rng.normal(10.6, 1.3)), 150, 99_999_999)),
        currency=CURRENCIES[int(rng.integers(len(CURRENCIES)))],
        brand=int(rng.integers(len(BRANDS))),
        day=_FIRST_DAY + timedelta(days=int(rng.integers(1_000))),
        goods=GOODS[int(rng.integers(len(GOODS)))],
        number=str(rng.integers(10**7, 10**8)),
        payer=f"{FIRST_NAMES[int(rng.integers(len(FIRST_NAMES)))]} {LAST_NAMES[int(rng.integers(len(LAST_NAMES)))]}",
        language=LANGUAGES[int(rng.integers(len(LANGUAGES)))],
    )


def amount_text(amount_minor: int, currency: str, language: str) -> str:
    """Write an amount as the language does: `EUR 1,234.56`, `1.234,56 EUR`, `1 234,56 EUR`."""
    english = f"{amount_minor / 100:,.2f}"
    if language == "en":
        return f"{currency} {english}"
    thousands = " " if language == "fr" else "."
    return english.replace(",", "_").replace(".", ",").replace("_", thousands) + f" {currency}"


def date_text(day: date, language: str) -> str:
    """Write a day as the language does."""
    if language == "en":
        return f"{day:%d %b %Y}"
    return f"{day:%d.%m.%Y}" if language == "de" else f"{day:%d/%m/%Y}"


def field_texts(payment: Payment, rng: np.random.Generator) -> dict[str, str]:
    """Return the value of every field that a document can print; what is no part of the payment is drawn."""
    language = payment.language
    birth = date(1950, 1, 1) + timedelta(days=int(rng.integers(20_000)))
    return {
        "amount": amount_text(payment.amount_minor, payment.currency, language),
        "date": date_text(payment.day, language),
        "beneficiary": payment.beneficiary,
        "goods": payment.goods,
        "number": payment.number,
        "name": payment.payer,
        "birth": date_text(birth, language),
        "expiry": date_text(payment.day + timedelta(days=int(rng.integers(300, 3_000))), language),
        "account": " ".join(f"{n:04d}" for n in rng.integers(0, 10_000, 4)),
        "reference": f"{'ABCDEFGHKLMNPRST'[int(rng.integers(16))]}{int(rng.integers(10**5, 10**6))}",
    }
