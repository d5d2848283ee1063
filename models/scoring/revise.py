"""Revisions of an alert: what evidence does to it, as a pure function of the provisional alert and what has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.scoring.evidence_rule import DEFAULT_WEIGHT, EvidenceWeight, revised_score, shift_of

OUTCOMES = ("approve", "review", "decline")
ANSWERED = "answered"
_ENDINGS = {
    "timed_out": "gave no answer in time about",
    "refused": "was not asked, or refused, about",
    "failed": "failed on",
}
REASON_CODES = {"vision": "DOCUMENT_SUSPICIOUS", "text": "TEXT_SUSPICIOUS", "multimodal": "DOCUMENT_MISMATCH"}
OTHER_REASON_CODE = "EVIDENCE_SUSPICIOUS"
MAX_REASONS = 4


@dataclass(frozen=True, slots=True)
class RevisionBasis:
    """What a revision starts from; every request for evidence carries it.

    Attributes
    ----------
    alert
        The provisional alert, a record of `alert.avsc`.
    services
        Service of each request id that the alert waits for.
    review_threshold, decline_threshold
        Of the model that scored; None where there was none.
    rules_outcome
        What the rules asked for: evidence does not change it.
    """

    alert: Mapping[str, Any]
    services: Mapping[str, str]
    review_threshold: float | None
    decline_threshold: float | None
    rules_outcome: str
    weights: Mapping[str, EvidenceWeight] = field(default_factory=dict)

    @classmethod
    def of_request(
        cls, request: Mapping[str, Any], alert: Mapping[str, Any], weights: Mapping[str, EvidenceWeight]
    ) -> RevisionBasis:
        """Return the basis that a record of `evidence_request.avsc` carries, with its alert decoded."""
        services = dict(zip(request["expected"], request["services"], strict=True))
        return cls(
            alert,
            services,
            request["review_threshold"],
            request["decline_threshold"],
            request["rules_outcome"],
            weights,
        )


def revise(basis: RevisionBasis, ended: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return revision `len(ended)` of an alert, as a record of `alert.avsc`.

    Parameters
    ----------
    basis
        Where it starts from.
    ended
        Records of `evidence.avsc`, at least one, in the order in which they ended; the last one is what is new.

    Notes
    -----
    Score and outcome depend on which pieces ended, and how, not on their order. The outcome is the strictest of what
    the revised score and the rules ask for, and never less than review: evidence may ease an alert, but closing it is
    left to people. The revision is final once every request of the alert has ended.
    """
    before = _state(basis, ended[:-1])
    score, outcome = _state(basis, ended)
    newest = ended[-1]
    answered = {piece["request_id"] for piece in ended if piece["status"] == ANSWERED}
    missing = sorted({service for request, service in basis.services.items() if request not in answered})
    asked = set(basis.services.values())
    revised = {
        **basis.alert,
        "revision": len(ended),
        "supersedes": len(ended) - 1,
        "outcome": outcome,
        "score": score,
        "reasons": _reasons(basis, ended),
        "degraded": [part for part in basis.alert["degraded"] if part not in asked] + missing,
        "is_final": basis.services.keys() <= {piece["request_id"] for piece in ended},
        "score_before": before[0],
        "outcome_before": before[1],
        "evidence": [_piece(piece, basis.weights) for piece in ended],
    }
    return {**revised, "change": _change(newest, revised)}


def _state(basis: RevisionBasis, ended: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    if not ended:
        return float(basis.alert["score"]), str(basis.alert["outcome"])
    answers = [(piece["service"], float(piece["score"])) for piece in ended if piece["status"] == ANSWERED]
    score = revised_score(float(basis.alert["score"]), answers, basis.weights)
    if not answers:
        return score, str(basis.alert["outcome"])
    asked = 0
    if basis.review_threshold is not None and basis.decline_threshold is not None:
        asked = 2 if score >= basis.decline_threshold else 1 if score >= basis.review_threshold else 0
    return score, OUTCOMES[max(1, asked, OUTCOMES.index(basis.rules_outcome))]


def _piece(piece: Mapping[str, Any], weights: Mapping[str, EvidenceWeight]) -> dict[str, Any]:
    is_answered = piece["status"] == ANSWERED
    return {
        "request_id": piece["request_id"],
        "service": piece["service"],
        "reference": piece["reference"],
        "status": piece["status"],
        "score": piece["score"] if is_answered else None,
        "shift": shift_of(float(piece["score"]), weights.get(piece["service"], DEFAULT_WEIGHT)) if is_answered else 0.0,
        "findings": dict(piece["findings"]),
        "model_version": piece["model_version"],
    }


def _reasons(basis: RevisionBasis, ended: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Reasons of evidence that speaks for fraud, the loudest of each service, before those of the provisional alert."""
    loudest: dict[str, tuple[float, Mapping[str, Any]]] = {}
    for piece in ended:
        if piece["status"] == ANSWERED:
            shift = shift_of(float(piece["score"]), basis.weights.get(piece["service"], DEFAULT_WEIGHT))
            if shift > 0 and shift > loudest.get(piece["service"], (0.0, piece))[0]:
                loudest[piece["service"]] = (shift, piece)
    found = [
        {
            "code": REASON_CODES.get(service, OTHER_REASON_CODE),
            "text": f"{_subject(service)} {_about(piece)} a probability of {piece['score']:.2f} that it speaks for "
            "fraud.",
            "feature": f"evidence:{service}",
            "value": float(piece["score"]),
            "usual_value": basis.weights.get(service, DEFAULT_WEIGHT).prior,
            "contribution": shift,
        }
        for service, (shift, piece) in sorted(loudest.items(), key=lambda item: (-item[1][0], item[0]))
    ]
    return [*found, *basis.alert["reasons"]][:MAX_REASONS]


def _subject(service: str) -> str:
    return f"The {service} service gives"


def _about(piece: Mapping[str, Any]) -> str:
    return "the memo" if piece["reference"] == "memo:" else f"the document {_shown(piece['reference'])}"


def _shown(reference: str) -> str:
    """Show the last part of a URI: what stands before it is the same for all, and long."""
    name = reference.rstrip("/").rpartition("/")[2] or reference
    return name if len(name) <= 80 else name[:79] + "…"


def _change(newest: Mapping[str, Any], revised: Mapping[str, Any]) -> str:
    if newest["status"] == ANSWERED:
        said = f"{newest['service']} gives {_about(newest)} {newest['score']:.2f}"
    else:
        said = f"{newest['service']} {_ENDINGS.get(newest['status'], 'did not answer about')} {_about(newest)}"
        if newest["reason"]:
            said += f" ({newest['reason']})"
    before, after = revised["score_before"], revised["score"]
    moved = f"the score stays at {after:.3f}"
    if before != after:
        moved = f"the score {'rises' if after > before else 'falls'} from {before:.3f} to {after:.3f}"
    outcome = "" if revised["outcome"] == revised["outcome_before"] else (
        f", the outcome goes from {revised['outcome_before']} to {revised['outcome']}"
    )  # fmt: skip
    return f"{said}: {moved}{outcome}."
