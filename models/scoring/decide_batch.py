"""Last stage: a batch and its partial features become decisions and alerts, encoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.features.assemble import assemble
from models.features.catalogue import FEATURE_SET
from models.features.partials import touch_sequences
from models.scoring.decider import Decider
from models.scoring.pending import Complete
from models.scoring.reference import ReferenceLookup
from schemas.columns import U8
from schemas.decisions import DecisionColumns
from schemas.encode import encode_decisions
from schemas.records import encode_alert


@dataclass(frozen=True, slots=True)
class Run:
    """Which run decides: live, a replay or a shadow."""

    mode: str = "live"
    run_id: str = ""


LIVE = Run()


@dataclass(frozen=True, slots=True)
class Scored:
    """Encoded results of one batch. Keys are account ids, so that an account's records stay in order."""

    decision_keys: list[bytes]
    decisions: list[bytes]
    alert_keys: list[bytes]
    alerts: list[bytes]
    outcomes: U8  # (n,)
    degraded_rows: int


def decide_batch(
    decider: Decider,
    complete: Complete,
    reference: ReferenceLookup | None,
    decision_time_ms: int,
    run: Run = LIVE,
) -> Scored:
    """Decide on a batch.

    Parameters
    ----------
    decider
        Model and rules in force.
    complete
        The batch, its partial features and what is missing of them.
    reference
        Reference data; None, or no answer in time, marks the batch as degraded.
    decision_time_ms
        Wall clock, for the record alone.
    run
        Kind and name of the run, for the record alone.
    """
    batch = complete.batch
    columns = batch.columns
    looked_up = reference.lookup(columns) if reference is not None else None
    X = assemble(columns, complete.partials, looked_up)
    sequences = touch_sequences(complete.partials, len(batch))
    has_device = columns.device_id.lengths >= 0
    is_incomplete = (sequences[:, :2] < 0).any(axis=1) | ((sequences[:, 2] < 0) & has_device)
    decided = decider.decide(
        columns,
        X,
        np.maximum(columns.event_time_ms - batch.history_start_ms, 0),
        degraded=() if looked_up is not None else ("reference",),
        degraded_rows={"entities": is_incomplete} if complete.missing_shards else None,
    )
    decisions = encode_decisions(
        DecisionColumns(
            transaction_id=columns.transaction_id,
            account_id=columns.account_id,
            counterparty_id=columns.counterparty_id,
            event_time_ms=columns.event_time_ms,
            amount_minor=columns.amount_minor,
            currency=columns.currency,
            source_partition=batch.partition,
            source_offset=batch.offset,
            source_time_ms=batch.source_time_ms,
            outcome=decided.outcome,
            score=decided.score,
            typology_score=decided.typology_score,
            model_score=decided.model_score,
            learner_score=decided.learner_score,
            schema_version=columns.schema_version,
            model_name=decider.model_name,
            model_version=decider.model_version,
            model_sha256=decider.model_sha256,
            learner_name=decider.learner.name if decider.learner else "",
            learner_version=decider.learner.version if decider.learner else "",
            learner_sha256=decider.learner.sha256 if decider.learner else "",
            rules_version=decider.rules.version,
            feature_set=FEATURE_SET,
            features=X,
            touch_sequences=sequences,
            explanation=decided.explanation,
            default_explanation=decided.default_explanation,
            revision=0,
            mode=run.mode,
            run_id=run.run_id,
            ingest_time_ms=batch.ingest_time_ms,
            decision_time_ms=decision_time_ms,
        )
    )
    raw = columns.account_id.buffer.tobytes()
    spans = zip(columns.account_id.offsets.tolist(), columns.account_id.lengths.tolist(), strict=True)
    keys = [raw[start : start + length] for start, length in spans]
    alerts = decider.alerts(decided, columns, batch.source_time_ms, decision_time_ms)
    return Scored(
        decision_keys=keys,
        decisions=decisions,
        alert_keys=[keys[row] for row in alerts],
        alerts=[encode_alert(alert) for alert in alerts.values()],
        outcomes=decided.outcome,
        degraded_rows=len(batch) if looked_up is None else int(is_incomplete.sum()),
    )
