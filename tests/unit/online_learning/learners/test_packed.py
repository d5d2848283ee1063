"""Blocks of named arrays: round trip, equal bytes for equal contents, damage is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from online_learning.learners.errors import SnapshotError
from online_learning.learners.packed import kind_of, pack, unpack

arrays = hnp.arrays(
    st.sampled_from([np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
contents = st.dictionaries(st.text(max_size=8), arrays, max_size=4)
fields = st.dictionaries(
    st.text(max_size=8), st.one_of(st.integers(), st.text(), st.floats(allow_nan=False, allow_infinity=False))
)


@given(contents, fields)
def test_round_trip_keeps_every_bit(stored: dict[str, Any], settings: dict[str, Any]) -> None:
    blob = pack("thing", 3, settings, stored)
    packed = unpack(blob, "thing", 3)
    assert kind_of(blob) == "thing"
    assert packed.fields == settings
    assert packed.arrays.keys() == stored.keys()
    for name, array in stored.items():
        assert packed.arrays[name].dtype == array.dtype
        assert packed.arrays[name].shape == array.shape
        assert packed.arrays[name].tobytes() == array.tobytes()


def test_equal_contents_give_equal_bytes_whatever_their_order_and_layout() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    one = pack("thing", 1, {"a": 1, "b": 2.5}, {"x": matrix, "y": np.zeros(2)})
    other = pack("thing", 1, {"b": 2.5, "a": 1}, {"y": np.zeros(2), "x": np.asfortranarray(matrix)})
    assert one == other


@pytest.mark.parametrize(("kind", "version"), [("thing", 2), ("other", 1)])
def test_another_kind_or_version_is_refused(kind: str, version: int) -> None:
    with pytest.raises(SnapshotError, match="expected"):
        unpack(pack("thing", 1, {}, {}), kind, version)


@given(st.data())
def test_any_changed_byte_is_found(data: st.DataObject) -> None:
    blob = bytearray(pack("thing", 1, {"a": 1}, {"x": np.arange(5)}))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SnapshotError):
        unpack(bytes(blob), "thing", 1)


def test_arrays_that_no_reader_knows_are_refused() -> None:
    with pytest.raises(TypeError, match="cannot be packed"):
        pack("thing", 1, {}, {"x": np.array(["text"])})
