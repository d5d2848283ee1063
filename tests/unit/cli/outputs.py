"""Decisions, alerts and dead letters for the tests of the command line."""

from __future__ import annotations

from typing import Any

from jobs.stream.dead_letters import DeadLetter
from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from tests.builders import NOON_MS

REASON = {
    "code": "AMOUNT_UNUSUAL",
    "text": "The amount is 9 times the account's usual one",
    "feature": "amount",
    "value": 900.0,
    "usual_value": 100.0,
    "contribution": 1.5,
}


def an_alert(**overrides: Any) -> dict[str, Any]:
    """Return an alert with every field of its schema."""
    return {
        "alert_id": "A1",
        "revision": 0,
        "supersedes": None,
        "transaction_id": "transaction-1",
        "account_id": "account-1",
        "counterparty_id": "merchant-1",
        "event_time_ms": NOON_MS,
        "source_time_ms": NOON_MS,
        "decision_time_ms": NOON_MS + 40,
        "amount_minor": 90_000,
        "currency": "EUR",
        "outcome": "review",
        "score": 0.75,
        "typology_score": 0.5,
        "typologies": ["account_takeover"],
        "reasons": [REASON],
        "degraded": [],
        "model_name": "weir",
        "model_version": "1",
        "rules_version": "0" * 16,
        **overrides,
    }


def a_decision(**overrides: Any) -> dict[str, Any]:
    """Return a decision with every field of its schema."""
    features = [0.0] * len(FEATURE_NAMES)
    features[0] = 42.5
    explanation = {"reasons": [], "rule_hits": [], "warming": [], "degraded": [], **overrides.pop("explanation", {})}
    return {
        "transaction_id": "transaction-1",
        "account_id": "account-1",
        "counterparty_id": "merchant-1",
        "event_time_ms": NOON_MS,
        "amount_minor": 4_250,
        "currency": "EUR",
        "source_partition": 2,
        "source_offset": 17,
        "source_time_ms": NOON_MS,
        "outcome": "approve",
        "score": 0.25,
        "typology_score": 0.0,
        "schema_version": 1,
        "model_name": "weir",
        "model_version": "1",
        "model_sha256": "ab" * 32,
        "rules_version": "0" * 16,
        "feature_set": FEATURE_SET,
        "features": features,
        "touch_sequences": [1, 2, -1],
        "explanation": explanation,
        "revision": 0,
        "processing": {
            "mode": "live",
            "run_id": "",
            "ingest_time_ms": NOON_MS + 20,
            "decision_time_ms": NOON_MS + 30,
        },
        **overrides,
    }


def a_dead_letter(value: bytes | None, **overrides: Any) -> DeadLetter:
    """Return a dead letter around the bytes of its original."""
    fields = {
        "topic": "weir.transactions",
        "partition": 2,
        "offset": 17,
        "stage": "validate",
        "error": "UNKNOWN_CURRENCY",
        "message": "currency is no ISO 4217 code",
        "key": b"account-1",
        "value": value,
        "time_ms": NOON_MS,
        **overrides,
    }
    return DeadLetter(**fields)
