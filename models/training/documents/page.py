"""A flat page: a layout filled with a payment's fields, in one style, drawn by Pillow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image, ImageDraw

from models.training.documents import figures
from models.training.documents.fonts import FAMILIES, font
from models.training.documents.layouts import Element, Layout
from models.training.documents.payment import Payment, field_texts
from models.training.documents.words import FILLER, LABELS, LANGUAGES, TITLES

LONG_SIDE = 460
"""Longer side of a page in pixels at scale 1: with the border of a photograph it fits the network's 512."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a page looks: the same for everything on it."""

    family: str
    label_family: str
    value_px: int
    label_px: int
    ink: figures.Colour
    accent: figures.Colour
    paper: figures.Colour
    label_above: bool
    bold_values: bool


@dataclass(frozen=True, slots=True)
class Page:
    """What is printed. `texts` and `families` may be replaced one by one: that is how a forger's page is made.

    Attributes
    ----------
    seed
        Decides everything drawn that is not text; equal seeds draw equal figures.
    portrait_seed
        Decides the face alone.
    shift
        Pixels by which each element is moved, (x, y) by element index.
    """

    layout: Layout
    payment: Payment
    style: Style
    texts: dict[str, str]
    seed: int
    portrait_seed: int
    scale: float = 1.0
    shift: tuple[tuple[int, int], ...] = ()
    families: dict[str, str] = field(default_factory=dict)
    size_change: dict[str, int] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        long_side = LONG_SIDE * self.scale
        if self.layout.aspect >= 1:
            return round(long_side / self.layout.aspect), round(long_side)
        return round(long_side), round(long_side * self.layout.aspect)

    def with_text(self, name: str, text: str) -> Page:
        """Return the page with another value in a field."""
        return replace(self, texts={**self.texts, name: text})


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn page and where its fields and its photo are, in pixels of the flat page."""

    image: Image.Image
    values: dict[str, figures.Box]
    photo: figures.Box | None


def draw_style(rng: np.random.Generator) -> Style:
    """Draw a style."""
    families = list(FAMILIES)
    family = families[int(rng.integers(len(families)))]
    dark = int(rng.integers(0, 60))
    accent = tuple(int(v) for v in rng.integers(30, 190, 3))
    paper = tuple(int(v) for v in 255 - rng.integers(0, 28, 3))
    return Style(
        family=family,
        label_family=family if rng.random() < 0.6 else families[int(rng.integers(len(families)))],
        value_px=int(rng.integers(13, 17)),
        label_px=int(rng.integers(9, 12)),
        ink=(dark, dark, min(90, dark + int(rng.integers(0, 40)))),
        accent=accent,  # type: ignore[arg-type]
        paper=paper,  # type: ignore[arg-type]
        label_above=bool(rng.random() < 0.35),
        bold_values=bool(rng.random() < 0.2),
    )


def draw_page(layout: Layout, payment: Payment, rng: np.random.Generator, scale: float = 1.0) -> Page:
    """Fill a layout: style, field values and small shifts of every element are drawn."""
    return Page(
        layout=layout,
        payment=payment,
        style=draw_style(rng),
        texts=field_texts(payment, rng),
        seed=int(rng.integers(2**31)),
        portrait_seed=int(rng.integers(2**31)),
        scale=scale,
        shift=tuple((int(x), int(y)) for x, y in rng.integers(-3, 4, (len(layout.elements), 2))),
    )


def render(page: Page) -> Drawing:
    """Draw a page. Equal pages give equal pixels with the same Pillow and FreeType."""
    image = Image.new("RGB", page.size, page.style.paper)
    draw = ImageDraw.Draw(image)
    values: dict[str, figures.Box] = {}
    photo: figures.Box | None = None
    for index, element in enumerate(page.layout.elements):
        box = pixel_box(page, element, index)
        # One generator an element: another text in one field must not move a line anywhere else.
        rng = np.random.default_rng([page.seed, index])
        name = element.field
        if name is not None:
            values[name] = _field(draw, page, name, box)
        elif element.name == "photo":
            size = (box[2] - box[0], box[3] - box[1])
            image.paste(figures.portrait(size, np.random.default_rng(page.portrait_seed)), box[:2])
            photo = box
        else:
            _figure(draw, page, element.name, box, rng)
    return Drawing(image, values, photo)


def pixel_box(page: Page, element: Element, index: int) -> figures.Box:
    """Return where element number `index` stands on the flat page."""
    width, height = page.size
    x, y, w, h = element.box
    dx, dy = page.shift[index] if page.shift else (0, 0)
    if element.name in ("security", "band"):
        dx = dy = 0
    dx, dy = round(dx * page.scale), round(dy * page.scale)
    left, top = round(x * width) + dx, round(y * height) + dy
    return left, top, left + round(w * width), top + round(h * height)


def _field(draw: ImageDraw.ImageDraw, page: Page, name: str, box: figures.Box) -> figures.Box:
    style, scale = page.style, page.scale
    text = page.texts[name]
    label = LABELS[name][LANGUAGES.index(page.payment.language)]
    label_font = font(style.label_family, round(style.label_px * scale))
    value_px = round((style.value_px + (2 if name == "amount" else 0)) * scale) + page.size_change.get(name, 0)
    bold = style.bold_values or name == "amount"
    value_font = font(page.families.get(name, style.family), value_px, bold)
    left, top = box[:2]
    if style.label_above:
        x, y = left, top + round(4 * scale)
        draw.text((left, top - round(8 * scale)), label, font=label_font, fill=style.accent)
    else:
        draw.text((left, top + round(4 * scale)), label, font=label_font, fill=style.accent)
        x, y = left + round(label_font.getlength(label)) + round(6 * scale), top
    # A value too long for its place is set smaller, as on real forms; never below 10 px, which nothing could read.
    while value_px > 10 * scale and x + value_font.getlength(text) > page.size[0] - 2:
        value_px -= 1
        value_font = font(page.families.get(name, style.family), value_px, bold)
    draw.text((x, y), text, font=value_font, fill=style.ink)
    drawn = draw.textbbox((x, y), text, font=value_font)
    return int(drawn[0]) - 1, int(drawn[1]) - 1, int(drawn[2]) + 1, int(drawn[3]) + 1


def character_box(page: Page, name: str, value: figures.Box, first: int, last: int) -> figures.Box:
    """Return the box of characters [first, last) of a field's value, from the share of its width they take."""
    text = page.texts[name]
    measure = font(page.families.get(name, page.style.family), 40, page.style.bold_values or name == "amount")
    whole = max(1.0, measure.getlength(text))
    left, top, right, bottom = value
    start = left + (right - left) * measure.getlength(text[:first]) / whole
    end = left + (right - left) * measure.getlength(text[:last]) / whole
    return int(start) - 1, top - 1, int(end) + 2, bottom + 1


def _figure(draw: ImageDraw.ImageDraw, page: Page, name: str, box: figures.Box, rng: np.random.Generator) -> None:
    style, scale = page.style, page.scale
    left, top, right, bottom = box
    pale = tuple((2 * p + a) // 3 for p, a in zip(style.paper, style.accent, strict=True))
    small = font(style.label_family, round(9 * scale))
    if name == "emblem":
        figures.emblem(draw, box, page.payment.brand)
    elif name == "title":
        titles = TITLES.get(page.layout.kind)
        text = titles[LANGUAGES.index(page.payment.language)] if titles else page.layout.kind.replace("_", " ").upper()
        if page.layout.kind.startswith("random"):
            text = FILLER[int(rng.integers(len(FILLER)))].upper()[: int(rng.integers(6, 16))]
        size = max(12, min(round(20 * scale), bottom - top))
        draw.text((left, top), text, font=font(style.label_family, size, True), fill=style.accent)
    elif name == "band":
        draw.rectangle(box, fill=tuple((p + a) // 2 for p, a in zip(style.paper, style.accent, strict=True)))
    elif name == "frame":
        draw.rectangle((left, top, right, bottom), outline=style.accent, width=max(1, round(1.5 * scale)))
    elif name == "security":
        figures.guilloche(draw, page.size, pale, rng)  # type: ignore[arg-type]
    elif name == "signature":
        figures.signature(draw, box, rng, max(1, round(2 * scale)))
    elif name == "stamp":
        figures.stamp(draw, box, rng)
    elif name == "bars":
        figures.bar_code(draw, box, rng)
    elif name == "mrz":
        text = "".join("<<<0123456789ABCDEFGHKLMNPRSTUVXYZ"[int(i)] for i in rng.integers(0, 34, 44))
        draw.text(
            (left, top),
            text[: (right - left) // round(8 * scale)],
            font=font("dejavu-mono", round(12 * scale)),
            fill=style.ink,
        )
    elif name == "filler":
        step = round(12 * scale)
        for y in range(top, max(top + 1, bottom - step // 2), step):
            draw.text((left, y), FILLER[int(rng.integers(len(FILLER)))], font=small, fill=style.ink)
    elif name == "table":
        _table(draw, style, box, rng, scale)
    elif name == "grid":
        columns, rows = int(rng.integers(3, 7)), int(rng.integers(2, 7))
        for c in range(columns + 1):
            x = left + (right - left) * c // columns
            draw.line((x, top, x, bottom), fill=style.ink, width=1)
        for r in range(rows + 1):
            y = top + (bottom - top) * r // rows
            draw.line((left, y, right, y), fill=style.ink, width=1)
    elif name == "chart":
        count = int(rng.integers(5, 10))
        wide = (right - left) / count
        for bar in range(count):
            high = (bottom - top) * float(rng.uniform(0.2, 1.0))
            draw.rectangle((left + bar * wide, bottom - high, left + (bar + 0.7) * wide, bottom), fill=style.accent)
    else:
        raise ValueError(f"no figure {name!r}: name one of the elements of layouts.py")


def _table(draw: ImageDraw.ImageDraw, style: Style, box: figures.Box, rng: np.random.Generator, scale: float) -> None:
    left, top, right, bottom = box
    step = round(int(rng.integers(15, 20)) * scale)
    measure = font(style.label_family, round(10 * scale))
    ruled = rng.random() < 0.6
    for y in range(top, bottom - step + 1, step):
        draw.text((left + 2, y + 1), f"{int(rng.integers(1, 99))} x", font=measure, fill=style.ink)
        if right - left > 180 * scale:
            words = FILLER[int(rng.integers(len(FILLER)))].split()
            draw.text((left + round(34 * scale), y + 1), " ".join(words[:2]), font=measure, fill=style.ink)
        price = f"{int(rng.integers(100, 99_999)) / 100:.2f}"
        draw.text((right - measure.getlength(price) - 2, y + 1), price, font=measure, fill=style.ink)
        if ruled:
            draw.line((left, y, right, y), fill=style.accent, width=1)
    draw.line((left, bottom, right, bottom), fill=style.ink, width=1)
