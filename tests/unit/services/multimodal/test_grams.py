"""Text as n-grams: what OCR does to spaces, accents and separators changes nothing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.services.multimodal.grams import BUCKETS, FIELDS, GRAMS, LINES, encode_lines, encode_payment, gram_ids


def test_spaces_accents_and_case_count_for_nothing() -> None:
    assert gram_ids("Páguese a:  ACME") == gram_ids("pagueseaacme")


def test_amounts_in_any_writing_share_their_digits() -> None:
    a, b = set(gram_ids("1.234,56 EUR")), set(gram_ids("EUR 1,234.56"))
    assert len(a & b) >= 6


@given(st.text(max_size=200))
def test_any_text_gives_buckets_in_range(text: str) -> None:
    ids = gram_ids(text)
    assert len(ids) <= GRAMS
    assert all(0 < i < BUCKETS for i in ids)


@given(st.lists(st.text(max_size=60), max_size=60))
def test_lines_have_one_shape(lines: list[str]) -> None:
    encoded = encode_lines(lines)
    assert encoded.shape == (LINES, GRAMS)
    assert encoded.dtype == np.int32


def test_what_a_payment_does_not_state_is_empty() -> None:
    encoded = encode_payment({"amount_minor": 100, "currency": "EUR"})
    assert encoded.shape == (len(FIELDS), GRAMS)
    assert encoded[0].any()
    assert not encoded[1:].any()
