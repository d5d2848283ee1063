"""HTML as a tree: text and attributes are escaped when it is written, so nothing that came in can become markup."""

from __future__ import annotations

import base64
import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from importlib import resources

Node = ET.Element
Child = Node | str | None

RAW = ("script", "style")
"""Written as they are, by HTML's rules: `document` alone makes them, of files of this package."""


def el(tag: str, *children: Child | Iterable[Child], **attributes: str | int | float | bool | None) -> Node:
    """Make an element; children are elements, text, or lists of both; None is left out.

    Attributes: a trailing underscore is dropped (`class_`), others become dashes (`aria_label`); True is an attribute
    without value, None and False none at all.

    Examples
    --------
    >>> ET.tostring(el("p", "a < b & ", el("b", "c"), class_="x"), encoding="unicode", method="html")
    '<p class="x">a &lt; b &amp; <b>c</b></p>'
    """
    if tag.lower() in RAW:
        raise ValueError(f"{tag} is not escaped: it is made by document() alone")
    node = ET.Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            node.set(name.rstrip("_").replace("_", "-"), "" if value is True else str(value))
    for child in _flat(children):
        _append(node, child)
    return node


def _flat(children: Iterable[Child | Iterable[Child]]) -> Iterable[Node | str]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, str | ET.Element):
            yield child
        else:
            yield from _flat(child)


def _append(node: Node, child: Node | str) -> None:
    if isinstance(child, ET.Element):
        node.append(child)
    elif len(node):
        node[-1].tail = (node[-1].tail or "") + child
    else:
        node.text = (node.text or "") + child


def data_uri(content: bytes, media_type: str) -> str:
    """Return an image as an address that holds it."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def document(title: str, *body: Node) -> str:
    """Return a whole page with this package's style and script inside, and nothing that it would have to fetch.

    Its content security policy allows these two by their digests, pictures that the page itself holds, and nothing
    else: a script that got in all the same would not run.
    """
    style, script = ("\n" + resources.files(__package__).joinpath(name).read_text() for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", title),
    )
    ET.SubElement(head, "style").text = style
    page = el("html", head, el("body", *body), lang="en")
    ET.SubElement(page[1], "script").text = script
    return "<!doctype html>\n" + ET.tostring(page, encoding="unicode", method="html") + "\n"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
