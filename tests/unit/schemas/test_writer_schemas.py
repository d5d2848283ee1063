"""Other writers' schemas, by registry id: compiled where possible, else resolved by fastavro."""

import copy
import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RegistryUnavailableError, UnknownSchemaError
from schemas.framing import confluent_header
from schemas.transactions import TransactionDecoder
from schemas.versions import current, without_logical_types
from tests.builders import a_transaction
from tests.unit.schemas.strategies import ATTRIBUTE_NAMES, TRANSACTIONS
from tests.unit.schemas.test_transaction_decoder import expected_of, row_of

CURRENT = without_logical_types(current("transaction").text)
OPTIONAL = [f["name"] for f in CURRENT["fields"] if "default" in f]

# Extra fields with a value each: those that are compiled, and those that only fastavro reads.
COMPILED_EXTRAS = [
    ("note", "string", "n"),
    ("blob", "bytes", b"\x01\xff"),
    ("ratio", "double", 1.5),
    ("share", "float", 0.5),
    ("flag", "boolean", True),
    ("digest", {"type": "fixed", "name": "Digest", "size": 3}, b"abc"),
    ("kind", {"type": "enum", "name": "Kind", "symbols": ["a", "b"]}, "b"),
    ("maybe", ["null", "long"], None),
    ("perhaps", ["string", "null"], "p"),
    ("tags", {"type": "array", "items": "string"}, ["x", "y"]),
    ("weights", {"type": "map", "values": "double"}, {"w": float("inf")}),
    ("place", {"type": "record", "name": "Place", "fields": [{"name": "x", "type": "int"}]}, {"x": 3}),
    ("none", "null", None),
]
SLOW_EXTRAS = [
    ("lines", {"type": "array", "items": "long"}, [1, 2]),
    ("choice", ["null", "string", "long"], 5),
]


class Registry:
    def __init__(self, schemas):
        self.schemas = schemas
        self.questions = []

    def schema_by_id(self, schema_id):
        self.questions.append(schema_id)
        if schema_id not in self.schemas:
            raise UnknownSchemaError(f"no schema {schema_id}")
        return self.schemas[schema_id]


def decode(writer, records):
    parsed = fastavro.parse_schema(copy.deepcopy(writer), _write_hint=False)
    values = []
    for record in records:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, record)
        values.append(confluent_header(1) + out.getvalue())
    decoder = TransactionDecoder(Registry({1: writer}), ATTRIBUTE_NAMES)
    columns, rows, rejected = decoder.decode(values)
    assert rejected == []
    assert rows.tolist() == list(range(len(records)))
    bodies = [io.BytesIO(value[5:]) for value in values]
    oracle = [fastavro.schemaless_reader(body, parsed, current("transaction").parsed) for body in bodies]
    for i, record in enumerate(oracle):
        assert row_of(columns, i) == expected_of(record)
    return columns


@given(
    st.lists(TRANSACTIONS, min_size=1, max_size=3),
    st.sets(st.sampled_from(OPTIONAL)),
    st.lists(st.sampled_from(COMPILED_EXTRAS + SLOW_EXTRAS), unique_by=lambda extra: extra[0], max_size=4),
    st.randoms(use_true_random=False),
)
def test_fields_left_out_added_and_reordered_resolve_as_in_fastavro(records, dropped, extras, random):
    fields = [f for f in copy.deepcopy(CURRENT["fields"]) if f["name"] not in dropped]
    fields += [{"name": name, "type": kind} for name, kind, _ in copy.deepcopy(extras)]
    random.shuffle(fields)
    columns = decode(
        CURRENT | {"fields": fields}, [record | {name: value for name, _, value in extras} for record in records]
    )
    is_current = [f["name"] for f in fields] == [f["name"] for f in CURRENT["fields"]]
    assert columns.schema_version.tolist() == [int(is_current)] * len(records)


def changed(field, kind):
    fields = [f | {"type": kind} if f["name"] == field else f for f in copy.deepcopy(CURRENT["fields"])]
    for f in fields:
        f.pop("default", None)
    return CURRENT | {"fields": fields}


@pytest.mark.parametrize(
    ("field", "kind", "value"),
    [
        ("amount_minor", "int", 17),
        ("memo", "string", "text"),
        ("memo", ["string", "null"], None),
        ("memo", "null", None),
        ("device_id", "bytes", b"device"),
        ("channel", {"type": "enum", "name": "Channel", "symbols": ["wire", "pigeon"]}, "pigeon"),
        ("channel", {"type": "enum", "name": "Channel", "symbols": ["wire", "pigeon"]}, "wire"),
        ("attributes", {"type": "map", "values": "float"}, {"x": 1.5}),
        ("attributes", {"type": "map", "values": "int"}, {"x": 2}),
    ],
    ids=repr,
)
def test_types_that_differ_resolve_as_in_fastavro(field, kind, value):
    decode(changed(field, kind), [a_transaction(**{field: value})])


def test_the_current_schema_under_an_id_keeps_its_version():
    columns = decode(CURRENT, [a_transaction()])
    assert columns.schema_version.tolist() == [1]


def refused(writer, body=b"\x00" * 40):
    decoder = TransactionDecoder(Registry({1: writer}))
    _, _, [rejected] = decoder.decode([confluent_header(1) + body])
    return rejected.error


def test_schemas_that_cannot_be_transactions_are_wrong():
    assert refused("string") == "WRONG_SCHEMA"
    assert refused(current("label").text) == "WRONG_SCHEMA"
    assert refused(CURRENT | {"fields": CURRENT["fields"][1:]}) == "WRONG_SCHEMA"


def test_cut_off_records_of_a_schema_that_only_fastavro_reads_are_undecodable():
    writer = CURRENT | {"fields": [*CURRENT["fields"], {"name": "lines", "type": {"type": "array", "items": "long"}}]}
    assert refused(writer, b"\x02") == "UNDECODABLE"


def test_a_schema_is_asked_for_once():
    registry = Registry({1: CURRENT})
    decoder = TransactionDecoder(registry)
    for _ in range(3):
        decoder.decode([confluent_header(1) + b"x", confluent_header(1) + b"y"])
    assert registry.questions == [1]


def test_an_id_that_the_registry_does_not_know_is_an_unknown_schema():
    _, _, [rejected] = TransactionDecoder(Registry({})).decode([confluent_header(9) + b"x"])
    assert rejected.error == "UNKNOWN_SCHEMA"


def test_a_registry_without_answer_is_no_fault_of_the_record():
    class Silent:
        def schema_by_id(self, schema_id):
            raise RegistryUnavailableError("no answer")

    with pytest.raises(RegistryUnavailableError):
        TransactionDecoder(Silent()).decode([confluent_header(9) + b"x"])
