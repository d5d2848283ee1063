"""An alert with revisions, a drawn forged document and a memo, and what the shipped models said of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.cli.alert_page.dossier import Document, Dossier, Picture, Piece
from models.training.documents.sample import Sample
from tests.unit.cli.outputs import REASON, an_alert

REFERENCE = "http://127.0.0.1:1/documents/transaction-1.jpg"


def an_ending(service: str, revision: int, reference: str = REFERENCE, **overrides: Any) -> dict[str, Any]:
    """Return a record of `evidence.avsc`."""
    return {
        "transaction_id": "transaction-1",
        "account_id": "account-1",
        "request_id": f"E-{service}",
        "service": service,
        "reference": reference,
        "status": "answered",
        "score": 0.97,
        "findings": {"forged_probability": "0.97"},
        "model_version": "1",
        "answered_at_ms": an_alert()["decision_time_ms"] + 1_500 * revision,
        "alert_id": "A1",
        "revision": revision,
        "reason": "",
        "attempts": 1,
        "requested_at_ms": an_alert()["decision_time_ms"],
        **overrides,
    }


def a_revision(number: int, ending: Mapping[str, Any], **overrides: Any) -> dict[str, Any]:
    """Return the revision of an alert that an ending made."""
    piece = {name: ending[name] for name in ("request_id", "service", "reference", "status", "score", "model_version")}
    return {
        **an_alert(),
        "revision": number,
        "supersedes": number - 1,
        "score_before": 0.75,
        "outcome_before": "review",
        "outcome": "decline",
        "score": 0.985,
        "change": "vision gives the document 0.97: the score rises, the outcome goes from review to decline.",
        "evidence": [{**piece, "shift": 3.2, "findings": {}}],
        "is_final": True,
        **overrides,
    }


def a_dossier(
    sample: Sample | None = None,
    explanations: Mapping[str, Mapping[str, Any]] | None = None,
    memo: str = "invoice 4711",
    **first: Any,
) -> Dossier:
    """Return an alert that vision and multimodal were asked about, and text about its memo.

    Parameters
    ----------
    sample
        The document; without one it cannot be shown.
    explanations
        Of the services, by name; the others gave none.
    first
        Fields of the provisional alert that differ.
    """
    explained = explanations or {}
    request = {"review_threshold": 0.2, "decline_threshold": 0.9, "memo": memo}
    vision, multimodal = an_ending("vision", 1), an_ending("multimodal", 2, score=0.8)
    if "multimodal" not in explained:
        multimodal |= {"status": "timed_out", "score": None, "reason": "no answer within 10 s", "model_version": ""}
    text = an_ending("text", 3, "memo:", score=0.02)
    waiting = ["multimodal", "text", "vision"]
    provisional = {
        **an_alert(), "degraded": waiting, "is_final": False, "score_before": None, "outcome_before": None,
        "change": "", "evidence": [], **first,
    }  # fmt: skip
    revisions = [
        provisional,
        {**provisional, **a_revision(1, vision, is_final=False, degraded=["multimodal", "text"]), **first},
        {**provisional, **a_revision(2, multimodal, is_final=False, degraded=["multimodal", "text"]), **first},
        {**provisional, **a_revision(3, text, degraded=["multimodal"], outcome_before="decline"), **first},
    ]
    pieces = [
        Piece(name, REFERENCE, request, ending, explained.get(name, {}), "" if name in explained else "not asked")
        for name, ending in (("vision", vision), ("multimodal", multimodal))
    ]
    picture = None
    if sample is not None:
        height, width = sample.mask.shape
        picture = Picture(sample.jpeg, "image/jpeg", width, height)
    document = Document(REFERENCE, pieces, picture, "" if picture else "the reference answered with status 404")
    memo_piece = Piece("text", "memo:", request, text, explained.get("text", {}), "")
    return Dossier(revisions, None, [document], memo, [memo_piece])


__all__ = ["REASON", "a_dossier", "a_revision", "an_ending"]
