"""Decisions read as columns, with fastavro as the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from schemas.decision_reader import DecisionReader
from schemas.errors import SerializationError
from schemas.records import decode_record, encode_record
from tests.ledger import a_ledger

DECISIONS = [sent.value for sent in a_ledger(200, seed=3) if sent.topic == 0]
READER = DecisionReader(FEATURE_SET, len(FEATURE_NAMES))


def test_columns_are_what_fastavro_reads() -> None:
    scored, rows, rejected = READER.decode([*DECISIONS])
    assert not rejected
    assert rows.tolist() == list(range(len(DECISIONS)))
    for i, value in enumerate(DECISIONS):
        record = decode_record(value, name="decision")
        for name in ("transaction_id", "account_id", "counterparty_id"):
            assert getattr(scored, name).text_at(i) == record[name]
        assert int(scored.event_time_ms[i]) == record["event_time_ms"]
        assert scored.score[i] == np.float32(record["score"])
        assert scored.model_score[i] == np.float32(record["model_score"])
        learned = np.float32(record["learner_score"])
        assert (scored.learner_score[i] == learned) if learned >= 0 else np.isnan(scored.learner_score[i])
        np.testing.assert_array_equal(scored.features[i], np.array(record["features"], np.float32))


def test_a_decision_of_the_first_version_has_the_models_score_and_no_learner() -> None:
    value = (Path(__file__).parents[2] / "data" / "records" / "decision-1.avro").read_bytes()
    record = decode_record(value, name="decision")
    reader = DecisionReader(record["feature_set"], len(record["features"]))
    scored, rows, _ = reader.decode([value])
    assert rows.tolist() == [0]
    assert scored.account_id.text_at(0) == record["account_id"]
    assert scored.score[0] == scored.model_score[0] == np.float32(record["score"])
    assert np.isnan(scored.learner_score[0])


def test_an_id_longer_than_any_accepted_one_is_refused() -> None:
    record = decode_record(DECISIONS[0], name="decision")
    values = [encode_record("decision", {**record, "counterparty_id": "x" * size}) for size in (256, 257)]
    _, rows, rejected = READER.decode([*values])
    assert rows.tolist() == [0]
    assert [(r.row, r.error) for r in rejected] == [(1, "ID_TOO_LONG")]


def test_another_feature_set_is_refused_and_its_neighbours_are_not() -> None:
    for reader in (DecisionReader("other", len(FEATURE_NAMES)), DecisionReader(FEATURE_SET, len(FEATURE_NAMES) + 1)):
        scored, _, rejected = reader.decode([DECISIONS[0]])
        assert len(scored) == 0
        assert [r.error for r in rejected] == ["OTHER_FEATURES"]
    scored, rows, rejected = READER.decode([DECISIONS[0], b"junk", None, DECISIONS[1]])
    assert rows.tolist() == [0, 3]
    assert [(r.row, r.error) for r in rejected] == [(1, "UNDECODABLE"), (2, "UNDECODABLE")]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(DECISIONS) - 1), st.integers(0, 10_000), st.binary(max_size=12), st.integers(0, 10_000))
def test_no_bytes_break_it(row: int, at: int, change: bytes, length: int) -> None:
    """Damaged records are refused, or read as fastavro reads them."""
    value = DECISIONS[row]
    at %= len(value)
    damaged = (value[:at] + change + value[at + len(change) :])[: length % (len(value) + 1)]
    scored, rows, rejected = READER.decode([DECISIONS[0], damaged, DECISIONS[1]])
    assert {0, 2} <= set(rows.tolist())
    assert len(rows) + len(rejected) == 3
    try:
        record = decode_record(damaged, name="decision")
    except SerializationError:
        return
    if record["feature_set"] == FEATURE_SET and len(record["features"]) == len(FEATURE_NAMES):
        if 1 not in rows:
            assert rejected[0].error == "ID_TOO_LONG"
            return
        assert scored.transaction_id.text_at(1) == record["transaction_id"]
        assert int(scored.event_time_ms[1]) == record["event_time_ms"]
