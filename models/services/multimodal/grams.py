"""Text as bags of hashed character n-grams: what both encoders of the multimodal model read.

OCR joins and splits words, so spaces count for nothing; accents and case neither. A wrong character spoils the few
n-grams it is in and leaves the rest. Numbers also enter as their digits alone, so that `1.234,56` and `1,234.56` are
one.

References
----------
Bojanowski et al., Enriching Word Vectors with Subword Information, TACL 2017, https://arxiv.org/abs/1607.04606
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.features.rates import plain_amount

I32 = npt.NDArray[np.int32]

BUCKETS = 8192
"""Hash buckets; 0 is padding."""
GRAMS = 48
"""Most n-grams kept of one line."""
LINES = 40
"""Most lines kept of one document, in reading order."""
FIELDS = ("amount", "date", "beneficiary", "goods")


def normalised(text: str) -> str:
    """Return lower case without accents, spaces and signs.

    >>> normalised("Páguese a:  EUR 1.234,56")
    'pagueseaeur123456'
    """
    plain = unicodedata.normalize("NFKD", text.lower())
    return "".join(c for c in plain if c.isalnum() and c.isascii())


def gram_ids(text: str) -> list[int]:
    """Return the buckets of a text: all 3-grams, and 3-grams of its digits with their ends marked; at most `GRAMS`."""
    plain = normalised(text)
    digits = "".join(c for c in plain if c.isdigit())
    grams = [plain[i : i + 3] for i in range(max(1, len(plain) - 2))] if plain else []
    if len(digits) >= 2:
        marked = f"^{digits}$"
        grams = ["#" + marked[i : i + 3] for i in range(len(marked) - 2)] + grams
    return [zlib.crc32(gram.encode()) % (BUCKETS - 1) + 1 for gram in grams[:GRAMS]]


def encode_lines(lines: Sequence[str]) -> I32:
    """Return a document's lines as (LINES, GRAMS) buckets, zeros where there is nothing."""
    encoded = np.zeros((LINES, GRAMS), np.int32)
    for row, line in enumerate(lines[:LINES]):
        ids = gram_ids(line)
        encoded[row, : len(ids)] = ids
    return encoded


def encode_payment(payment: Mapping[str, Any]) -> I32:
    """Return a payment as (4, GRAMS) buckets: amount with currency, date, beneficiary, goods; zeros for what is
    missing.

    Parameters
    ----------
    payment
        `amount_minor` and `currency`, `date` as YYYY-MM-DD, `beneficiary`, `goods`; each may be absent.
    """
    encoded = np.zeros((len(FIELDS), GRAMS), np.int32)
    for row, text in enumerate(payment_texts(payment)):
        ids = gram_ids(text)
        encoded[row, : len(ids)] = ids
    return encoded


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def payment_texts(payment: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return the payment's fields as text, in the order of `FIELDS`; a day both in figures and with its month's name.

    >>> payment_texts({"amount_minor": 123456, "currency": "EUR", "date": "2025-04-13"})
    ('EUR 1234.56', '13042025 13apr2025', '', '')
    """
    amount = ""
    if payment.get("amount_minor") is not None:
        currency = str(payment.get("currency") or "")
        amount = f"{currency} {plain_amount(int(payment['amount_minor']), currency)}"
    date = ""
    if payment.get("date"):
        year, month, day = str(payment["date"]).split("-")
        date = f"{day}{month}{year} {day}{_MONTHS[int(month) - 1]}{year}"
    return amount, date, str(payment.get("beneficiary") or ""), str(payment.get("goods") or "")
