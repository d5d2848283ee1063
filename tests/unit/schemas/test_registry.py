"""Schemas from a registry, against the client's own registry inside the process."""

import json

import pytest

pytest.importorskip("authlib", reason="the registry's client is an optional extra")

from confluent_kafka.schema_registry import Schema

from schemas.errors import RegistryUnavailableError, UnknownSchemaError
from schemas.records import encode_record
from schemas.registry import RegistrySchemas
from schemas.transactions import TransactionDecoder
from schemas.versions import current
from tests.builders import a_transaction


def a_registry(name, **options):
    return RegistrySchemas(f"mock://{name}", **options)


def test_a_registered_schema_decodes_records_that_name_it():
    registry = a_registry("registered")
    text = json.dumps(current("transaction").text)
    schema_id = registry.client.register_schema("weir.transactions-value", Schema(text, "AVRO"))
    value = encode_record("transaction", a_transaction(), "confluent", schema_id)
    columns, _, rejected = TransactionDecoder(registry).decode([value])
    assert rejected == []
    assert columns.account_id.text_at(0) == "account-1"
    assert columns.schema_version.tolist() == [1]


def test_an_unknown_id_is_remembered_for_a_while():
    now = [0.0]
    registry = a_registry("unknown", clock=lambda: now[0], forget_unknown_after_seconds=60)
    with pytest.raises(UnknownSchemaError):
        registry.schema_by_id(1)
    schema_id = registry.client.register_schema("s-value", Schema('"string"', "AVRO"))
    assert schema_id == 1
    with pytest.raises(UnknownSchemaError):
        registry.schema_by_id(1)
    now[0] = 61.0
    assert registry.schema_by_id(1) == "string"


def test_a_registry_that_cannot_be_reached_is_unavailable():
    registry = RegistrySchemas("http://127.0.0.1:9", timeout_seconds=0.2)
    with pytest.raises(RegistryUnavailableError):
        registry.schema_by_id(1)
