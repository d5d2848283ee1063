"""Compiled writers write what fastavro writes."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import SerializationError
from schemas.record_writer import Encoded, compile_writer
from schemas.records import encode_alert, encode_reasons
from schemas.versions import current

ALERT = current("alert").parsed
EXPLANATION = next(field["type"] for field in current("decision").parsed["fields"] if field["name"] == "explanation")

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "boolean": st.booleans(),
    "string": st.text(max_size=80),
    "bytes": st.binary(max_size=200),
    "null": st.none(),
}


def values_of(schema: Any) -> st.SearchStrategy[Any]:
    """Values of a schema, its records without some of the fields that have a default."""
    if isinstance(schema, list):
        return st.one_of(*(values_of(branch) for branch in schema))
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "enum":
        return st.sampled_from(schema["symbols"])
    if kind == "array":
        return st.lists(values_of(schema["items"]), max_size=3)
    if kind == "map":
        return st.dictionaries(st.text(max_size=5), values_of(schema["values"]), max_size=3)
    if kind == "record":
        required = {f["name"]: values_of(f["type"]) for f in schema["fields"] if "default" not in f}
        optional = {f["name"]: values_of(f["type"]) for f in schema["fields"] if "default" in f}
        return st.fixed_dictionaries(required, optional=optional)
    return _VALUES[kind]


@pytest.mark.parametrize("schema", [ALERT, EXPLANATION], ids=["alert", "explanation"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_it_writes_what_fastavro_writes(schema: Any, data: st.DataObject) -> None:
    value = data.draw(values_of(schema))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema, _force=True), value)
    assert compile_writer(schema)(value) == out.getvalue()


@pytest.mark.parametrize("value", [0, -1, 1, 63, 64, 1023, 1024, -(2**63), 2**63 - 1])
def test_longs_at_the_edges_of_their_lengths(value: int) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, {"type": "long"}, value)
    assert compile_writer("long")(value) == out.getvalue()


@pytest.mark.parametrize(("kind", "value"), [("int", 2**31), ("long", 2**63), ("long", -(2**63) - 1)])
def test_numbers_that_do_not_fit_are_refused(kind: str, value: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        compile_writer(kind)(value)


def test_what_is_encoded_already_is_taken_as_it_is() -> None:
    reasons = [{"code": "A", "text": "t", "feature": "f", "value": 1.0, "usual_value": 2.0, "contribution": 3.0}]
    write = compile_writer({"type": "record", "name": "r", "fields": [{"name": "rs", "type": ALERT_REASONS}]})
    assert write({"rs": encode_reasons(reasons)}) == write({"rs": reasons})
    assert isinstance(encode_reasons(reasons), Encoded)


ALERT_REASONS = next(field["type"] for field in ALERT["fields"] if field["name"] == "reasons")


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(SerializationError, match=r"an alert.*alert_id"):
        encode_alert({})


def test_unions_of_more_than_null_and_one_type_are_refused() -> None:
    with pytest.raises(ValueError, match="union"):
        compile_writer(["null", "int", "string"])
