"""Records that must end in the dead letters: every kind, with the code it is expected to fail with."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import fastavro
import numpy as np

from schemas.framing import single_object_header
from schemas.versions import Schema, current, schema_from

Record = dict[str, Any]
_HEADER_BYTES = 10
_HUGE_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Poison:
    """One kind of bad record.

    `make` gets a generator, a good record of the stream (single-object encoding), and what it says.
    """

    error: str  # expected code in the dead letters
    make: Callable[[np.random.Generator, bytes, Record], bytes | None]
    weight: float = 1.0  # how often it is drawn, against the others


def read_transaction(value: bytes) -> Record:
    """Decode a transaction written in the current schema."""
    record: Any = fastavro.schemaless_reader(io.BytesIO(value[_HEADER_BYTES:]), current("transaction").parsed, None)
    return dict(record)


def _write(record: Record, schema: Schema | None = None, header: Schema | None = None) -> bytes:
    """Encode a record; `header` claims another schema than the one it is written in."""
    schema = schema or current("transaction")
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema.parsed, record)
    return single_object_header(header or schema) + body.getvalue()


@cache
def _schema_with_a_further_channel() -> Schema:
    text = copy.deepcopy(dict(current("transaction").text))
    channel = next(field for field in text["fields"] if field["name"] == "channel")
    channel["type"]["symbols"] = [*channel["type"]["symbols"], "carrier_pigeon"]
    return schema_from(text, "transaction")


def _bad_enum(rng: np.random.Generator, value: bytes, record: Record) -> bytes:
    written = {**record, "channel": "carrier_pigeon"}
    return _write(written, _schema_with_a_further_channel(), header=current("transaction"))


def _wrong_schema(rng: np.random.Generator, value: bytes, record: Record) -> bytes:
    names = ("transaction_id", "account_id", "counterparty_id", "event_time_ms")
    label = {name: record[name] for name in names}
    return _write({**label, "label_time_ms": record["event_time_ms"], "is_fraud": False}, current("label"))


def _json(**overrides: Any) -> Callable[[np.random.Generator, bytes, Record], bytes]:
    def make(rng: np.random.Generator, value: bytes, record: Record) -> bytes:
        return json.dumps({**record, **overrides}).encode()

    return make


def _avro(**overrides: Any) -> Callable[[np.random.Generator, bytes, Record], bytes]:
    def make(rng: np.random.Generator, value: bytes, record: Record) -> bytes:
        return _write({**record, **overrides})

    return make


def _json_without_account(rng: np.random.Generator, value: bytes, record: Record) -> bytes:
    return json.dumps({name: field for name, field in record.items() if name != "account_id"}).encode()


def _years_from_now(years: float) -> Callable[[np.random.Generator, bytes, Record], bytes]:
    def make(rng: np.random.Generator, value: bytes, record: Record) -> bytes:
        return _write({**record, "event_time_ms": record["event_time_ms"] + int(years * 365.25 * 86_400_000)})

    return make


def _huge(rng: np.random.Generator, value: bytes, record: Record) -> bytes:
    return _write({**record, "memo": "x" * _HUGE_BYTES})


def _truncated(rng: np.random.Generator, value: bytes, record: Record) -> bytes:
    return value[: int(rng.integers(_HEADER_BYTES, len(value)))]


POISONS: dict[str, Poison] = {
    "empty_value": Poison("EMPTY_VALUE", lambda rng, value, record: b""),
    "null_value": Poison("EMPTY_VALUE", lambda rng, value, record: None),
    "random_bytes": Poison("UNDECODABLE", lambda rng, value, record: b"\xfe" + rng.bytes(int(rng.integers(1, 200)))),
    "truncated_avro": Poison("UNDECODABLE", _truncated),
    "trailing_bytes": Poison("UNDECODABLE", lambda rng, value, record: value + b"\x00\x01"),
    "bad_enum": Poison("UNDECODABLE", _bad_enum),
    "invalid_utf8": Poison(
        "UNDECODABLE", lambda rng, value, record: value.replace(record["account_id"].encode(), b"\xff\xfe\xfd" * 3)
    ),
    "unknown_fingerprint": Poison(
        "UNKNOWN_SCHEMA", lambda rng, value, record: b"\xc3\x01" + rng.bytes(8) + value[_HEADER_BYTES:]
    ),
    "wrong_schema": Poison("WRONG_SCHEMA", _wrong_schema),
    "broken_json": Poison("INVALID_JSON", lambda rng, value, record: json.dumps(record).encode()[:-2]),
    "missing_field": Poison("INVALID_FIELD", _json_without_account),
    "text_for_amount": Poison("INVALID_FIELD", _json(amount_minor="a lot")),
    "nan_amount": Poison("INVALID_FIELD", _json(amount_minor=float("nan"))),
    "infinite_amount": Poison("INVALID_FIELD", _json(amount_minor=float("inf"))),
    "infinite_attribute": Poison("NOT_FINITE", _avro(attributes={"risk": float("inf")})),
    "far_future": Poison("TIME_OUT_OF_RANGE", _years_from_now(400.0)),
    "before_1990": Poison("TIME_OUT_OF_RANGE", _years_from_now(-60.0)),
    "unknown_currency": Poison("UNKNOWN_CURRENCY", _avro(currency="ZZQ")),
    "negative_amount": Poison("AMOUNT_OUT_OF_RANGE", _avro(amount_minor=-1)),
    "absurd_amount": Poison("AMOUNT_OUT_OF_RANGE", _avro(amount_minor=10**15 + 1)),
    "empty_account": Poison("EMPTY_ID", _avro(account_id="")),
    # Rare, because 10 MB each: one in about two thousand bad records.
    "huge_record": Poison("RECORD_TOO_LARGE", _huge, weight=0.01),
}
"""Every kind of bad record by name."""
