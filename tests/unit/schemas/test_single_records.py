"""Single records as dictionaries."""

import pytest

from schemas.errors import SerializationError, UnknownSchemaError, WrongSchemaError
from schemas.json_records import InvalidFieldError
from schemas.records import decode_record, encode_record
from schemas.versions import current
from tests.builders import a_label, a_transaction


class OneSchema:
    def schema_by_id(self, schema_id):
        if schema_id != 7:
            raise UnknownSchemaError(f"no schema {schema_id}")
        return current("label").text


@pytest.mark.parametrize(("framing", "schema_id"), [("single-object", None), ("confluent", 7), ("json", None)])
def test_a_record_round_trips_in_every_framing(framing, schema_id):
    value = encode_record("label", a_label(), framing, schema_id)
    assert decode_record(value, OneSchema(), "label") == a_label()
    assert decode_record(value, OneSchema()) == a_label()


def test_a_record_of_another_kind_is_refused():
    with pytest.raises(WrongSchemaError, match="expected a decision, found a label"):
        decode_record(encode_record("label", a_label()), name="decision")


@pytest.mark.parametrize("value", [b"", b"hello", b"\xc3\x01", encode_record("label", a_label()) + b"x", b"{", b"\x00"])
def test_bytes_that_are_no_record_are_a_serialization_error(value):
    with pytest.raises(SerializationError):
        decode_record(value)


def test_cut_off_records_are_a_serialization_error():
    value = encode_record("transaction", a_transaction(memo="memo", attributes={"x": 1.0}))
    for n in range(len(value)):
        with pytest.raises(SerializationError):
            decode_record(value[:n])


def test_unknown_fingerprints_and_ids_are_unknown_schemas():
    for value in (b"\xc3\x01abcdefgh", b"\x00\x00\x00\x00\x08abc"):
        with pytest.raises(UnknownSchemaError):
            decode_record(value, OneSchema())
    with pytest.raises(UnknownSchemaError, match="URL"):
        decode_record(b"\x00\x00\x00\x00\x07abc")


def test_a_missing_field_is_named():
    record = a_label()
    del record["is_fraud"]
    with pytest.raises(InvalidFieldError, match="is_fraud: missing"):
        encode_record("label", record)


def test_confluent_framing_asks_for_the_id():
    with pytest.raises(SerializationError, match="schema_id"):
        encode_record("label", a_label(), "confluent")
