"""Hashes of identifiers against the reference implementation."""

import numpy as np
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from schemas.columns import StringColumn
from schemas.hashing import hash_strings


@given(st.lists(st.one_of(st.none(), st.text(max_size=150)), max_size=20), st.integers(0, 2**64 - 1))
def test_every_hash_equals_that_of_the_reference_implementation(values, seed):
    hashes = hash_strings(StringColumn.from_values(values), seed)
    assert hashes.tolist() == [0 if v is None else xxhash.xxh64_intdigest(v.encode(), seed) for v in values]


def test_every_length_up_to_three_stripes_hashes_as_the_reference_does():
    data = bytes(range(100))
    column = StringColumn(np.frombuffer(data, np.uint8), np.zeros(100, np.int64), np.arange(100, dtype=np.int32))
    assert hash_strings(column).tolist() == [xxhash.xxh64_intdigest(data[:n]) for n in range(100)]
