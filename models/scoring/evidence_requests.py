"""Requests for the evidence that a batch's alerts wait for."""

from __future__ import annotations

from dataclasses import dataclass

from models.scoring.decide_batch import Scored
from models.scoring.evidence_policy import EvidencePolicy, request_id_of
from models.scoring.model import Thresholds
from schemas.decisions import OUTCOMES
from schemas.records import encode_alert, encode_record


@dataclass(frozen=True, slots=True)
class EvidenceRequests:
    """Encoded requests of one batch; keys are account ids."""

    keys: list[bytes]
    values: list[bytes]
    services: list[str]

    def __len__(self) -> int:
        return len(self.values)


def requests_of(
    policy: EvidencePolicy, scored: Scored, thresholds: Thresholds | None, requested_at_ms: int
) -> EvidenceRequests:
    """Return the requests for the evidence that a batch's alerts wait for.

    Parameters
    ----------
    policy
        The one that the batch was decided with.
    scored
        What came of the batch.
    thresholds
        Of the model that scored; None without one.
    requested_at_ms
        Wall clock, from which the budget counts.
    """
    found = EvidenceRequests([], [], [])
    memo = scored.basis.assembled.batch.columns.memo
    rules_outcome = scored.basis.decided.rules_outcome
    for waiting in scored.waiting:
        alert, row = waiting.alert, waiting.row
        value = encode_alert(alert)
        ids = [request_id_of(alert["transaction_id"], s.name, s.model_version, text) for s, text in waiting.pieces]
        for request_id, (service, reference) in zip(ids, waiting.pieces, strict=True):
            request = {
                "request_id": request_id,
                "alert_id": alert["alert_id"],
                "transaction_id": alert["transaction_id"],
                "account_id": alert["account_id"],
                "service": service.name,
                "model_version": service.model_version,
                "reference": reference,
                "memo": memo.text_at(row),
                "requested_at_ms": requested_at_ms,
                "budget_ms": policy.budget_ms,
                "expected": ids,
                "services": [s.name for s, _ in waiting.pieces],
                "review_threshold": thresholds.review if thresholds else None,
                "decline_threshold": thresholds.decline if thresholds else None,
                "rules_outcome": OUTCOMES[rules_outcome[row]],
                "alert": value,
            }
            found.keys.append(scored.decision_keys[row])
            found.values.append(encode_record("evidence_request", request))
            found.services.append(service.name)
    return found
