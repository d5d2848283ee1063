"""Explanations as Avro bytes, and alerts as records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from models.scoring.reasons import Reason
from models.scoring.rules import Rule
from schemas.records import encode_explanation as write_explanation
from schemas.records import encode_reasons

NO_REASONS = encode_reasons([])
"""First field of the encoded explanation of what is approved."""


def alert_id_of(transaction_id: str, mode: str = "live") -> str:
    """Return the id of a transaction's alert: the same in every run and replay, and another one in a shadow.

    Examples
    --------
    >>> alert_id_of("T1")
    'A1f93603db53bfad5c92390f7'
    >>> alert_id_of("T1", "shadow")
    'S1f93603db53bfad5c92390f7'
    """
    return ("S" if mode == "shadow" else "A") + hashlib.sha256(transaction_id.encode()).hexdigest()[:24]


def rule_hit_records(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """Return the rule hits of an explanation."""
    return [
        {"rule_id": rule.rule_id, "version": rule.version, "typology": rule.typology, "weight": rule.weight}
        for rule in rules
    ]


def reason_records(reasons: Iterable[Reason]) -> list[dict[str, Any]]:
    """Return reasons as they stand in explanations and alerts."""
    return [
        {
            "code": reason.code,
            "text": reason.text,
            "feature": reason.feature,
            "value": reason.value,
            "usual_value": reason.usual_value,
            "contribution": reason.contribution,
        }
        for reason in reasons
    ]


def encode_explanation(
    reasons: Sequence[Reason], hits: Sequence[Rule], warming: Sequence[str], degraded: Sequence[str]
) -> bytes:
    """Encode the record `Explanation` of `decision.avsc` in Avro binary, without framing."""
    record = {
        "reasons": reason_records(reasons),
        "rule_hits": rule_hit_records(hits),
        "warming": list(warming),
        "degraded": list(degraded),
    }
    return write_explanation(record)
