"""Encoders over columns against fastavro."""

import io
from dataclasses import replace

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.columns import MaturedLabelColumns, StringColumn
from schemas.decisions import MODES, NOTHING_TO_EXPLAIN, OUTCOMES, DecisionColumns
from schemas.encode import RecordWriter, encode_decisions, encode_labels, encode_matured_labels, encode_transactions
from schemas.labels import LabelDecoder
from schemas.records import decode_record, encode_explanation, encode_record
from schemas.transactions import TransactionDecoder
from schemas.versions import current
from tests.builders import a_label, a_transaction, label_columns, transaction_columns
from tests.unit.schemas.strategies import ATTRIBUTE_NAMES, LABELS, LONGS, TEXTS, TRANSACTIONS

FLOATS = st.floats(width=32, allow_nan=False)


def read(name, value):
    return fastavro.schemaless_reader(io.BytesIO(value[10:]), current(name).parsed)


@given(st.lists(TRANSACTIONS, max_size=6))
def test_fastavro_reads_back_encoded_transactions(records):
    values = encode_transactions(transaction_columns(records, ATTRIBUTE_NAMES))
    for record, value in zip(records, values, strict=True):
        kept = {k: v for k, v in record["attributes"].items() if k in ATTRIBUTE_NAMES and not np.isnan(v)}
        # -1 stands for null in the column.
        merchant = None if (record["merchant_category"] or 0) < 0 else record["merchant_category"]
        assert read("transaction", value) == record | {"attributes": kept, "merchant_category": merchant}


def test_a_simple_transaction_has_the_same_bytes_as_fastavro_writes():
    record = a_transaction(attributes={"x": 1.5})
    assert encode_transactions(transaction_columns([record], ("x",))) == [encode_record("transaction", record)]


@given(st.lists(LABELS, max_size=6))
def test_labels_round_trip_and_have_the_same_bytes_as_fastavro_writes(records):
    values = encode_labels(label_columns(records))
    assert values == [encode_record("label", record) for record in records]
    columns, rows, rejected = LabelDecoder().decode(values)
    assert (rows.tolist(), rejected) == (list(range(len(records))), [])
    assert encode_labels(columns) == values


@given(st.lists(st.tuples(LABELS, st.booleans()), max_size=6))
def test_matured_labels_round_trip_and_have_the_same_bytes_as_fastavro_writes(pairs):
    records = []
    for label, is_correction in pairs:
        replaced = (label["source"], label["event_time_ms"]) if is_correction else (None, None)
        names = ("replaced_source", "replaced_label_time_ms")
        records.append({**label, "is_correction": is_correction, **dict(zip(names, replaced, strict=True))})
    columns = label_columns(records)
    shared = {name: getattr(columns, name) for name in columns.__slots__ if name != "pattern"}
    matured = MaturedLabelColumns(
        **shared,
        is_correction=np.array([record["is_correction"] for record in records], np.bool_),
        replaced_source=columns.source,
        replaced_label_time_ms=columns.event_time_ms,
    )
    values = encode_matured_labels(matured)
    assert values == [encode_record("matured_label", record) for record in records]
    decoded, rows, rejected = LabelDecoder(record="matured_label").decode(values)
    assert (rows.tolist(), rejected) == (list(range(len(records))), [])
    expected = label_columns([{**record, "pattern": None} for record in records])
    assert encode_labels(decoded) == encode_labels(expected)
    _, _, refused = LabelDecoder().decode(values)
    assert {r.error for r in refused} <= {"WRONG_SCHEMA"}
    assert len(refused) == len(records), "a matured label is no raw one"


def test_decoded_transactions_encode_to_the_bytes_they_came_from():
    records = [
        a_transaction(transaction_id=f"t{i}", device_id=None if i % 3 else "d", evidence=["a.png"] * (i % 2))
        for i in range(3000)
    ]
    values = [encode_record("transaction", record) for record in records]
    columns, _, _ = TransactionDecoder().decode(values)
    assert encode_transactions(columns) == values, "more records than are written at once"
    assert encode_transactions(columns.take(np.array([7, 3]))) == [values[7], values[3]]


def decisions(n, features, sequences=3, **overrides):
    random = np.random.default_rng(n)
    texts = StringColumn.from_values([f"id-{i}" for i in range(n)])
    fields = {
        "transaction_id": texts,
        "account_id": texts,
        "counterparty_id": texts,
        "event_time_ms": random.integers(-(2**63), 2**63 - 1, n),
        "amount_minor": random.integers(0, 10**15, n),
        "currency": StringColumn.from_values(["EUR"] * n),
        "source_partition": random.integers(0, 2**31 - 1, n).astype(np.int32),
        "source_offset": random.integers(0, 2**63 - 1, n),
        "source_time_ms": random.integers(0, 2**63 - 1, n),
        "outcome": random.integers(0, 3, n).astype(np.uint8),
        "score": random.random(n).astype(np.float32),
        "typology_score": random.random(n).astype(np.float32),
        "model_score": random.random(n).astype(np.float32),
        "learner_score": random.random(n).astype(np.float32),
        "schema_version": random.integers(0, 2, n).astype(np.int16),
        "model_name": "weir-1",
        "model_version": "1",
        "model_sha256": "ab" * 32,
        "learner_name": "logistic-regression",
        "learner_version": "17",
        "learner_sha256": "cd" * 8,
        "rules_version": "01" * 8,
        "feature_set": "f00d",
        "features": random.normal(size=(n, features)).astype(np.float32),
        "touch_sequences": random.integers(-1, 2**62, (n, sequences)),
        "explanation": {},
        "default_explanation": NOTHING_TO_EXPLAIN,
        "revision": 0,
        "mode": "live",
        "run_id": "",
        "ingest_time_ms": 1,
        "decision_time_ms": 2,
    }
    return DecisionColumns(**fields | overrides)


@pytest.mark.parametrize("features", [0, 1, 80])
@pytest.mark.parametrize("n", [0, 1, 5, 1025])
def test_fastavro_reads_back_encoded_decisions(n, features):
    d = decisions(n, features)
    values = encode_decisions(d)
    assert len(values) == n
    for i in (0, n // 2, n - 1) if n else ():
        decoded = read("decision", values[i])
        assert decoded["transaction_id"] == d.transaction_id.text_at(i)
        assert decoded["outcome"] == OUTCOMES[d.outcome[i]]
        assert np.float32(decoded["score"]) == d.score[i]
        for name in ("event_time_ms", "amount_minor", "source_partition", "source_offset", "source_time_ms"):
            assert decoded[name] == getattr(d, name)[i]
        assert decoded["schema_version"] == d.schema_version[i]
        assert np.array_equal(np.array(decoded["features"], np.float32), d.features[i])
        assert decoded["touch_sequences"] == d.touch_sequences[i].tolist()
        assert decoded["model_sha256"] == d.model_sha256
        assert decoded["explanation"] == {"reasons": [], "rule_hits": [], "warming": [], "degraded": []}
        assert decoded["processing"] == {"mode": "live", "run_id": "", "ingest_time_ms": 1, "decision_time_ms": 2}


def test_missing_features_stay_not_a_number():
    values = encode_decisions(replace(decisions(1, 2), features=np.array([[np.nan, 1]], np.float32)))
    assert np.isnan(decode_record(values[0])["features"][0])


REASONS = st.fixed_dictionaries(
    {"code": TEXTS, "text": TEXTS, "feature": TEXTS, "value": FLOATS, "usual_value": FLOATS, "contribution": FLOATS}
)
EXPLANATIONS = st.fixed_dictionaries(
    {
        "reasons": st.lists(REASONS, max_size=4),
        "rule_hits": st.lists(
            st.fixed_dictionaries(
                {"rule_id": TEXTS, "version": st.integers(1, 9), "typology": TEXTS, "weight": FLOATS}
            ),
            max_size=2,
        ),
        "warming": st.lists(TEXTS, max_size=2),
        "degraded": st.lists(TEXTS, max_size=2),
    }
)


@given(st.dictionaries(st.integers(0, 9), EXPLANATIONS), EXPLANATIONS, LONGS, st.sampled_from(MODES), TEXTS)
def test_each_decision_carries_its_own_explanation_or_the_common_one(own, common, time_ms, mode, run_id):
    d = decisions(
        10, 2, explanation={row: encode_explanation(e) for row, e in own.items()},
        default_explanation=encode_explanation(common), mode=mode, run_id=run_id, decision_time_ms=time_ms,
    )  # fmt: skip
    for row, value in enumerate(encode_decisions(d)):
        decoded = decode_record(value, name="decision")
        assert decoded["explanation"] == own.get(row, common)
        assert decoded["processing"]["decision_time_ms"] == time_ms
        assert (decoded["processing"]["mode"], decoded["processing"]["run_id"]) == (mode, run_id)


def test_nothing_to_explain_is_an_empty_explanation():
    assert encode_explanation({"reasons": [], "rule_hits": [], "warming": [], "degraded": []}) == NOTHING_TO_EXPLAIN


def test_columns_that_are_slices_or_read_only_encode_alike():
    columns = label_columns([a_label(transaction_id=f"t{i}") for i in range(6)])
    whole = encode_labels(columns)
    sliced = {name: getattr(columns, name) for name in columns.__slots__}
    for name, value in sliced.items():
        sliced[name] = value.take(np.arange(0, 6, 2)) if isinstance(value, StringColumn) else value[::2]
    assert encode_labels(type(columns)(**sliced)) == whole[::2]


@given(st.lists(LONGS, max_size=5))
def test_longs_are_written_as_fastavro_writes_them(values):
    writer = RecordWriter(len(values))
    writer.longs(np.array(values, np.int64))
    expected = []
    for value in values:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, "long", value)
        expected.append(out.getvalue())
    assert writer.finish() == expected
