"""Single records as dictionaries: for consumers, command line and tests, where a record at a time is fast enough."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal

import fastavro

from schemas import framing
from schemas.errors import SerializationError, UnknownSchemaError, WrongSchemaError
from schemas.framing import confluent_header, single_object_header
from schemas.json_records import checked_record, parse_object
from schemas.record_writer import Encoded, compile_writer
from schemas.registry import SchemaLookup
from schemas.versions import Schema, by_fingerprint, current, schema_from

Framing = Literal["single-object", "confluent", "json"]


def _field_type(name: str, field: str) -> Any:
    return next(f["type"] for f in current(name).parsed["fields"] if f["name"] == field)


@cache
def _alert_writer() -> Callable[[Any], bytes]:
    return compile_writer(current("alert").parsed)


@cache
def _explanation_writer() -> Callable[[Any], bytes]:
    return compile_writer(_field_type("decision", "explanation"))


@cache
def _reasons_writer() -> Callable[[Any], bytes]:
    return compile_writer(_field_type("alert", "reasons"))


def _by(writer: Callable[[Any], bytes], name: str, value: Any) -> bytes:
    try:
        return writer(value)
    except Exception as error:  # a writer raises whatever it stumbles over: KeyError, TypeError, ValueError, …
        raise SerializationError(f"cannot write {name}: {error!r}") from error


def _written(schema: Any, record: Any) -> bytes:
    out = io.BytesIO()
    try:
        fastavro.schemaless_writer(out, schema, record)
    except Exception as error:  # fastavro raises whatever it stumbles over: KeyError, TypeError, ValueError, …
        raise SerializationError(f"cannot write a {schema['name']}: {error!r}") from error
    return out.getvalue()


def encode_record(
    name: str, record: Mapping[str, Any], framing: Framing = "single-object", schema_id: int | None = None
) -> bytes:
    """Encode one record in the current version of its schema.

    Parameters
    ----------
    name
        File name of the record's schema, such as `transaction`.
    record
        Its fields; those with a default may be left out, those that the schema lacks are ignored.
    framing
        How the record says which schema it is written in.
    schema_id
        Id of the schema in the registry; for Confluent framing.

    Raises
    ------
    SerializationError
        If a field is missing or not of its type.

    Examples
    --------
    >>> rule = {"rule_id": "r", "version": 1, "description": "", "expression": "true", "typology": "t", "weight": 1.0}
    >>> decode_record(encode_record("rule", rule))["is_enabled"]
    True
    """
    schema = current(name)
    checked = checked_record(record, schema.parsed)
    if framing == "json":
        try:
            return json.dumps(checked).encode()
        except TypeError as error:
            raise SerializationError(
                f"a {name} with bytes cannot be written in JSON: choose an Avro framing"
            ) from error
    if framing == "confluent":
        if schema_id is None:
            raise SerializationError("Confluent framing needs the schema's id in the registry: give schema_id")
        return confluent_header(schema_id) + _written(schema.parsed, checked)
    return single_object_header(schema) + _written(schema.parsed, checked)


def encode_alert(alert: Mapping[str, Any]) -> bytes:
    """Encode an alert in Avro's single-object encoding; the fields are those of `alert.avsc`."""
    return single_object_header(current("alert")) + _by(_alert_writer(), "an alert", alert)


def encode_explanation(explanation: Mapping[str, Any]) -> bytes:
    """Encode a decision's `explanation` in Avro binary without a header, as `DecisionColumns` takes it."""
    return _by(_explanation_writer(), "an explanation", explanation)


def encode_reasons(reasons: Sequence[Mapping[str, Any]]) -> Encoded:
    """Encode reasons once, for the explanation (whose first field they are) and for the alert."""
    return Encoded(_by(_reasons_writer(), "reasons", reasons))


def _single_object_schema(value: bytes) -> Schema:
    key = int.from_bytes(value[2 : framing.SINGLE_OBJECT_BYTES], "little")
    if key not in by_fingerprint():
        raise UnknownSchemaError(
            f"no schema has the fingerprint {key:016x}; is this version older than the producer's?"
        )
    return by_fingerprint()[key]


def _read(schema: Any, body: bytes, reader: Any) -> dict[str, Any]:
    stream = io.BytesIO(body)
    try:
        record = fastavro.schemaless_reader(stream, schema, reader)
    except Exception as error:  # on bytes that are no Avro, fastavro raises whatever it stumbles over
        raise SerializationError(f"not the Avro binary of a {schema['name']}: {error!r}") from error
    if stream.tell() != len(body):
        raise SerializationError(f"{len(body) - stream.tell()} bytes are left over after a {schema['name']}")
    return dict(record)


def decode_record(value: bytes, registry: SchemaLookup | None = None, name: str | None = None) -> dict[str, Any]:
    """Decode one record of any of our schemas, in any framing, into the fields of the schema's current version.

    Parameters
    ----------
    value
        The record as it stands on a topic.
    registry
        Where to ask for the schema of a record in Confluent framing.
    name
        Record expected, such as `decision`; None takes any. JSON is checked against its schema only when it is given.

    Raises
    ------
    SerializationError
        If the record cannot be decoded, or is not of the kind expected.
    """
    if value.startswith(framing.SINGLE_OBJECT_MARKER) and len(value) >= framing.SINGLE_OBJECT_BYTES:
        schema = _single_object_schema(value)
        if name is not None and schema.name != name:
            raise WrongSchemaError(f"expected a {name}, found a {schema.name}")
        return _read(schema.parsed, value[framing.SINGLE_OBJECT_BYTES :], current(schema.name).parsed)
    if value.startswith(b"\x00") and len(value) >= framing.CONFLUENT_BYTES:
        schema_id = int.from_bytes(value[1 : framing.CONFLUENT_BYTES], "big")
        if registry is None:
            raise UnknownSchemaError(f"the record names schema {schema_id} of a registry: give the registry's URL")
        writer = schema_from(registry.schema_by_id(schema_id)).parsed
        return _read(writer, value[framing.CONFLUENT_BYTES :], None if name is None else current(name).parsed)
    if value.lstrip().startswith(b"{"):
        record = parse_object(value)
        return record if name is None else checked_record(record, current(name).parsed)
    raise SerializationError(
        f"the first bytes are {value[:4].hex(' ')!r}: expected C3 01 (Avro single object), 00 (Confluent) or JSON"
    )
