"""Decisions as columns: what the scoring core hands to the encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.columns import F32, I16, I32, I64, U8, StringColumn

OUTCOMES = ("approve", "review", "decline")
"""Symbols of the schema's enum `Outcome`, in its order: the outcome column holds indices into this tuple."""

MODES = ("live", "replay", "shadow")
"""Symbols of the schema's enum `Mode`, in its order."""

NOTHING_TO_EXPLAIN = b"\x00\x00\x00\x00"
"""An Explanation with nothing in it: the ends of its four empty arrays."""


@dataclass(frozen=True, slots=True)
class DecisionColumns:
    """n decisions; fields as in `decision.avsc` and in its order. What one batch has in common stands once."""

    transaction_id: StringColumn
    account_id: StringColumn
    counterparty_id: StringColumn
    event_time_ms: I64
    amount_minor: I64
    currency: StringColumn
    source_partition: I32
    source_offset: I64
    source_time_ms: I64
    outcome: U8  # index into OUTCOMES
    score: F32
    typology_score: F32
    model_score: F32  # the batch model's alone; negative where it gave none
    learner_score: F32  # negative where no learner was in force
    schema_version: I16
    model_name: str
    model_version: str
    model_sha256: str
    learner_name: str  # empty without one
    learner_version: str
    learner_sha256: str
    rules_version: str
    feature_set: str
    features: F32  # (n, number of features)
    touch_sequences: I64  # (n, 3): originator, beneficiary, device; -1 without a device
    explanation: Mapping[int, bytes]  # row -> Explanation in Avro binary (`encode_explanation`); others: the default
    default_explanation: bytes  # NOTHING_TO_EXPLAIN, or what all rows lack (warming, degraded)
    revision: int
    mode: str  # one of MODES
    run_id: str  # empty for live
    ingest_time_ms: int
    decision_time_ms: int

    def __len__(self) -> int:
        return len(self.event_time_ms)
