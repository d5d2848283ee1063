"""The schema files: documented, kept, and agreeing with the columns they travel in."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.blocks import BlockDecoder
from schemas.columns import CHANNELS, LabelColumns, MaturedLabelColumns, StringColumn, TransactionColumns
from schemas.decisions import MODES, OUTCOMES, DecisionColumns
from schemas.labels import LabelDecoder
from schemas.records import decode_record
from schemas.references import first_references
from schemas.transactions import TransactionDecoder
from schemas.versions import RECORDS, by_fingerprint, current, versions_of
from tests.builders import LABEL_SOURCES

STORED = Path(__file__).parents[2] / "data" / "records"
ALL_VERSIONS = [(name, schema.version) for name in RECORDS for schema in versions_of(name)]


def records_within(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from records_within(branch)
    elif isinstance(schema, dict):
        if schema.get("type") == "record":
            yield schema
            for field in schema["fields"]:
                yield from records_within(field["type"])
        for part in ("items", "values", "type"):
            if isinstance(schema.get(part), dict | list):
                yield from records_within(schema[part])


def field_names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def symbols(name: str, *path: str) -> tuple[str, ...]:
    schema: Any = current(name).text
    for step in path:
        schema = next(f["type"] for f in schema["fields"] if f["name"] == step)
    return tuple(schema["symbols"])


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_and_field_says_what_it_means(name):
    for record in records_within(current(name).text):
        assert record["doc"].strip()
        for field in record["fields"]:
            assert field["doc"].strip().endswith("."), f"{record['name']}.{field['name']}"


@pytest.mark.parametrize("name", RECORDS)
def test_the_newest_kept_version_is_the_current_schema(name):
    assert versions_of(name)[-1].fingerprint == current(name).fingerprint


def test_no_two_schemas_share_a_fingerprint():
    assert len(by_fingerprint()) == len(ALL_VERSIONS)


def test_every_schema_file_is_listed():
    assert {path.stem for path in (Path(__file__).parents[3] / "schemas").glob("*.avsc")} == set(RECORDS)


@pytest.mark.parametrize(("name", "version"), ALL_VERSIONS)
def test_a_stored_record_of_every_version_keeps_decoding(name, version):
    expected = json.loads((STORED / f"{name}-{version}.json").read_text())
    decoded = decode_record((STORED / f"{name}-{version}.avro").read_bytes(), name=name)
    assert {field: decoded[field] for field in expected} == expected


@pytest.mark.parametrize("version", [schema.version for schema in versions_of("transaction")])
def test_a_stored_transaction_of_every_version_keeps_decoding_to_columns(version):
    expected = json.loads((STORED / f"transaction-{version}.json").read_text())
    names = tuple(expected["attributes"])
    columns, _, rejected = TransactionDecoder(None, names).decode(
        [(STORED / f"transaction-{version}.avro").read_bytes()]
    )
    assert not rejected
    assert columns.schema_version.tolist() == [version]
    assert columns.transaction_id.text_at(0) == expected["transaction_id"]
    assert columns.memo.text_at(0) == expected["memo"]
    assert columns.evidence_count[0] == len(expected["evidence"])
    assert columns.evidence is not None
    assert first_references(columns.evidence, 0, 100) == expected["evidence"]
    assert columns.attributes[0].tolist() == list(expected["attributes"].values())


@pytest.mark.parametrize(
    ("name", "version"), [(name, version) for name, version in ALL_VERSIONS if name in ("label", "matured_label")]
)
def test_a_stored_label_of_every_version_keeps_decoding_to_columns(name, version):
    expected = json.loads((STORED / f"{name}-{version}.json").read_text())
    columns, _, rejected = LabelDecoder(record=name).decode([(STORED / f"{name}-{version}.avro").read_bytes()])
    assert not rejected
    assert columns.pattern.text_at(0) == expected.get("pattern")
    assert columns.label_time_ms[0] == expected["label_time_ms"]


def test_transaction_columns_agree_with_the_schema_field_by_field():
    fields = [f["name"] for f in current("transaction").text["fields"]]
    fields[fields.index("evidence")] = "evidence_count"
    assert field_names(TransactionColumns) == [*fields, "attribute_names", "schema_version", "evidence"]


def test_label_columns_agree_with_the_schema_field_by_field():
    assert field_names(LabelColumns) == [f["name"] for f in current("label").text["fields"]]


def test_matured_label_columns_agree_with_the_schema_field_by_field():
    assert field_names(MaturedLabelColumns) == [f["name"] for f in current("matured_label").text["fields"]]


def test_a_matured_label_has_the_sources_of_a_label():
    assert symbols("matured_label", "source") == symbols("label", "source")


def test_decision_columns_agree_with_the_schema_field_by_field():
    expected = []
    for field in current("decision").text["fields"]:
        if field["name"] == "processing":
            expected += [f["name"] for f in field["type"]["fields"]]
        else:
            expected.append(field["name"])
        if field["name"] == "explanation":
            expected.append("default_explanation")
    assert field_names(DecisionColumns) == expected


def test_column_types_agree_with_the_schemas():
    for name, columns in (("transaction", TransactionColumns), ("label", LabelColumns)):
        layout = BlockDecoder(name).layout
        strings = {f.name for f in dataclasses.fields(columns) if f.type in {StringColumn, "StringColumn"}}
        assert strings == set(layout.strings)


def test_symbols_agree_with_the_schemas():
    assert symbols("transaction", "channel") == CHANNELS
    assert symbols("decision", "outcome") == OUTCOMES
    assert symbols("decision", "processing", "mode") == MODES
    assert symbols("alert", "outcome") == OUTCOMES[1:]
    assert symbols("label", "source") == LABEL_SOURCES
