"""Provisional alerts and requests for their evidence, made up; and what the job made of them."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from models.scoring.evidence_policy import request_id_of
from models.scoring.explain import alert_id_of
from schemas.records import decode_record, encode_alert, encode_record
from tests.builders import NOON_MS


def an_alert(transaction_id: str = "transaction-1", **overrides: Any) -> dict[str, Any]:
    """Return a provisional alert with every field of its schema."""
    return {
        "alert_id": alert_id_of(transaction_id),
        "revision": 0,
        "supersedes": None,
        "transaction_id": transaction_id,
        "account_id": "account-1",
        "counterparty_id": "merchant-1",
        "event_time_ms": NOON_MS,
        "source_time_ms": NOON_MS + 1,
        "decision_time_ms": NOON_MS + 9,
        "amount_minor": 4_250,
        "currency": "EUR",
        "outcome": "review",
        "score": 0.5,
        "typology_score": 0.0,
        "typologies": [],
        "reasons": [],
        "degraded": ["vision"],
        "model_name": "m",
        "model_version": "1",
        "rules_version": "r",
        "mode": "live",
        "run_id": "",
        "is_final": False,
        "score_before": None,
        "outcome_before": None,
        "change": "",
        "evidence": [],
        **overrides,
    }


def requests_for(
    alert: dict[str, Any], pieces: Sequence[tuple[str, str]], version: str = "", **overrides: Any
) -> list[dict[str, Any]]:
    """Return the requests of an alert for pieces of evidence, (service, reference) each."""
    transaction_id = alert["transaction_id"]
    ids = [request_id_of(transaction_id, service, version, reference) for service, reference in pieces]
    value = encode_alert(alert)
    return [
        {
            "request_id": request_id,
            "alert_id": alert["alert_id"],
            "transaction_id": transaction_id,
            "account_id": alert["account_id"],
            "service": service,
            "model_version": version,
            "reference": reference,
            "memo": None,
            "requested_at_ms": time.time_ns() // 1_000_000,
            "budget_ms": 10_000,
            "expected": ids,
            "services": [name for name, _ in pieces],
            "review_threshold": 0.25,
            "decline_threshold": 0.75,
            "rules_outcome": "review",
            "alert": value,
            **overrides,
        }
        for request_id, (service, reference) in zip(ids, pieces, strict=True)
    ]


def encoded(request: dict[str, Any]) -> tuple[bytes, bytes, str]:
    """Return key, value and the header that names the service."""
    return request["account_id"].encode(), encode_record("evidence_request", request), request["service"]


def assert_one_final_revision_each(
    requests: Sequence[dict[str, Any]], evidence: Sequence[bytes], alerts: Sequence[bytes]
) -> dict[str, dict[str, Any]]:
    """Check the promise; return the endings by request id.

    Each request has exactly one ending; the revisions of an alert are 1, 2, ... without gaps, each about one more
    ending, only the last one final; what was delivered twice is the same, byte for byte.
    """
    endings = [decode_record(value, name="evidence") for value in evidence]
    counted = Counter(ending["request_id"] for ending in endings)
    expected = {request["request_id"]: request for request in requests}
    lost = expected.keys() - counted.keys()
    assert not lost, f"{len(lost)} of {len(expected)} requests have no ending"
    repeated = {name: count for name, count in counted.items() if count > 1}
    assert not repeated, f"{len(repeated)} requests have several endings"
    assert counted.keys() == expected.keys()
    revisions: dict[tuple[str, int], bytes] = {}
    for value in alerts:
        alert = decode_record(value, name="alert")
        if alert["revision"]:
            before = revisions.setdefault((alert["alert_id"], alert["revision"]), value)
            assert before == value, f"two contents of {alert['alert_id']} revision {alert['revision']}"
    by_alert: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for ending in endings:
        by_alert[ending["alert_id"]].append(ending)
    assert len(revisions) == len(endings), f"{len(revisions)} revisions for {len(endings)} endings"
    for alert_id, ended in by_alert.items():
        ended.sort(key=lambda ending: ending["revision"])
        assert [ending["revision"] for ending in ended] == list(range(1, len(ended) + 1))
        for i, ending in enumerate(ended, start=1):
            revised = decode_record(revisions[alert_id, i], name="alert")
            assert (revised["supersedes"], revised["is_final"]) == (i - 1, i == len(ended))
            assert [piece["request_id"] for piece in revised["evidence"]] == [e["request_id"] for e in ended[:i]]
            assert revised["evidence"][-1]["status"] == ending["status"]
    return {ending["request_id"]: ending for ending in endings}
