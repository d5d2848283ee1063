"""Last stage: a batch and its partial features become decisions and alerts, encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.features.assemble import Reference, assemble
from models.features.catalogue import FEATURE_SET
from models.features.partials import touch_sequences
from models.scoring.decider import Decided, Decider
from models.scoring.evidence_policy import NO_EVIDENCE, EvidencePolicy, WaitingAlert, waiting_alerts
from models.scoring.home_batch import HomeBatch
from models.scoring.pending import Complete
from models.scoring.reference import ReferenceLookup
from schemas.columns import F32, I64, U8, Bool
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
    basis: Basis
    waiting: list[WaitingAlert]  # alerts that wait for evidence


def decide_batch(
    decider: Decider,
    complete: Complete,
    reference: ReferenceLookup | None,
    decision_time_ms: int,
    run: Run = LIVE,
    evidence: EvidencePolicy = NO_EVIDENCE,
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
    evidence
        Who is asked about the evidence of alerts; decisions do not depend on it.
    """
    batch = complete.batch
    looked_up = reference.lookup(batch.columns) if reference is not None else None
    assembled = features_of(complete, looked_up)
    return decide_rows(decider, assembled, looked_up is not None, decision_time_ms, run, evidence)


@dataclass(frozen=True, slots=True)
class Assembled:
    """A batch with its features, ready to be decided on."""

    batch: HomeBatch
    X: F32  # (n, F) in the catalogue's order; NaN is missing
    sequences: I64  # (n, 3) of the touches; -1 none
    is_incomplete: Bool  # (n,) a partial that should be there is missing
    has_missing_shards: bool

    @property
    def history_ms(self) -> I64:
        """(n,) how far back the stream's history reaches at each transaction."""
        history: I64 = np.maximum(self.batch.columns.event_time_ms - self.batch.history_start_ms, 0)
        return history

    @property
    def missing_rows(self) -> Mapping[str, Bool] | None:
        """Parts that are missing for some rows."""
        return {"entities": self.is_incomplete} if self.has_missing_shards else None

    def take(self, rows: slice | npt.NDArray[np.intp]) -> Assembled:
        """Return some of the rows."""
        return Assembled(
            self.batch.take(rows), self.X[rows], self.sequences[rows], self.is_incomplete[rows], self.has_missing_shards
        )


@dataclass(frozen=True, slots=True)
class Basis:
    """What was decided on, and how, on columns: where a shadow starts from."""

    assembled: Assembled
    degraded: tuple[str, ...]  # parts that were missing for the whole batch
    decided: Decided


def features_of(complete: Complete, reference: Reference | None) -> Assembled:
    """Put the features of a batch together; those of reference data are NaN without any."""
    batch = complete.batch
    sequences = touch_sequences(complete.partials, len(batch))
    has_device = batch.columns.device_id.lengths >= 0
    is_incomplete = (sequences[:, :2] < 0).any(axis=1) | ((sequences[:, 2] < 0) & has_device)
    X = assemble(batch.columns, complete.partials, reference)
    return Assembled(batch, X, sequences, is_incomplete, complete.missing_shards != 0)


def decide_rows(
    decider: Decider,
    assembled: Assembled,
    has_reference: bool,
    decision_time_ms: int,
    run: Run,
    evidence: EvidencePolicy = NO_EVIDENCE,
) -> Scored:
    """Decide on transactions whose features are there, and encode what comes of it; parameters as `decide_batch`."""
    batch, X = assembled.batch, assembled.X
    columns = batch.columns
    degraded = () if has_reference else ("reference",)
    decided = decider.decide(columns, X, assembled.history_ms, degraded, assembled.missing_rows)
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
            touch_sequences=assembled.sequences,
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
    alerts = decider.alerts(decided, columns, batch.source_time_ms, decision_time_ms, run.mode, run.run_id)
    waiting = waiting_alerts(evidence, columns, alerts)
    return Scored(
        decision_keys=keys,
        decisions=decisions,
        alert_keys=[keys[row] for row in alerts],
        alerts=[encode_alert({**alert, "reasons": decided.encoded_reasons[row]}) for row, alert in alerts.items()],
        outcomes=decided.outcome,
        degraded_rows=int(assembled.is_incomplete.sum()) if has_reference else len(batch),
        basis=Basis(assembled, degraded, decided),
        waiting=waiting,
    )
