"""Compiled decoding of transactions against fastavro, and everything that producers get wrong."""

import io
import json
import struct

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import CHANNELS
from schemas.framing import single_object_header
from schemas.records import encode_record
from schemas.transactions import TransactionDecoder
from schemas.versions import current
from tests.builders import a_label, a_transaction
from tests.unit.schemas.strategies import ATTRIBUTE_NAMES, TRANSACTIONS

SCHEMA = current("transaction")
HEADER = single_object_header(SCHEMA)
DECODER = TransactionDecoder(attribute_names=ATTRIBUTE_NAMES)


def written(record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMA.parsed, record)
    return HEADER + out.getvalue()


def long(value):
    """Write a long in the slow, obvious way."""
    rest = (value << 1) ^ (value >> 63)
    out = b""
    while rest >= 0x80:
        out += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return out + bytes([rest])


def string(value):
    return long(len(value)) + value


def bits_of(attributes):
    """Return doubles so that -0.0 differs from 0.0 and every NaN is the same."""
    return tuple(np.where(np.isnan(attributes), np.nan, attributes).view(np.uint64).tolist())


def row_of(columns, i):
    texts = {
        name: getattr(columns, name).text_at(i)
        for name in ("transaction_id", "account_id", "counterparty_id", "currency", "account_country",
                     "counterparty_country", "device_id", "ip_address", "memo")
    }  # fmt: skip
    return texts | {
        "event_time_ms": int(columns.event_time_ms[i]),
        "amount_minor": int(columns.amount_minor[i]),
        "channel": CHANNELS[columns.channel[i]],
        "merchant_category": int(columns.merchant_category[i]),
        "evidence_count": int(columns.evidence_count[i]),
        "attributes": bits_of(columns.attributes[i]),
    }


def expected_of(record):
    attributes = np.array([record["attributes"].get(name, np.nan) for name in ATTRIBUTE_NAMES])
    plain = {name: value for name, value in record.items() if name != "evidence"}
    return plain | {
        "device_id": record["device_id"] or None,
        "merchant_category": -1 if record["merchant_category"] is None else record["merchant_category"],
        "evidence_count": len(record["evidence"]),
        "attributes": bits_of(attributes),
    }


def only_rejected(value, decoder=DECODER):
    columns, rows, rejected = decoder.decode([written(a_transaction()), value, written(a_transaction())])
    assert rows.tolist() == [0, 2], "the neighbours of a bad record are decoded"
    assert len(columns) == 2
    assert [r.row for r in rejected] == [1]
    return rejected[0]


@given(st.lists(TRANSACTIONS, max_size=8))
def test_columns_hold_what_fastavro_reads(records):
    values = [written(record) for record in records]
    columns, rows, rejected = DECODER.decode(values)
    assert rejected == []
    assert rows.tolist() == list(range(len(records)))
    assert columns.schema_version.tolist() == [1] * len(records)
    for i, value in enumerate(values):
        oracle = fastavro.schemaless_reader(io.BytesIO(value[10:]), SCHEMA.parsed)
        assert row_of(columns, i) == expected_of(oracle)


@given(st.lists(TRANSACTIONS, min_size=1, max_size=4))
def test_json_gives_the_same_columns_as_avro(records):
    avro, _, _ = DECODER.decode([written(record) for record in records])
    from_json, _, rejected = DECODER.decode([b" \n" + json.dumps(record).encode() for record in records])
    assert rejected == []
    assert from_json.schema_version.tolist() == [0] * len(records)
    for i in range(len(records)):
        assert row_of(from_json, i) == row_of(avro, i)


@settings(max_examples=20)
@given(TRANSACTIONS)
def test_a_record_cut_off_at_any_byte_is_rejected(record):
    value = written(record)
    cut = [value[:n] for n in range(len(value))]
    columns, rows, rejected = DECODER.decode(cut)
    assert len(columns) == 0
    assert len(rows) == 0
    assert [r.row for r in rejected] == list(range(len(value)))
    assert {r.error for r in rejected} <= {"EMPTY_VALUE", "UNDECODABLE"}


@settings(max_examples=300)
@given(st.binary(max_size=120), st.binary(min_size=1, max_size=9))
def test_garbage_is_rejected_or_read_exactly_as_fastavro_reads_it(garbage, tail):
    # A neighbour on either side: what it says must not leak into the garbage's columns.
    good = written(a_transaction())
    columns, rows, rejected = DECODER.decode([good, HEADER + garbage, tail, good])
    assert sorted([*rows.tolist(), *(r.row for r in rejected)]) == [0, 1, 2, 3]
    if 1 in rows.tolist():
        oracle = fastavro.schemaless_reader(io.BytesIO(garbage), SCHEMA.parsed)
        assert row_of(columns, rows.tolist().index(1)) == expected_of(oracle)


@settings(max_examples=300)
@given(TRANSACTIONS, st.data())
def test_a_flipped_byte_is_rejected_or_read_exactly_as_fastavro_reads_it(record, data):
    value = bytearray(written(record))
    value[data.draw(st.integers(10, len(value) - 1))] = data.draw(st.integers(0, 255))
    columns, rows, rejected = DECODER.decode([bytes(value)])
    assert len(rows) + len(rejected) == 1
    if len(rows):
        oracle = fastavro.schemaless_reader(io.BytesIO(bytes(value[10:])), SCHEMA.parsed)
        assert row_of(columns, 0) == expected_of(oracle)


START = (
    string(b"t")
    + long(0)
    + string(b"a")
    + string(b"c")
    + long(5)
    + string(b"EUR")
    + long(0)
    + string(b"")
    + string(b"")
)
NULLS = b"\x00" * 4


def test_arrays_and_maps_may_come_in_several_blocks():
    evidence = long(1) + string(b"one") + long(2) + string(b"two") + string(b"three") + long(0)
    attributes = b""
    for name, number in ((b"x", 1.0), (b"latitude", 2.0)):
        attributes += long(1) + string(name) + struct.pack("<d", number)
    columns, _, rejected = DECODER.decode([HEADER + START + NULLS + evidence + attributes + long(0)])
    assert rejected == []
    assert columns.evidence_count.tolist() == [3]
    assert columns.attributes[0, [0, 2]].tolist() == [2.0, 1.0]


def test_blocks_may_say_their_size_in_bytes():
    items = string(b"one") + string(b"two")
    evidence = long(-2) + long(len(items)) + items + long(0)
    entry = string(b"x") + struct.pack("<d", 1.5)
    columns, _, rejected = DECODER.decode(
        [HEADER + START + NULLS + evidence + long(-1) + long(len(entry)) + entry + long(0)]
    )
    assert rejected == []
    assert columns.evidence_count.tolist() == [2]
    assert columns.attributes[0, 2] == 1.5


def test_of_an_attribute_that_comes_twice_the_last_counts():
    entries = b"".join(string(b"x") + struct.pack("<d", number) for number in (1.0, 2.0))
    columns, _, _ = DECODER.decode([HEADER + START + NULLS + long(0) + long(2) + entries + long(0)])
    assert columns.attributes[0, 2] == 2.0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(long(-1), "length is negative", id="negative length"),
        pytest.param(long(2**62), "beyond the end", id="huge length"),
        pytest.param(b"\xff" * 9 + b"\x02", "does not fit in 64 bits", id="varint of 65 bits"),
        pytest.param(b"\x80" * 20, "does not fit in 64 bits", id="varint without end"),
        pytest.param(string(b"\xff\xfe"), "not valid UTF-8", id="invalid UTF-8"),
        pytest.param(string(b"\xed\xa0\x80"), "not valid UTF-8", id="surrogate in UTF-8"),
        pytest.param(string(b"\xc0\xafabcdefgh"), "not valid UTF-8", id="overlong UTF-8"),
        pytest.param(string(b"abcdefgh\xf4\x90\x80\x80"), "not valid UTF-8", id="beyond U+10FFFF"),
        pytest.param(START[:-3] + long(9) + b"\x00\x00", "a symbol that", id="unknown symbol"),
        pytest.param(START[:-3] + long(-1) + b"\x00\x00", "a symbol that", id="negative symbol"),
        pytest.param(START + long(2), "a branch that", id="unknown branch"),
        pytest.param(START + long(1) + long(2**31), "32 bits", id="int beyond 32 bits"),
        pytest.param(START + NULLS + long(-1) + long(9) + string(b"one") + b"\0" * 8, "disagrees", id="block size"),
        pytest.param(START + NULLS + long(-(2**63)) + long(0), "negative", id="lowest block count"),
        pytest.param(START + NULLS + long(2**62), "ends in the middle", id="huge block count"),
        pytest.param(START + NULLS + b"\0\0more", "left over", id="trailing bytes"),
    ],
)
def test_malformed_avro_is_undecodable(body, said):
    rejected = only_rejected(HEADER + body)
    assert (rejected.stage, rejected.error) == ("decode", "UNDECODABLE")
    assert said in rejected.message


@pytest.mark.parametrize("number", [np.inf, -np.inf])
def test_an_infinite_attribute_is_refused_even_if_nobody_asked_for_it(number):
    rejected = only_rejected(written(a_transaction(attributes={"unheard_of": number})))
    assert (rejected.stage, rejected.error) == ("validate", "NOT_FINITE")


def test_an_empty_device_id_means_no_device():
    columns, _, _ = DECODER.decode([written(a_transaction(device_id=""))])
    assert columns.device_id.bytes_at(0) is None


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "EMPTY_VALUE"),
        (b"", "EMPTY_VALUE"),
        (b"hello", "UNDECODABLE"),
        (b"\xc3\x01short", "UNDECODABLE"),
        (b"\x00\x00\x00", "UNDECODABLE"),
        (b"[1, 2]", "UNDECODABLE"),
        (b"\xc3\x01abcdefgh", "UNKNOWN_SCHEMA"),
        (b"\x00\x00\x00\x00\x07abc", "UNKNOWN_SCHEMA"),
        (encode_record("label", a_label()), "WRONG_SCHEMA"),
        (b"{", "INVALID_JSON"),
        (b'{"a": "\xff"}', "INVALID_JSON"),
        (b'{"a":' * 100_000, "INVALID_JSON"),
        (b"{}", "INVALID_FIELD"),
        (b"{" + b" " * (1 << 20), "RECORD_TOO_LARGE"),
        (b"\x00" * 10_000_000, "RECORD_TOO_LARGE"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_each_kind_of_bad_value_has_its_code(value, code):
    assert only_rejected(value).error == code


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("amount_minor", float("nan"), "amount_minor: expected a whole number, found nan"),
        ("amount_minor", float("inf"), "amount_minor: expected a whole number, found inf"),
        ("amount_minor", 12.5, "amount_minor: expected a whole number, found 12.5"),
        ("amount_minor", True, "amount_minor: expected a whole number, found true"),
        ("amount_minor", 2**63, "amount_minor: 9223372036854775808 is outside"),
        ("transaction_id", 7, "transaction_id: expected a string, found a number"),
        ("transaction_id", "\ud800", "transaction_id: the string holds half of a surrogate pair"),
        ("account_country", None, "account_country: expected a string, found null"),
        ("evidence", ["x", 1], "evidence[1]: expected a string, found a number"),
        ("attributes", {"x": "1"}, 'attributes.x: expected a number, found "1"'),
        ("attributes", {"x": 10**400}, "attributes.x: 1000"),
        ("channel", 3, "channel: expected one of other, card_present"),
    ],
)
def test_a_wrong_json_field_is_named(field, value, said):
    rejected = only_rejected(json.dumps(a_transaction(**{field: value})).encode())
    assert rejected.error == "INVALID_FIELD"
    assert rejected.message.startswith(said)


def test_json_takes_defaults_unknown_fields_and_new_channels():
    record = {"channel": "carrier_pigeon", "colour": "red"} | {
        name: a_transaction()[name]
        for name in ("transaction_id", "event_time_ms", "account_id", "counterparty_id", "amount_minor", "currency")
    }
    columns, _, rejected = DECODER.decode([json.dumps(record).encode()])
    assert rejected == []
    assert CHANNELS[columns.channel[0]] == "other"
    assert columns.device_id.bytes_at(0) is None
    assert columns.account_country.bytes_at(0) == b""


def test_an_infinite_attribute_in_json_is_refused():
    assert only_rejected(json.dumps(a_transaction(attributes={"x": float("inf")})).encode()).error == "NOT_FINITE"


def test_a_batch_of_nothing_decodes_to_nothing():
    columns, rows, rejected = DECODER.decode([])
    assert (len(columns), len(rows), rejected) == (0, 0, [])


def test_batches_of_nothing_but_bad_records_decode_to_nothing():
    columns, rows, rejected = DECODER.decode([None, b"x"])
    assert (len(columns), len(rows), len(rejected)) == (0, 0, 2)
