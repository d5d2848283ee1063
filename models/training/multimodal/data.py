"""Documents that name their beneficiary by an emblem, payments to match them with, and the text that a reader would
find.

In training, text is simulated: what is printed, with the errors that OCR makes. In the benchmark it is read by real
OCR.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.services.multimodal.grams import encode_lines, encode_payment
from models.training.documents import capture
from models.training.documents.layouts import HELD_OUT_LAYOUTS, TRAINING_LAYOUTS, Layout
from models.training.documents.page import draw_page, pixel_box
from models.training.documents.payment import Payment, amount_text, date_text, draw_payment
from models.training.documents.sample import draw_original
from models.training.documents.words import BRANDS, FILLER, LABELS, LANGUAGES, TITLES
from models.training.vision.data import PART, _draw, _save, _unpack, canvas

logger = logging.getLogger(__name__)

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

PAYABLE = ("invoice", "cheque", "receipt")


def without_name(layout: Layout) -> Layout:
    """Return the layout with its beneficiary shown by the emblem alone, not in words."""
    return replace(layout, elements=tuple(e for e in layout.elements if e.field != "beneficiary"))


def usable(layouts: Sequence[Layout]) -> list[Layout]:
    """Return layouts of payable kinds that print amount, date and goods and bear an emblem, without the name."""
    chosen = []
    for layout in layouts:
        names = {element.field or element.name for element in layout.elements}
        if layout.kind in PAYABLE and {"amount", "date", "goods", "emblem"} <= names:
            chosen.append(without_name(layout))
    return chosen


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures made half as large, (n, 3, 256, 256), and the brand of each one's emblem."""

    images: U8
    brand: I64


def training_pictures(directory: Path, count: int, workers: int = 2) -> Pictures:
    """Return pictures of documents in training layouts; parts that exist are not drawn again."""
    directory.mkdir(parents=True, exist_ok=True)
    tasks = [
        (directory / f"pictures-{first:06d}-{min(PART, count - first)}.npz", first, min(PART, count - first))
        for first in range(0, count, PART)
    ]
    _draw(_draw_pictures, tasks, workers)
    parts = [np.load(path) for path, *_ in tasks]
    return Pictures(np.concatenate([p["images"] for p in parts]), np.concatenate([p["brand"] for p in parts]))


def _draw_pictures(task: tuple[Path, int, int]) -> None:
    path, first, count = task
    layouts = usable(TRAINING_LAYOUTS)
    images, brands = [], []
    for number in range(first, first + count):
        rng = np.random.default_rng([91, number])
        payment = replace(draw_payment(rng), brand=number % len(BRANDS))
        original = draw_original(layouts[int(rng.integers(len(layouts)))], rng, payment)
        images.append(halved(canvas(capture.to_jpeg(original.pixels, 92))))
        brands.append(payment.brand)
    _save(path, images=np.stack(images), brand=np.array(brands, np.int64))


def emblem_tokens(count: int) -> npt.NDArray[np.float32]:
    """Return the share of each 32 x 32 pixels of a training picture that its emblem covers, (count, 16, 16).

    Only the camera is drawn again, from the same seeds: where it puts the emblem is known without the picture.
    """
    layouts = usable(TRAINING_LAYOUTS)
    shares = np.zeros((count, 16, 16), np.float32)
    for number in range(count):
        rng = np.random.default_rng([91, number])
        payment = replace(draw_payment(rng), brand=number % len(BRANDS))
        page = draw_page(layouts[int(rng.integers(len(layouts)))], payment, rng)
        camera = capture.draw_camera(page.size, rng)
        index = next(i for i, element in enumerate(page.layout.elements) if element.name == "emblem")
        left, top, right, bottom = pixel_box(page, page.layout.elements[index], index)
        side = min(right - left, bottom - top)
        top += (bottom - top - side) // 2
        corners = capture.project(camera, page.size, (left, top, left + side, top + side))
        (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
        edges = np.arange(17) * 32.0
        across = np.clip(np.minimum(x1, edges[1:]) - np.maximum(x0, edges[:-1]), 0, None)
        down = np.clip(np.minimum(y1, edges[1:]) - np.maximum(y0, edges[:-1]), 0, None)
        shares[number] = np.outer(down, across) / 1024.0
    return shares


def halved(square: U8) -> U8:
    """Average 2 x 2 pixels: (512, 512, 3) -> (3, 256, 256)."""
    mean = square.reshape(256, 2, 256, 2, 3).astype(np.float32).mean((1, 3))
    half: U8 = np.rint(mean).astype(np.uint8).transpose(2, 0, 1)
    return half


def payment_json(payment: Payment) -> dict[str, object]:
    """Return a payment as the services take it."""
    return {
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "beneficiary": payment.beneficiary,
        "date": payment.day.isoformat(),
        "goods": payment.goods,
    }


def alike(payment: Payment, brands: Sequence[int], rng: np.random.Generator, what: str) -> list[Payment]:
    """Return payments that differ from one another in one field alone.

    Parameters
    ----------
    brands
        Brand of each.
    what
        `brand`: all else is equal, as of standing orders that leave on one day; `amount` and `day`: these differ too.
    """
    payments = []
    for brand in brands:
        one = replace(payment, brand=int(brand))
        if what == "amount":
            one = replace(
                one, amount_minor=int(np.clip(payment.amount_minor * np.exp(rng.normal(0, 0.5)), 150, 99_999_999))
            )
        elif what == "day":
            one = replace(one, day=payment.day + timedelta(days=int(rng.integers(-40, 40))))
        payments.append(one)
    return payments


def simulated_lines(payment: Payment, rng: np.random.Generator) -> list[str]:
    """Return what OCR might read of a document of this payment: fields with or without labels, other text, errors."""
    language = payment.language
    index = LANGUAGES.index(language)
    values = {
        "amount": amount_text(payment.amount_minor, payment.currency, language),
        "date": date_text(payment.day, language),
        "goods": payment.goods,
    }
    lines = []
    for name, value in values.items():
        draw = rng.random()
        if draw < 0.02:
            continue  # not found
        if draw < 0.6:
            lines.append(LABELS[name][index] + value)
        else:
            lines += [LABELS[name][index], value]
    kind = PAYABLE[int(rng.integers(len(PAYABLE)))]
    lines.append(TITLES[kind][index])
    if rng.random() < 0.6:
        lines.append(LABELS["number"][index] + str(rng.integers(10**7, 10**8)))
    if rng.random() < 0.3:
        lines.append(LABELS["account"][index] + "".join(f"{n:04d}" for n in rng.integers(0, 10_000, 4)))
    if kind != "cheque":
        for _ in range(int(rng.integers(4, 11))):
            lines.append(f"{int(rng.integers(100, 99_999)) / 100:.2f}")
            if rng.random() < 0.5:
                lines.append(f"{int(rng.integers(1, 99))}x")
            if rng.random() < 0.4:
                lines.append(" ".join(FILLER[int(rng.integers(len(FILLER)))].split()[:2]))
    if rng.random() < 0.5:
        lines.append("".join("0123456789ABCDEFGHKLMNPRSTUVXYZ<"[int(i)] for i in rng.integers(0, 32, 30)))
    order = rng.permutation(len(lines))
    return [misread(lines[int(i)], rng) for i in order]


_CONFUSED = {
    "0": "O",
    "1": "l",
    "5": "S",
    "8": "B",
    "6": "G",
    "o": "0",
    "l": "1",
    "s": "5",
    "e": "c",
    "i": "l",
    "9": "g",
    "3": "8",
}


def misread(line: str, rng: np.random.Generator, rate: float = 0.012) -> str:
    """Return a line with characters dropped or taken for others, each at half the rate."""
    out = []
    for character, draw in zip(line, rng.random(len(line)).tolist(), strict=True):
        if draw < rate / 2:
            continue
        out.append(_CONFUSED.get(character, character) if draw < rate else character)
    return "".join(out)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Payments and their documents, one each: pictures as JPEG, text as OCR read it, both encoded."""

    payments: list[Payment]
    jpegs: list[bytes]
    texts: list[list[str]]
    fields: I32
    lines: I32


def benchmark_payments(candidates: int, group: int, seed: int) -> list[Payment]:
    """Return payments in groups that share amount, date and goods and go to different beneficiaries."""
    rng = np.random.default_rng([seed, 93])
    payments: list[Payment] = []
    while len(payments) < candidates:
        brands = rng.choice(len(BRANDS), group, replace=False)
        payments += alike(draw_payment(rng), brands.tolist(), rng, "brand")
    return payments[:candidates]


def benchmark_jpegs(directory: Path, payments: Sequence[Payment], seed: int) -> list[bytes]:
    """Return the documents of the benchmark, in held-out layouts; kept in `directory`."""
    path = directory / f"match-{len(payments)}-{seed}.npz"
    if not path.exists():
        layouts = usable(HELD_OUT_LAYOUTS)
        jpegs = []
        for number, payment in enumerate(payments):
            rng = np.random.default_rng([seed, 94, number])
            original = draw_original(layouts[int(rng.integers(len(layouts)))], rng, payment)
            jpegs.append(capture.to_jpeg(original.pixels, 92))
        _save(path, bytes=np.frombuffer(b"".join(jpegs), np.uint8), ends=np.cumsum([len(j) for j in jpegs]))
    with np.load(path) as part:
        return _unpack(part["bytes"], part["ends"])


def encode_all(payments: Sequence[Payment], texts: Sequence[Sequence[str]]) -> tuple[I32, I32]:
    """Return payments (n, 4, G) and documents' lines (n, L, G) as buckets."""
    return (
        np.stack([encode_payment(payment_json(p)) for p in payments]),
        np.stack([encode_lines(list(lines)) for lines in texts]),
    )
