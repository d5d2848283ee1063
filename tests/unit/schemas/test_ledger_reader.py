"""The compiled reader of decisions against fastavro, over decisions that the core makes."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.catalogue import FEATURE_NAMES
from schemas.decisions import OUTCOMES
from schemas.encode import encode_decisions
from schemas.ledger_reader import (
    IS_REFERENCE_MISSING,
    LedgerReader,
    explanation_of,
    split_decisions,
    warming_rows,
)
from schemas.records import decode_record
from tests.ledger import decision_columns
from tests.recorded import plain_loop, record_stream


@pytest.fixture(scope="module")
def decisions() -> list[bytes]:
    return plain_loop(record_stream(600, seed=3)).decisions


def test_every_column_is_what_fastavro_reads(decisions: list[bytes]) -> None:
    columns = LedgerReader(len(FEATURE_NAMES)).decode(decisions)
    assert columns.is_read.all()
    for row, value in enumerate(decisions):
        record = decode_record(value, name="decision")
        for name in ("transaction_id", "account_id", "counterparty_id", "currency"):
            assert getattr(columns, name).text_at(row) == record[name]
        for name in ("event_time_ms", "amount_minor", "source_partition", "source_offset", "source_time_ms"):
            assert getattr(columns, name)[row] == record[name]
        for name in ("score", "typology_score", "model_score", "learner_score"):
            assert getattr(columns, name)[row] == np.float32(record[name])
        assert OUTCOMES[columns.outcome[row]] == record["outcome"]
        assert columns.touch_sequences[row].tolist() == record["touch_sequences"]
        np.testing.assert_array_equal(columns.features[row], np.array(record["features"], np.float32))
        versions = columns.known_versions[columns.versions[row]]
        assert (versions.model_sha256, versions.rules_version) == (record["model_sha256"], record["rules_version"])
        assert bool(columns.degraded[row] & IS_REFERENCE_MISSING) == ("reference" in record["explanation"]["degraded"])
        found = explanation_of(columns, row)
        assert [h["rule_id"] for h in found["rule_hits"]] == [h["rule_id"] for h in record["explanation"]["rule_hits"]]
        assert found["warming"] == record["explanation"]["warming"]
        assert warming_rows(columns)[row] == bool(record["explanation"]["warming"])


def test_the_body_leaves_out_only_what_the_run_alone_knows() -> None:
    X = np.full((2, len(FEATURE_NAMES)), math.nan, np.float32)
    one = encode_decisions(decision_columns(["a", "b"], 1_000_000, X))
    other = encode_decisions(decision_columns(["a", "c"], 1_000_000, X))
    reader = LedgerReader(len(FEATURE_NAMES))
    first, second = reader.decode(one), reader.decode(other)
    assert first.body(0) == second.body(0)
    assert first.body(1) != second.body(1)
    hashes = first.body_hashes(), second.body_hashes()
    assert hashes[0][0] == hashes[1][0]
    assert hashes[0][1] != hashes[1][1]
    start, end = first.body_span[0].tolist()
    assert one[0][10 : 10 + end - start] == first.body(0)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_decisions_in_a_row_are_cut_where_they_end(decisions: list[bytes], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(decisions), max_size=20))
    block = b"".join(value[10:] for value in chosen)
    assert split_decisions(block, len(chosen)) == chosen
    damaged = block[: data.draw(st.integers(0, max(0, len(block) - 1)))] if chosen else b"x"
    with pytest.raises(ValueError, match="are not"):
        split_decisions(damaged, len(chosen))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_records_are_not_read_and_never_crash(decisions: list[bytes], data: st.DataObject) -> None:
    value = bytearray(data.draw(st.sampled_from(decisions[:50])))
    kind = data.draw(st.sampled_from(["cut", "flip"]))
    if kind == "cut":
        damaged = bytes(value[: data.draw(st.integers(0, 200))])
        assert not LedgerReader(len(FEATURE_NAMES)).decode([damaged]).is_read.any()
    else:
        for _ in range(3):
            value[data.draw(st.integers(10, len(value) - 1))] ^= data.draw(st.integers(1, 255))
        LedgerReader(len(FEATURE_NAMES)).decode([bytes(value), None, b""])
        with contextlib.suppress(ValueError):
            assert split_decisions(bytes(value[10:]), 1) == [bytes(value)]
