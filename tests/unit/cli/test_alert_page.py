"""The page of an alert: what stands on it, and that nothing that came in becomes markup."""

from __future__ import annotations

import base64
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.cli.alert_page.dossier import Document, Dossier, Piece
from deploy.cli.alert_page.markup import el
from deploy.cli.alert_page.page import alert_page
from tests.dossiers import REASON, a_dossier, an_ending

TAGS = frozenset(
    (
        *("html", "head", "meta", "title", "style", "body", "main", "section", "footer", "div", "span", "p", "b"),
        *("h1", "h2", "h3", "code", "bdi", "ol", "ul", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th"),
        *("td", "svg", "rect", "line", "circle", "polyline", "text", "details", "summary", "figure", "img"),
        *("input", "label", "blockquote", "script"),
    )
)
HOSTILE = "</title></style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg onload=alert(1)>&lt;"


class Reading(HTMLParser):
    """What a browser would make of a page: its elements, their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.elements)


def assert_harmless(page: str) -> Reading:
    """No element, attribute or address that the page's own code does not write."""
    read = Reading(page)
    assert {tag for tag, _ in read.elements} <= TAGS
    assert read.count("script") == read.count("style") == 1
    for tag, attributes in read.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "href", "action")], tag
        if "src" in attributes:
            assert (attributes["src"] or "").startswith("data:image/")
    return read


def hostile_dossier(text: str) -> Dossier:
    """Put a text wherever a text can come from."""
    field = {"field": text, "expected": text, "agrees": False, "read": [text]}
    explanations: dict[str, Any] = {
        "vision": {"report": {"findings": [{"statement": text}], "note": text}, "heat_map": {"b64": text}},
        "multimodal": {"prediction": {"fields": [field, text], "degraded": [text]}, "report": {"findings": text}},
        "text": {"tags": [{"tag": text, "probability": text, "words": [{"word": text}]}]},
    }
    dossier = a_dossier(
        explanations=explanations,
        memo=text,
        account_id=text,
        counterparty_id=text,
        transaction_id=text,
        typologies=[text],
        change=text,
        model_name=text,
        reasons=[{**REASON, "text": text, "code": text}],
    )
    pieces = [Piece(text, text, {}, an_ending(text, 1, text, findings={text: text}, reason=text), problem=text)]
    return replace(dossier, documents=[*dossier.documents, Document(text, pieces, problem=text)])


def test_a_hostile_text_is_shown_and_is_no_markup() -> None:
    read = assert_harmless(alert_page(hostile_dossier(HOSTILE)))
    assert read.text.count(HOSTILE) >= 12


@given(st.text(min_size=1, max_size=40))
def test_whatever_text_comes_in_the_page_has_the_same_elements(text: str) -> None:
    read = assert_harmless(alert_page(hostile_dossier(text)).encode("utf-8", "replace").decode())
    plain = Reading(alert_page(hostile_dossier("x")))
    assert [tag for tag, _ in read.elements] == [tag for tag, _ in plain.elements]


def test_scripts_and_styles_cannot_be_made_of_data() -> None:
    for tag in ("script", "style", "SCRIPT"):
        with pytest.raises(ValueError, match="document"):
            el(tag, "anything")


def test_the_page_tells_the_decision_its_reasons_and_each_revision() -> None:
    text = assert_harmless(alert_page(a_dossier())).text
    for part in ("decline", "0.985", "900.00 EUR", "9 times", "AMOUNT_UNUSUAL", "+1.50", "Revision 0", "Revision 3"):
        assert part in text
    assert "the outcome goes from review to decline" in text
    assert "still without: multimodal, text" in text


def test_what_is_missing_is_said() -> None:
    text = assert_harmless(alert_page(a_dossier())).text
    assert "Decided without: multimodal" in text
    assert "did not answer in time" in text
    assert "no answer within 10 s" in text
    assert "The document cannot be shown: the reference answered with status 404" in text
    assert "No explanation (degraded): not asked" in text


def test_a_heat_map_that_is_no_png_is_left_out() -> None:
    for wrong in ("", "no base64 at all", base64.b64encode(b"GIF89a").decode(), 7, None):
        page = alert_page(a_dossier(explanations={"vision": {"heat_map": {"b64": wrong}}}))
        assert 'class="heat"' not in page


def test_explanations_of_any_shape_are_no_fault() -> None:
    for wrong in ([], "text", 7, None, {"findings": 3}, {"findings": [1, None, {"statement": 4}]}):
        explanation = {"report": wrong, "prediction": wrong, "tags": wrong, "heat_map": wrong}
        assert_harmless(alert_page(a_dossier(explanations={"vision": explanation, "text": explanation})))


def test_an_alert_without_evidence_has_a_page() -> None:
    first = {**a_dossier().revisions[0], "degraded": [], "is_final": True, "reasons": []}
    read = assert_harmless(alert_page(Dossier([first])))
    assert "None were given." in read.text
    assert read.count("img") == 0


def test_the_page_fetches_nothing() -> None:
    page = alert_page(a_dossier())
    policy = next(
        attributes["content"]
        for tag, attributes in Reading(page).elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for address in ("http:", "https:", "//"):
        assert f'"{address}' not in page
