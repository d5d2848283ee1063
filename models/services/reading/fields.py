"""The payment's fields against what was read on the document. Nothing is guessed: a value was read, or it was not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from models.features.rates import minor_digits, plain_amount
from models.services.reading.ocr import Line

ALIKE = 0.8
"""Share of matching characters from which two names count as one: OCR errs in about one of a hundred."""

_NUMBER = re.compile(r"(?<![\d.,])\d{1,3}(?:[ .,']\d{3})*[.,]\d{2}(?!\d)|(?<![\d.,])\d+[.,]\d{2}(?!\d)")
_FIGURES = re.compile(r"(?<![\d.,])\d+(?:[ .,']\d{3}(?!\d))*(?![.,]?\d)")
_DAY = re.compile(r"(?<!\d)(\d{1,2})[./-](\d{1,2})[./-](\d{4})(?!\d)|(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)")
_NAMED_DAY = re.compile(
    r"(?<!\d)(\d{1,2})\s*(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s*(\d{4})", re.I
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True, slots=True)
class FieldCheck:
    """One field.

    Attributes
    ----------
    agrees
        True: the expected value was read. False: others of its sort were read, it was not. None: nothing of its sort
        was read, or the payment does not state it.
    read
        Values of its sort that were read, at most four.
    box
        Where the expected value was read.
    """

    field: str
    expected: str
    agrees: bool | None
    read: tuple[str, ...]
    box: tuple[int, int, int, int] | None


def check_fields(payment: Mapping[str, Any], lines: Sequence[Line]) -> list[FieldCheck]:
    """Compare every field that the payment states."""
    checks = []
    if payment.get("amount_minor") is not None:
        checks.append(_check_amount(int(payment["amount_minor"]), str(payment.get("currency") or ""), lines))
    if payment.get("date"):
        days = [(day, line) for line in lines for day in days_in(line.text)]
        checks.append(_check("date", str(payment["date"]), str(payment["date"]), days, str))
    for name in ("beneficiary", "goods"):
        if payment.get(name):
            checks.append(_check_words(name, str(payment[name]), lines))
    return checks


def amounts_in(text: str) -> list[int]:
    """Return the amounts with two decimals in a text, in minor units.

    >>> amounts_in("Total EUR 1.234,56"), amounts_in("7x 15.00"), amounts_in("13.04.2025")
    ([123456], [1500], [])
    """
    plain = _DAY.sub(" ", text)
    return [int(re.sub(r"\D", "", found.group())) for found in _NUMBER.finditer(plain)]


def days_in(text: str) -> list[str]:
    """Return the days in a text as YYYY-MM-DD, day before month as in all but American writing.

    >>> days_in("Date13Apr2025"), days_in("12/03/2026")
    (['2025-04-13'], ['2026-03-12'])
    """
    days = []
    for found in _DAY.finditer(text):
        day, month, year, y, m, d = found.groups()
        days.append((int(y), int(m), int(d)) if y else (int(year), int(month), int(day)))
    for found in _NAMED_DAY.finditer(text):
        days.append((int(found[3]), _MONTHS.index(found[2].lower()) + 1, int(found[1])))
    return [f"{y:04d}-{m:02d}-{d:02d}" for y, m, d in days if 1 <= m <= 12 and 1 <= d <= 31]


def _check_amount(expected: int, currency: str, lines: Sequence[Line]) -> FieldCheck:
    shown = f"{currency} {plain_amount(expected, currency)}".strip()
    if minor_digits(currency) == 2:
        amounts = [(minor, line) for line in lines for minor in amounts_in(line.text)]
        return _check("amount", shown, expected, amounts, lambda minor: plain_amount(minor, None))
    # Without two decimals an amount cannot be told from a count, a year or a number of something: where it was not
    # read, it stays open.
    wanted = plain_amount(expected, currency)
    for line in lines:
        for found in _FIGURES.finditer(_DAY.sub(" ", line.text)):
            if re.sub(r"\D", "", found.group()) == re.sub(r"\D", "", wanted):
                return FieldCheck("amount", shown, True, (wanted,), line.box)
    return FieldCheck("amount", shown, None, (), None)


def _check(name, shown, expected, found, write) -> FieldCheck:  # type: ignore[no-untyped-def]
    for value, line in found:
        if value == expected:
            return FieldCheck(name, shown, True, (write(value),), line.box)
    read = tuple(dict.fromkeys(write(value) for value, _ in found))
    return FieldCheck(name, shown, False if read else None, read[:4], None)


def _check_words(name: str, expected: str, lines: Sequence[Line]) -> FieldCheck:
    wanted = _letters(expected)
    for line in lines:
        if wanted and _share(wanted, _letters(line.text)) >= ALIKE:
            return FieldCheck(name, expected, True, (line.text,), line.box)
    # Words have no form by which a wrong value could be told from any other text, so a missing name stays open.
    return FieldCheck(name, expected, None, (), None)


def _letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.lower())
    return "".join(c for c in plain if c.isalnum() and c.isascii())


def _share(wanted: str, text: str) -> float:
    """Return the share of `wanted` that some stretch of `text` of its length has, in order."""
    if wanted in text:
        return 1.0
    if len(text) < len(wanted) // 2:
        return 0.0
    best = 0.0
    for start in range(max(1, len(text) - len(wanted) + 1)):
        matcher = SequenceMatcher(None, wanted, text[start : start + len(wanted)], autojunk=False)
        best = max(best, sum(block.size for block in matcher.get_matching_blocks()) / len(wanted))
    return best
