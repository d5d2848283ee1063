"""Planted forgeries: a stored picture is edited in a few regions and saved again.

Every forgery is an edit after the picture was taken, made as people make them in an image program: typed over, pasted
in, enlarged to fit. It is sharper or cleaner, softer or noisier than the picture around it, and has not been through
this camera's JPEG. Two forgers are not among them: one who imitates blur and noise (`care=1`, measured apart), and
one who alters the paper and photographs it afterwards, which leaves no such trace at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from models.training.documents import capture
from models.training.documents.capture import F32, U8, Camera
from models.training.documents.fonts import TYPE
from models.training.documents.page import Drawing, Page, character_box, render
from models.training.documents.payment import draw_payment, field_texts

FORGERY_KINDS = ("changed_digits", "splice", "copy_move", "replaced_photo", "reused_template", "mismatched_font")
MIN_CHANGE = 6.0
"""Mean absolute grey level by which a region must differ, else nothing was changed that anyone could see."""


@dataclass(frozen=True, slots=True)
class Forgery:
    """An edited picture, before it is saved.

    Attributes
    ----------
    pixels
        (h, w, 3); equal to the original outside `mask`.
    mask
        (h, w) True where an edit reached.
    boxes
        Edited regions in the picture, left, top, right, bottom.
    fields
        Names of the fields that were touched.
    """

    kind: str
    pixels: U8
    mask: npt.NDArray[np.bool_]
    boxes: tuple[tuple[int, int, int, int], ...]
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Original:
    """A genuine picture with all that a forger would have at hand."""

    page: Page
    drawing: Drawing
    camera: Camera
    pixels: U8


def possible_kinds(original: Original) -> tuple[str, ...]:
    """Return the kinds of forgery that this document allows."""
    if original.drawing.photo is None:
        return tuple(kind for kind in FORGERY_KINDS if kind != "replaced_photo")
    return FORGERY_KINDS


def forge(
    kind: str, original: Original, other: Original, rng: np.random.Generator, care: float = 0.0
) -> Forgery | None:
    """Edit a picture; None where the draw changed nothing visible.

    Parameters
    ----------
    original
        The genuine picture.
    other
        Another genuine picture, the source of a splice.
    care
        0: what is drawn anew stays as sharp and clean as a program draws it (at most 15% of the camera's noise), a
        copy is enlarged to its place, a splice comes from a clean original or from a far noisier picture. 1: blur and
        noise are put back, copies are moved as they are, splices come from a like camera; that forger is measured,
        not trained on.
    """
    if kind == "changed_digits":
        return _changed_digits(original, rng, care)
    if kind == "mismatched_font":
        return _mismatched_font(original, rng, care)
    if kind == "reused_template":
        return _reused_template(original, rng, care)
    if kind == "replaced_photo":
        return _replaced_photo(original, rng, care)
    if kind == "splice":
        return _splice(original, other, rng, care)
    if kind == "copy_move":
        return _copy_move(original, rng, care)
    raise ValueError(f"no forgery {kind!r}: name one of {FORGERY_KINDS}")


def _changed_digits(original: Original, rng: np.random.Generator, care: float) -> Forgery | None:
    page = original.page
    names = [n for n in ("amount", "date", "number", "account", "expiry", "birth") if n in original.drawing.values]
    if not names:
        return None
    name = names[int(rng.integers(len(names)))] if rng.random() < 0.5 else names[0]
    text = page.texts[name]
    digits = [i for i, c in enumerate(text) if c.isdigit()]
    if len(digits) < 2:
        return None
    count = int(rng.integers(1, 4))
    start = int(rng.integers(0, max(1, len(digits) - count + 1)))
    chosen = digits[start : start + count]
    changed = list(text)
    for place in chosen:
        changed[place] = str((int(text[place]) + int(rng.integers(1, 10))) % 10)
    edited = page.with_text(name, "".join(changed))
    if rng.random() < 0.3:
        edited = replace(edited, size_change={name: int(rng.choice([-1, 1]))})
    box = character_box(page, name, original.drawing.values[name], chosen[0], chosen[-1] + 1)
    return _redrawn("changed_digits", original, edited, [box], (name,), rng, care)


def _mismatched_font(original: Original, rng: np.random.Generator, care: float) -> Forgery | None:
    page = original.page
    names = sorted(original.drawing.values)
    if not names:
        return None
    name = names[int(rng.integers(len(names)))]
    others = [f for f in TYPE if TYPE[f] != TYPE[page.style.family]]
    edited = replace(page, families={name: others[int(rng.integers(len(others)))]})
    if rng.random() < 0.6:
        edited = edited.with_text(name, _another_text(page, name, rng))
    box = _union(original.drawing.values[name], render(edited).values[name])
    return _redrawn("mismatched_font", original, edited, [box], (name,), rng, care)


def _reused_template(original: Original, rng: np.random.Generator, care: float) -> Forgery | None:
    page = original.page
    names = sorted(original.drawing.values)
    if len(names) < 2:
        return None
    texts = {name: _another_text(page, name, rng) for name in names}
    edited = replace(page, texts={**page.texts, **texts})
    drawn = render(edited).values
    boxes = [_union(original.drawing.values[name], drawn[name]) for name in names]
    return _redrawn("reused_template", original, edited, boxes, tuple(names), rng, care)


def _replaced_photo(original: Original, rng: np.random.Generator, care: float) -> Forgery | None:
    if original.drawing.photo is None:
        return None
    edited = replace(original.page, portrait_seed=int(rng.integers(2**31)))
    left, top, right, bottom = original.drawing.photo
    slack = int(rng.integers(-1, 3))
    box = (left - slack, top - slack, right + slack, bottom + slack)
    return _redrawn("replaced_photo", original, edited, [box], ("photo",), rng, care)


def _splice(original: Original, other: Original, rng: np.random.Generator, care: float) -> Forgery | None:
    target = _target_box(original, rng)
    if target is None:
        return None
    name, (left, top, right, bottom) = target
    width, height = right - left, bottom - top
    source_box = _target_box(other, rng)
    if source_box is None:
        return None
    source_left, source_top, _, _ = source_box[1]
    limit_h, limit_w = other.pixels.shape[:2]
    if limit_w < width or limit_h < height:
        return None
    x, y = min(source_left, limit_w - width), min(source_top, limit_h - height)
    source = other.pixels
    if care == 0:
        # From a clean original (a PDF, a screenshot) or from a far noisier picture.
        noise, blur = (
            (0.0, float(rng.uniform(0.0, 0.4)))
            if rng.random() < 0.7
            else (2.5 * original.camera.noise, other.camera.blur)
        )
        source = capture.expose(other.drawing.image, other.camera, blur, noise, other.camera.seed)
        source = capture.through_jpeg(source, int(rng.integers(85, 97)))
    patch = source[y : y + height, x : x + width].astype(np.float32)
    return _pasted("splice", original, patch, (left, top), name, rng)


def _copy_move(original: Original, rng: np.random.Generator, care: float) -> Forgery | None:
    target, source = _target_box(original, rng), _target_box(original, rng)
    if target is None or source is None:
        return None
    name, (left, top, right, bottom) = target
    width, height = right - left, bottom - top
    factor = 1.0 if care > 0 else float(rng.uniform(1.2, 1.6))
    w, h = max(8, round(width / factor)), max(8, round(height / factor))
    x, y, _, _ = source[1]
    limit_h, limit_w = original.pixels.shape[:2]
    if w > limit_w or h > limit_h:
        return None
    x, y = min(x, limit_w - w), min(y, limit_h - h)
    if abs(x - left) < w // 2 and abs(y - top) < h // 2:
        return None
    cut = Image.fromarray(original.pixels[y : y + h, x : x + w])
    if factor != 1.0:
        cut = cut.resize((width, height), Image.Resampling.BILINEAR)
    return _pasted("copy_move", original, np.asarray(cut, np.float32), (left, top), name, rng)


def _another_text(page: Page, name: str, rng: np.random.Generator) -> str:
    """Return another value of a field, in the language of the page."""
    payment = replace(draw_payment(rng), language=page.payment.language)
    return field_texts(payment, rng)[name]


def _union(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return min(a[0], b[0]) - 1, min(a[1], b[1]) - 1, max(a[2], b[2]) + 1, max(a[3], b[3]) + 1


def _target_box(original: Original, rng: np.random.Generator) -> tuple[str, tuple[int, int, int, int]] | None:
    """Return a field and an upright box around it in the picture, at least 24 x 12 pixels and wholly inside."""
    names = sorted(original.drawing.values)
    if not names:
        return None
    name = names[int(rng.integers(len(names)))]
    corners = capture.project(original.camera, original.page.size, original.drawing.values[name])
    height, width = original.pixels.shape[:2]
    left, top = np.floor(corners.min(0)).astype(int) - rng.integers(0, 3, 2)
    right, bottom = np.ceil(corners.max(0)).astype(int) + rng.integers(0, 3, 2)
    left, top, right, bottom = max(0, int(left)), max(0, int(top)), min(width, int(right)), min(height, int(bottom))
    if right - left < 24 or bottom - top < 12:
        return None
    return name, (left, top, right, bottom)


def _redrawn(
    kind: str,
    original: Original,
    edited: Page,
    boxes: list[tuple[int, int, int, int]],
    fields: tuple[str, ...],
    rng: np.random.Generator,
    care: float,
) -> Forgery | None:
    """Put regions of an edited page into the picture, projected and lit alike, with noise and blur of their own."""
    camera = original.camera
    blur = camera.blur * care * float(rng.uniform(0.8, 1.0)) if care > 0 else float(rng.uniform(0.0, 0.3))
    noise = camera.noise * (care * float(rng.uniform(0.8, 1.0)) if care > 0 else float(rng.uniform(0.0, 0.15)))
    layer = capture.expose(render(edited).image, camera, blur, noise, int(rng.integers(2**31))).astype(np.float32)
    layer = layer * np.float32(rng.uniform(0.985, 1.015))
    outline = Image.new("L", camera.size, 0)
    draw = ImageDraw.Draw(outline)
    polygons = [capture.project(camera, original.page.size, box) for box in boxes]
    for polygon in polygons:
        draw.polygon([(float(x), float(y)) for x, y in polygon], fill=255)
    return _blend(kind, original, layer, outline, [_bounds(p, camera.size) for p in polygons], fields, rng)


def _pasted(
    kind: str, original: Original, patch: F32, corner: tuple[int, int], name: str, rng: np.random.Generator
) -> Forgery | None:
    """Paste a patch, its paper brought to about the brightness of the paper around it."""
    left, top = corner
    height, width = patch.shape[:2]
    around = original.pixels[top : top + height, left : left + width].astype(np.float32)
    paper_here, paper_there = np.percentile(around, 80, axis=(0, 1)), np.percentile(patch, 80, axis=(0, 1))
    patch = patch + (paper_here - paper_there) * np.float32(rng.uniform(0.85, 1.0))
    layer = original.pixels.astype(np.float32)
    layer[top : top + height, left : left + width] = patch
    outline = Image.new("L", original.camera.size, 0)
    outline.paste(255, (left, top, left + width, top + height))
    return _blend(kind, original, layer, outline, [(left, top, left + width, top + height)], (name,), rng)


def _blend(
    kind: str,
    original: Original,
    layer: F32,
    outline: Image.Image,
    boxes: list[tuple[int, int, int, int]],
    fields: tuple[str, ...],
    rng: np.random.Generator,
) -> Forgery | None:
    feather = float(rng.uniform(0, 0.8))
    if feather > 0.25:
        outline = outline.filter(ImageFilter.GaussianBlur(feather))
    alpha = np.asarray(outline, np.float32)[:, :, None] / 255
    before = original.pixels.astype(np.float32)
    after = np.clip(before * (1 - alpha) + layer * alpha + 0.5, 0, 255).astype(np.uint8)
    mask = np.asarray(outline) > 0
    if not mask.any() or float(np.abs(after[mask].astype(np.float32) - before[mask]).mean()) < MIN_CHANGE:
        return None
    return Forgery(kind, after, mask, tuple(boxes), fields)


def _bounds(polygon: F32, size: tuple[int, int]) -> tuple[int, int, int, int]:
    left, top = np.floor(polygon.min(0))
    right, bottom = np.ceil(polygon.max(0))
    return max(0, int(left)), max(0, int(top)), min(size[0], int(right)), min(size[1], int(bottom))
