"""Drawn things that are no text: emblems, portraits, stamps, signatures, bar codes, security patterns."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from models.training.documents.words import EMBLEM_COLOURS, EMBLEM_SHAPES

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom exclusive."""


def emblem(draw: ImageDraw.ImageDraw, box: Box, brand: int) -> None:
    """Draw the emblem of a brand: its shape in its colour, on a light plate."""
    left, top, right, bottom = box
    side = min(right - left, bottom - top)
    x, y = left, top + (bottom - top - side) // 2
    shape, colour = EMBLEM_SHAPES[brand % len(EMBLEM_SHAPES)], EMBLEM_COLOURS[brand // len(EMBLEM_SHAPES)]
    inner = (x, y, x + side - 1, y + side - 1)
    middle, centre, half = x + side / 2, y + side / 2, side / 2
    if shape == "disc":
        draw.ellipse(inner, fill=colour)
    elif shape == "ring":
        draw.ellipse(inner, outline=colour, width=max(2, side // 5))
    elif shape == "square":
        draw.rectangle(inner, fill=colour)
    elif shape == "triangle":
        draw.polygon([(middle, y), (x + side, y + side), (x, y + side)], fill=colour)
    elif shape == "diamond":
        draw.polygon([(middle, y), (x + side, centre), (middle, y + side), (x, centre)], fill=colour)
    elif shape == "hexagon":
        points = [(middle + half * math.cos(a), centre + half * math.sin(a)) for a in np.arange(6) * math.pi / 3]
        draw.polygon(points, fill=colour)
    elif shape == "cross":
        third = side / 3
        draw.rectangle((x + third, y, x + 2 * third, y + side - 1), fill=colour)
        draw.rectangle((x, y + third, x + side - 1, y + 2 * third), fill=colour)
    else:
        for bar in range(3):
            draw.rectangle((x, y + bar * side * 0.38, x + side - 1, y + bar * side * 0.38 + side * 0.22), fill=colour)


def portrait(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Draw a face as a small photograph: shading, grain, and a JPEG history of its own."""
    width, height = size
    backdrop = rng.integers(120, 235, 3)
    ramp = np.linspace(-18, 18, height, dtype=np.float32)[:, None, None]
    image = Image.fromarray(np.clip(backdrop + ramp + np.zeros((height, width, 3)), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    skin = tuple(int(v) for v in np.array([224, 180, 150]) * rng.uniform(0.45, 1.08) + rng.integers(-8, 8, 3))
    hair = tuple(int(v) for v in rng.integers(15, 150) * np.array([1.0, 0.8, 0.6]))
    shirt = tuple(int(v) for v in rng.integers(20, 230, 3))
    cx, cy = width * rng.uniform(0.46, 0.54), height * rng.uniform(0.4, 0.46)
    rx, ry = width * rng.uniform(0.2, 0.26), height * rng.uniform(0.23, 0.29)
    draw.ellipse((cx - 2.1 * rx, cy + 1.2 * ry, cx + 2.1 * rx, height * 1.6), fill=shirt)
    draw.rectangle((cx - 0.4 * rx, cy + 0.6 * ry, cx + 0.4 * rx, cy + 1.5 * ry), fill=skin)
    draw.ellipse((cx - 1.15 * rx, cy - 1.25 * ry, cx + 1.15 * rx, cy + rng.uniform(0.3, 1.3) * ry), fill=hair)
    draw.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=skin)
    for side in (-1, 1):
        ex = cx + side * 0.4 * rx
        draw.ellipse((ex - 0.14 * rx, cy - 0.18 * ry, ex + 0.14 * rx, cy - 0.04 * ry), fill=(25, 25, 30))
    draw.arc((cx - 0.4 * rx, cy + 0.2 * ry, cx + 0.4 * rx, cy + 0.62 * ry), 20, 160, fill=(120, 50, 50), width=2)
    image = image.filter(ImageFilter.GaussianBlur(0.8))
    grain = rng.standard_normal((height, width, 1), dtype=np.float32) * rng.uniform(0, 1.5)
    pixels = np.clip(np.asarray(image, np.float32) + grain, 0, 255).astype(np.uint8)
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=int(rng.integers(60, 93)))
    return Image.open(packed).convert("RGB")


def stamp(draw: ImageDraw.ImageDraw, box: Box, rng: np.random.Generator) -> None:
    """Draw a round or square ink stamp."""
    colour = tuple(int(v) for v in (rng.integers(20, 160), rng.integers(10, 70), rng.integers(60, 190)))
    left, top, right, bottom = box
    if rng.random() < 0.5:
        side = min(right - left, bottom - top)
        draw.ellipse((left, top, left + side, top + side), outline=colour, width=2)
        draw.ellipse((left + 4, top + 4, left + side - 4, top + side - 4), outline=colour, width=1)
    else:
        draw.rectangle((left, top, right, bottom), outline=colour, width=2)
    for row in range(2):
        y = top + (bottom - top) * (0.4 + 0.2 * row)
        draw.line((left + (right - left) * 0.2, y, left + (right - left) * 0.6, y), fill=colour, width=2)


def signature(draw: ImageDraw.ImageDraw, box: Box, rng: np.random.Generator, width: int) -> None:
    """Draw a signature: a pen stroke that wanders to the right."""
    left, top, right, bottom = box
    steps = 40
    t = np.linspace(0, 1, steps)
    a, b, c = rng.uniform(0.2, 0.45), rng.uniform(3, 7), rng.uniform(8, 15)
    x = left + (right - left) * (0.05 + 0.85 * t + 0.04 * np.sin(c * t * 3))
    y = (top + bottom) / 2 + (bottom - top) * a * np.sin(b * t * 3 + rng.uniform(0, 6)) * (1 - 0.6 * t)
    ink = (int(rng.integers(0, 50)), int(rng.integers(0, 60)), int(rng.integers(60, 160)))
    draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=ink, width=width, joint="curve")


def bar_code(draw: ImageDraw.ImageDraw, box: Box, rng: np.random.Generator) -> None:
    """Draw a bar code (wide boxes) or a matrix code (square ones)."""
    left, top, right, bottom = box
    if right - left > 1.8 * (bottom - top):
        x = left
        while x < right - 3:
            bar = int(rng.integers(1, 4))
            draw.rectangle((x, top, x + bar - 1, bottom - 1), fill=(15, 15, 15))
            x += bar + int(rng.integers(1, 4))
        return
    cells = 17
    step = (min(right - left, bottom - top)) / cells
    for row, column in np.argwhere(rng.random((cells, cells)) < 0.5):
        x, y = left + column * step, top + row * step
        draw.rectangle((x, y, x + step - 1, y + step - 1), fill=(15, 15, 15))


def guilloche(draw: ImageDraw.ImageDraw, size: tuple[int, int], colour: Colour, rng: np.random.Generator) -> None:
    """Draw a security pattern of fine waves over the whole page."""
    width, height = size
    x = np.arange(0, width + 6, 6)
    period, depth = rng.uniform(40, 120), rng.uniform(4, 14)
    for row, y0 in enumerate(np.arange(-10, height + 10, rng.uniform(9, 16))):
        y = y0 + depth * np.sin(2 * math.pi * x / period + row * 0.7)
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=colour, width=1)
