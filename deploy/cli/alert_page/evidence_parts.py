"""The parts of the page about evidence: a document with its heat map, what services said, and the memo.

What services answered comes from elsewhere: every value is taken only if it is of the sort that it should be.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from deploy.cli.alert_page.dossier import Document, Dossier, Piece
from deploy.cli.alert_page.markup import Child, Node, data_uri, el

PNG = b"\x89PNG\r\n\x1a\n"
MOST_STATEMENTS = 40
MOST_CHARACTERS = 2_000
_ENDINGS = {
    "answered": "answered",
    "timed_out": "did not answer in time",
    "refused": "did not answer",
    "failed": "gave no usable answer",
}
_MEANINGS = {
    "vision": "that the document was edited",
    "multimodal": "that the document does not belong to the payment",
    "text": "that the memo speaks of a risk",
}


def document_part(document: Document) -> Node:
    """Show a document beside what was said of it."""
    name = document.reference.rstrip("/").rpartition("/")[2] or document.reference
    return el(
        "section",
        el("h2", "Document ", el("code", name)),
        el("p", document.note, class_="soft small note") if document.note else None,
        el("div", _viewer(document), el("div", [_piece(piece) for piece in document.pieces]), class_="document"),
        class_="card evidence",
    )


def memo_part(dossier: Dossier) -> Node | None:
    """Show the memo beside what was said of it."""
    if dossier.memo is None and not dossier.memo_pieces:
        return None
    return el(
        "section",
        el("h2", "Memo"),
        el("blockquote", el("bdi", dossier.memo)) if dossier.memo else None,
        [_piece(piece) for piece in dossier.memo_pieces],
        class_="card",
        id="memo",
    )


def _viewer(document: Document) -> Node:
    picture, heat = document.picture, _heat_map(document)
    if picture is None:
        shown = el("div", f"The document cannot be shown: {document.problem}", class_="no-picture")
        return el("figure", el("div", shown, class_="stack"), class_="viewer")
    layers = [
        el(
            "img",
            src=data_uri(picture.content, picture.media_type),
            alt="the document",
            width=picture.width,
            height=picture.height,
            class_="picture",
        )
    ]
    controls: Node | None = el("p", "No heat map: " + _why_no_heat(document), class_="small missing")
    if heat is not None:
        layers.append(
            el("img", src=data_uri(heat, "image/png"), alt="where traces of editing were seen", class_="heat")
        )
        controls = el(
            "div",
            el("label", el("input", type="checkbox", checked=True), "heat map"),
            el("input", type="range", min=0, max=100, value=65, aria_label="strength of the heat map"),
            class_="controls",
        )
    return el("figure", el("div", layers, class_="stack"), controls, class_="viewer")


def _heat_map(document: Document) -> bytes | None:
    for piece in document.pieces:
        found = piece.explanation.get("heat_map")
        if isinstance(found, Mapping) and isinstance(found.get("b64"), str):
            try:
                content = base64.b64decode(found["b64"], validate=True)
            except (ValueError, binascii.Error):
                continue
            if content.startswith(PNG):
                return content
    return None


def _why_no_heat(document: Document) -> str:
    for piece in document.pieces:
        if piece.service == "vision":
            return piece.problem or "vision gave none."
    return "vision was not asked."


def _piece(piece: Piece) -> Node:
    ending = piece.ending
    head: list[Child] = [el("h3", piece.service)]
    if ending is None:
        head.append(el("span", "is still waited for", class_="missing"))
        return el("div", el("div", head, class_="head"), class_="piece")
    if ending["status"] == "answered":
        meaning = _MEANINGS.get(piece.service, "that it speaks for fraud")
        head.append(el("span", f"{ending['score']:.2f}", class_="number"))
        head.append(el("span", f"probability {meaning}", class_="soft small"))
    else:
        head.append(el("span", _ENDINGS.get(ending["status"], str(ending["status"])), class_="missing"))
    took = int(ending["answered_at_ms"]) - int(ending["requested_at_ms"] or ending["answered_at_ms"])
    facts = [f"revision {ending['revision']}", f"after {took / 1000:.1f} s"]
    if ending["model_version"]:
        facts.append(f"model version {ending['model_version']}")
    if ending["attempts"] > 1:
        facts.append(f"{ending['attempts']} calls")
    head.append(el("span", " · ".join(facts), class_="soft small"))
    return el(
        "div",
        el("div", head, class_="head"),
        el("p", ending["reason"], class_="missing small") if ending["reason"] else None,
        _report(piece),
        _fields(piece),
        _words(piece),
        _missing(piece),
        class_="piece",
    )


def _report(piece: Piece) -> list[Node]:
    report = piece.explanation.get("report")
    if not isinstance(report, Mapping) or not isinstance(report.get("findings"), list):
        return []
    statements = [
        _cut(finding["statement"])
        for finding in report["findings"]
        if isinstance(finding, Mapping) and isinstance(finding.get("statement"), str)
    ]
    parts = [el("ol", [el("li", statement) for statement in statements[:MOST_STATEMENTS]], class_="report")]
    if isinstance(report.get("note"), str):
        parts.append(el("p", _cut(report["note"]), class_="soft small"))
    return parts


def _fields(piece: Piece) -> Node | None:
    """Compare what the payment says with what was read, field by field."""
    prediction = piece.explanation.get("prediction")
    fields = prediction.get("fields") if isinstance(prediction, Mapping) else None
    if not isinstance(fields, list):
        return None
    rows = []
    for one in fields[:MOST_STATEMENTS]:
        if not isinstance(one, Mapping):
            continue
        agrees = one.get("agrees")
        verdict, style = {True: ("agrees", "agrees"), False: ("disagrees", "disagrees")}.get(
            agrees if isinstance(agrees, bool) else None,  # type: ignore[arg-type]
            ("not read", "soft"),
        )
        read = one.get("read")
        values = ", ".join(_cut(value) for value in read) if isinstance(read, list) else ""
        rows.append(
            el(
                "tr",
                el("td", _cut(one.get("field", ""))),
                el("td", el("bdi", _cut(one.get("expected", ""))), data_name="payment"),
                el("td", el("bdi", values or "–"), data_name="document"),
                el("td", verdict, class_=style),
            )
        )
    if not rows:
        return None
    head = el("tr", el("th", "Field"), el("th", "Payment says"), el("th", "Document says"), el("th"))
    return el("div", el("table", el("thead", head), el("tbody", rows), class_="fields"), class_="scroll")


def _words(piece: Piece) -> Node | None:
    """Tags of a text, each with the words that it rests on."""
    tags = piece.explanation.get("tags")
    if not isinstance(tags, list):
        return None
    lines = []
    for tag in tags[:MOST_STATEMENTS]:
        if isinstance(tag, Mapping):
            words = tag.get("words")
            rests = (
                [_cut(word.get("word", "")) for word in words if isinstance(word, Mapping)]
                if isinstance(words, list)
                else []
            )
            share = tag.get("probability")
            shown = f" {share:.2f}" if isinstance(share, float) else ""
            lines.append(el("li", _cut(tag.get("tag", "")), shown, f": {', '.join(rests)}" if rests else ""))
    return el("ul", lines or el("li", "no tag is above its threshold"), class_="report")


def _missing(piece: Piece) -> list[Node]:
    parts = []
    prediction = piece.explanation.get("prediction")
    lacks = prediction.get("degraded") if isinstance(prediction, Mapping) else None
    if isinstance(lacks, list) and lacks:
        parts.append(el("p", f"Answered without: {', '.join(_cut(part) for part in lacks)}", class_="missing small"))
    if piece.problem:
        parts.append(el("p", f"No explanation (degraded): {piece.problem}", class_="missing small"))
    if not piece.explanation and piece.ending is not None and piece.ending["findings"]:
        findings = [
            el(tag, text)
            for pair in sorted(piece.ending["findings"].items())
            for tag, text in zip(("dt", "dd"), pair, strict=True)
        ]
        parts.append(el("dl", findings, class_="facts"))
    return parts


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
