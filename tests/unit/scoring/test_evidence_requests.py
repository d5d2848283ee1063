"""Who is asked about what, for which alerts; and decisions that know nothing of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring.core_settings import CoreSettings
from models.scoring.decide_batch import LIVE, Scored, decide_rows
from models.scoring.decider import Decider
from models.scoring.evidence_policy import AskedService, EvidencePolicy, pieces_of, rows_with_evidence
from models.scoring.evidence_requests import requests_of
from models.scoring.home_batch import HomeBatch
from models.scoring.pipeline import ScoringCore
from models.training.simulator import SimulatorConfig, encode_stream
from schemas.columns import RawRecords
from schemas.records import decode_record
from schemas.references import first_references, pack_references
from tests.builders import a_transaction, transaction_columns
from tests.recorded import a_decider

VISION, TEXT = AskedService("vision", "1"), AskedService("text", reads_memo=True)
MULTIMODAL = AskedService("multimodal")
POLICY = EvidencePolicy((VISION, TEXT, MULTIMODAL), budget_ms=10_000, max_references=2)


@pytest.fixture(scope="module")
def decider() -> Decider:
    return a_decider()


@pytest.fixture(scope="module")
def scored(decider: Decider) -> Scored:
    config = SimulatorConfig(seed=4, accounts=300, merchants=200, fraud_rate=0.05, evidence_share=0.5)
    (batch,) = encode_stream(config, 3_000, count=3_000)
    n = len(batch)
    numbers = np.arange(n, dtype=np.int64)
    raw = RawRecords("t", list(batch.values), list(batch.keys), np.zeros(n, np.int32), numbers, batch.event_time_ms + 1)
    (found,) = ScoringCore(CoreSettings(shards=1), decider).transactions(raw).scored
    return found


def with_policy(decider: Decider, scored: Scored, policy: EvidencePolicy) -> Scored:
    return decide_rows(decider, scored.basis.assembled, False, 0, LIVE, policy)


def test_decisions_do_not_depend_on_who_is_asked(decider: Decider, scored: Scored) -> None:
    without, asked = with_policy(decider, scored, EvidencePolicy()), with_policy(decider, scored, POLICY)
    assert asked.decisions == without.decisions
    assert without.waiting == []
    assert asked.waiting
    assert len(asked.alerts) == len(without.alerts)


def test_alerts_that_wait_say_so_and_the_others_are_as_ever(decider: Decider, scored: Scored) -> None:
    policy = EvidencePolicy((VISION,))
    without = [decode_record(value) for value in with_policy(decider, scored, EvidencePolicy()).alerts]
    asked = with_policy(decider, scored, policy)
    waiting = {waiting.alert["alert_id"] for waiting in asked.waiting}
    assert 0 < len(waiting) < len(without)
    for plain, value in zip(without, asked.alerts, strict=True):
        alert = decode_record(value)
        if alert["alert_id"] in waiting:
            assert (alert["degraded"], alert["is_final"]) == ([*plain["degraded"], "vision"], False)
            plain |= {"degraded": alert["degraded"], "is_final": False}
        assert str(alert) == str(plain)  # NaN is not equal to itself


def test_only_alerts_are_asked_about_and_each_piece_once(decider: Decider, scored: Scored) -> None:
    asked = with_policy(decider, scored, POLICY)
    thresholds = decider.model.thresholds if decider.model else None
    requests = requests_of(POLICY, asked, thresholds, 77)
    alerts = {alert["alert_id"]: alert for alert in (decode_record(value) for value in asked.alerts)}
    records = [decode_record(value, name="evidence_request") for value in requests.values]
    assert len({record["request_id"] for record in records}) == len(records)
    columns = scored.basis.assembled.batch.columns
    expected = Counter()  # type: ignore[var-annotated]
    for row in scored.basis.decided.alert_rows.tolist():
        expected.update(service.name for service, _ in pieces_of(POLICY, columns, row))
    assert Counter(requests.services) == expected
    assert expected["vision"] == expected["multimodal"] > 0
    for key, service, record in zip(requests.keys, requests.services, records, strict=True):
        alert = alerts[record["alert_id"]]
        assert str(decode_record(record["alert"])) == str(alert)
        assert (record["service"], record["account_id"].encode()) == (service, key)
        assert record["request_id"] in record["expected"]
        assert len(record["expected"]) == len(record["services"])
        assert (record["requested_at_ms"], record["budget_ms"]) == (77, 10_000)
        assert record["model_version"] == ("1" if service == "vision" else "")
        assert record["decline_threshold"] == pytest.approx(thresholds.decline) if thresholds else True
    assert requests_of(POLICY, asked, thresholds, 77) == requests, "the same question every time"


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.text(max_size=5), max_size=4), st.none() | st.text(max_size=3)), max_size=6),
    st.lists(st.sampled_from([VISION, TEXT, MULTIMODAL]), unique=True),
)
def test_rows_with_evidence_are_those_with_pieces_or_with_references_that_are_none(
    rows: list[tuple[list[str], str | None]], services: list[AskedService]
) -> None:
    columns = transaction_columns([a_transaction(evidence=refs, memo=memo) for refs, memo in rows])
    policy = EvidencePolicy(tuple(services), max_references=2)
    found = rows_with_evidence(policy, columns, np.arange(len(rows))).tolist()
    for row, (references, memo) in enumerate(rows):
        pieces = pieces_of(policy, columns, row)
        wanted = [text for text in dict.fromkeys(references[:2]) if text]
        expected = [(s, "memo:") for s in services if s.reads_memo and memo]
        expected += [(s, text) for s in services if not s.reads_memo for text in wanted]
        assert sorted(pieces, key=str) == sorted(expected, key=str)
        assert row in found or not pieces


@settings(deadline=None)
@given(st.lists(st.lists(st.text(max_size=80), max_size=70), max_size=5), st.integers(0, 80), st.lists(st.booleans()))
def test_references_travel_with_a_batch(rows: list[list[str]], most: int, kept: list[bool]) -> None:
    columns = transaction_columns([a_transaction(evidence=references) for references in rows])
    keep = np.array([*kept, *[True] * len(rows)][: len(rows)], np.bool_)
    columns = columns.take(keep)
    n = len(columns)
    numbers = np.zeros(n, np.int64)
    batch = HomeBatch(0, 0, numbers, 0, columns, numbers.astype(np.int32), numbers, numbers)
    found = HomeBatch.from_bytes(batch.to_bytes()).columns.evidence
    expected = [references for references, is_kept in zip(rows, keep, strict=True) if is_kept]
    for row, references in enumerate(expected):
        assert ([] if found is None else first_references(found, row, most)) == references[:most]


def test_a_reference_that_is_too_long_is_not_asked_about() -> None:
    columns = transaction_columns([a_transaction(evidence=["x" * 5_000, "a.png"])])
    assert [text for _, text in pieces_of(EvidencePolicy((VISION,)), columns, 0)] == ["a.png"]


def test_packed_references_of_nothing_are_nothing() -> None:
    assert len(pack_references([])) == 0
    assert first_references(pack_references([[]]), 0, 3) == []
