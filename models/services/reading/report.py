"""The drafted evidence report: statements from templates, each with the value it rests on, and the text made of them.

A statement is written only from a value that a model answered or OCR read; the text holds no number that the findings
lack. `tests/unit/services/reading/test_evidence_report.py` checks that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.services.reading.fields import FieldCheck

NOTE = (
    "Drafted by a program from the values listed under findings. It is a hint for a person who decides, no proof: "
    "the models were trained on synthetic documents."
)


def draft_report(
    *,
    forged_probability: float | None = None,
    threshold: float | None = None,
    forgery_kinds: Sequence[Mapping[str, Any]] = (),
    document_kinds: Sequence[Mapping[str, Any]] = (),
    regions: Sequence[Mapping[str, Any]] = (),
    match_probability: float | None = None,
    fields: Sequence[FieldCheck] = (),
    was_read: bool = True,
) -> dict[str, Any]:
    """Return `{"text", "findings", "fields", "note"}`; what is not given is not spoken of.

    Parameters
    ----------
    forged_probability, threshold
        The vision model's answer and the value from which it counts as forged.
    forgery_kinds, document_kinds
        `{"kind", "probability"}`, most probable first.
    regions
        `{"box", "log_odds"}` of places that look edited, strongest first.
    was_read
        False where OCR was not to be had: the report then says that fields were not compared.
    """
    findings: list[dict[str, Any]] = []

    def say(source: str, value: Any, statement: str) -> None:
        findings.append({"source": source, "value": value, "statement": statement})

    if document_kinds:
        first = document_kinds[0]
        say(
            "document_kind",
            dict(first),
            f"The document looks like: {_words(first['kind'])} ({first['probability']:.2f}).",
        )
    if forged_probability is not None and threshold is not None:
        verdict = "counts as forged" if forged_probability >= threshold else "counts as genuine"
        say(
            "forged_probability",
            {"forged_probability": round(forged_probability, 4), "threshold": round(threshold, 4)},
            f"Probability of editing {forged_probability:.4f}, threshold {threshold:.4f}: the document {verdict}.",
        )
        if forged_probability >= threshold and forgery_kinds:
            kind = forgery_kinds[0]
            say(
                "forgery_kind",
                dict(kind),
                f"Most likely kind of editing: {_words(kind['kind'])} ({kind['probability']:.2f}).",
            )
        if forged_probability >= threshold:
            for region in regions:
                left, top, right, bottom = region["box"]
                say("region", dict(region), f"Traces of editing from ({left}, {top}) to ({right}, {bottom}) in pixels.")
    if match_probability is not None:
        say(
            "match_probability",
            round(match_probability, 4),
            f"Probability that the document belongs to the payment: {match_probability:.4f}.",
        )
    for check in fields:
        value = {"field": check.field, "expected": check.expected, "agrees": check.agrees, "read": list(check.read)}
        if check.agrees is True:
            say("field", value, f"{check.field.capitalize()}: {check.expected} was read on the document.")
        elif check.agrees is False:
            say(
                "field",
                value,
                f"{check.field.capitalize()} disagrees: the payment says {check.expected}; "
                f"read: {', '.join(check.read)}.",
            )
        else:
            say(
                "field",
                value,
                f"{check.field.capitalize()}: the payment says {check.expected}; nothing to compare it with was read.",
            )
    if not was_read:
        say("ocr", None, "The document was not read (no OCR here): its fields were not compared.")
    return {
        "text": "\n".join(f"{number}. {finding['statement']}" for number, finding in enumerate(findings, start=1)),
        "findings": findings,
        "disagreeing_fields": [check.field for check in fields if check.agrees is False],
        "note": NOTE,
    }


def _words(kind: str) -> str:
    return kind.replace("_", " ")
