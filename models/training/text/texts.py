"""Memos and invoice lines with planted risk phrases, for training and for judging the risk tags.

Every phrase is a template with holes. Each tag and language keeps its last templates (a third of them) apart: texts for
judging are made of those alone, so that what is judged is the meaning and not the wording. Harmless templates share
words with the risky ones ("urgent care clinic"), and are held apart the same way.
"""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PHRASES = json.loads((Path(__file__).parent / "phrases.json").read_text(encoding="utf-8"))
RISK_TAGS: tuple[str, ...] = tuple(PHRASES["risk"])
PURPOSE_TAGS: tuple[str, ...] = tuple(PHRASES["purpose"])
TAGS = RISK_TAGS + PURPOSE_TAGS
LANGUAGES: tuple[str, ...] = tuple(PHRASES["harmless"])
HELD_OUT_SHARE = 1 / 3


@dataclass(frozen=True)
class TaggedText:
    """A text and what was planted in it."""

    text: str
    tags: frozenset[str]
    language: str


def templates(options: Sequence[str], held_out: bool) -> Sequence[str]:
    """The templates for training, or those that are held apart.

    >>> templates("abcdef", held_out=True), templates("abcdef", held_out=False)
    ('ef', 'abcd')
    """
    kept = len(options) - round(len(options) * HELD_OUT_SHARE)
    return options[kept:] if held_out else options[:kept]


def make_texts(count: int, seed: int, *, held_out: bool) -> list[TaggedText]:
    """Make texts: about half of them with one or two planted risks."""
    draw = random.Random(seed)
    return [_text(draw, held_out) for _ in range(count)]


def _text(draw: random.Random, held_out: bool) -> TaggedText:
    language = draw.choices(LANGUAGES, [4, 2, 2, 2])[0]
    tags: set[str] = set()
    parts: list[str] = []

    def plant(group: str, tag: str) -> None:
        parts.append(draw.choice(templates(PHRASES[group][tag][language], held_out)))
        tags.add(tag)

    if draw.random() < 0.65:
        plant("purpose", draw.choice(PURPOSE_TAGS))
    if draw.random() < 0.5:
        for tag in draw.sample(RISK_TAGS, draw.choices([1, 2], [4, 1])[0]):
            plant("risk", tag)
    elif not parts or draw.random() < 0.5:
        parts.append(draw.choice(templates(PHRASES["harmless"][language], held_out)))
    draw.shuffle(parts)
    text = draw.choice([" ", ", ", " - ", "; ", ". "]).join(parts)
    return TaggedText(_disturb(draw, _fill(draw, text)), frozenset(tags), language)


def _fill(draw: random.Random, template: str) -> str:
    values = {name: draw.choice(options) for name, options in PHRASES["words"].items()}
    values["number"] = str(draw.randint(100, 99_999_999))
    values["n"], values["m"] = str(draw.randint(1, 6)), str(draw.randint(7, 40))
    values["amount"] = (
        f"{draw.choice(['EUR', 'USD', '$', ''])} {draw.randint(1, 900) * draw.choice([10, 50, 1000]):,}".strip()
    )
    values["wallet"] = draw.choice(["bc1q", "0x", "4A"]) + "".join(draw.choices("0123456789abcdef", k=10))
    values["percent"] = str(draw.choice([5, 8, 10, 15, 20]))
    return template.format(**values)


def _disturb(draw: random.Random, text: str) -> str:
    """Write as people and mainframes do: capitals, no accents, a slip of the fingers."""
    if draw.random() < 0.2:
        text = text.upper()
    elif draw.random() < 0.3:
        text = text.lower()
    if draw.random() < 0.3:
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    if draw.random() < 0.2 and len(text) > 8:
        at = draw.randrange(len(text) - 1)
        text = text[:at] + draw.choice([text[at + 1] + text[at], text[at], ""]) + text[at + 2 :]
    return text
