"""The limiter against a naive bucket in exact fractions, however the labels are cut."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_learning.guards.rate_limit import RateLimit, SourceLimiter

labels = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 900)), max_size=80)


@settings(max_examples=200, deadline=None)
@given(labels, st.integers(1, 50), st.integers(1, 8), st.lists(st.integers(0, 80), max_size=5))
def test_it_admits_what_a_bucket_in_fractions_admits(
    rows: list[tuple[int, int]], per_second: int, burst: int, cuts: list[int]
) -> None:
    places = 1_700_000_000_000 + np.cumsum([step for _, step in rows], dtype=np.int64)
    source = np.array([s for s, _ in rows], np.uint8)
    buckets: dict[int, tuple[Fraction, int]] = {}
    expected = []
    for s, at in zip(source.tolist(), places.tolist(), strict=True):
        tokens, last = buckets.get(s, (Fraction(burst), at))
        tokens = min(Fraction(burst), tokens + Fraction((at - last) * per_second, 1000))
        expected.append(tokens >= 1)
        buckets[s] = (tokens - 1 if tokens >= 1 else tokens, at)
    limiter = SourceLimiter(RateLimit(per_second, burst))
    found: list[bool] = []
    edges = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    for start, end in pairwise(edges):
        found += limiter.admit(source[start:end], places[start:end]).tolist()
    assert found == expected


def test_impossible_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="per_second"):
        RateLimit(per_second=0)
