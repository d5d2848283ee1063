"""Drawn documents on disk, in parts: pictures as JPEG, truth as small arrays. Parts that exist are not drawn again."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.training.documents import capture
from models.training.documents.forge import FORGERY_KINDS
from models.training.documents.layouts import DOCUMENT_KINDS, NEW_KIND_LAYOUTS, TRAINING_LAYOUTS, random_layout
from models.training.documents.sample import GENUINE, draw_original, draw_sample
from models.training.vision.config import PLACE, SIDE

logger = logging.getLogger(__name__)

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

FORGERY_CLASSES = (GENUINE, *FORGERY_KINDS)
DOCUMENT_CLASSES = (*DOCUMENT_KINDS, "other")
IGNORE = 255
PART = 100
MADE_UP = "train-made-up"
"""Split of the documents in made-up layouts; `small_pages` takes the layouts of lower numbers."""
_MADE_UP_FIRST = 1_000_000
_LISTED = {"known": TRAINING_LAYOUTS, "new": NEW_KIND_LAYOUTS}
SMALL = SIDE // 4


@dataclass(frozen=True, slots=True)
class Documents:
    """Documents of a split.

    Attributes
    ----------
    jpegs
        Pictures.
    places
        (n, 64, 64) class of the edit at each place of 8 x 8 pixels; `IGNORE` at the rim of an edit and beside the page.
    forgery, document, layout
        (n,) class of the forgery, of the document's kind, number of its layout in its split.
    """

    jpegs: list[bytes]
    places: U8
    forgery: I64
    document: I64
    layout: I64
    decoded: U8 | None = None

    def __len__(self) -> int:
        """Number of documents."""
        return len(self.jpegs)

    def square(self, number: int) -> U8:
        """Return a picture as the network sees it, (512, 512, 3)."""
        return canvas(self.jpegs[number]) if self.decoded is None else self.decoded[number]

    def extents(self) -> I64:
        """Return height and width of every picture in pixels, at most 512, (n, 2)."""
        sizes = [Image.open(io.BytesIO(jpeg)).size for jpeg in self.jpegs]  # reads the header alone
        return np.minimum(np.array(sizes, np.int64)[:, ::-1], SIDE)

    def in_memory(self, workers: int) -> Documents:
        """Return the same with every picture decoded: 768 KiB each, for machines that have it and train fast."""
        decoded = np.empty((len(self), SIDE, SIDE, 3), np.uint8)

        def decode(number: int) -> None:
            decoded[number] = canvas(self.jpegs[number])

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(decode, range(len(self))))
        return replace(self, decoded=decoded)


def joined(parts: Sequence[Documents]) -> Documents:
    """Put sets of documents into one."""
    return Documents(
        [jpeg for part in parts for jpeg in part.jpegs],
        np.concatenate([part.places for part in parts]),
        np.concatenate([part.forgery for part in parts]),
        np.concatenate([part.document for part in parts]),
        np.concatenate([part.layout for part in parts]),
    )


def canvas(jpeg: bytes) -> U8:
    """Decode a picture into the upper left of the square that the network sees, zeros beside it, (512, 512, 3)."""
    pixels = capture.read_jpeg(jpeg)[:SIDE, :SIDE]
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    # Zero means padding: black in the picture becomes the darkest grey.
    square[: pixels.shape[0], : pixels.shape[1]] = np.maximum(pixels, 1)
    return square


def place_classes(mask: npt.NDArray[np.bool_], forgery: int) -> U8:
    """Return the class of every place: the forgery's where a quarter is edited, 0 where nothing is, else `IGNORE`."""
    whole = np.zeros((SIDE, SIDE), np.float32)
    inside = np.zeros((SIDE, SIDE), np.float32)
    height, width = min(SIDE, mask.shape[0]), min(SIDE, mask.shape[1])
    whole[:height, :width] = mask[:height, :width]
    inside[:height, :width] = 1
    share, page = (a.reshape(SIDE // PLACE, PLACE, SIDE // PLACE, PLACE).mean((1, 3)) for a in (whole, inside))
    places = np.where(share >= 0.25, forgery, np.where(share > 0, IGNORE, 0))
    return np.where(page < 0.5, IGNORE, places).astype(np.uint8)


def documents(directory: Path, split: str, count: int, forged_share: float, workers: int = 2) -> Documents:
    """Return documents 0 to count - 1 of a split, drawing the parts that are missing."""
    directory.mkdir(parents=True, exist_ok=True)
    tasks = [
        (
            directory / f"{split}-{forged_share:.2f}-{first:06d}-{min(PART, count - first)}.npz",
            split,
            first,
            min(PART, count - first),
            forged_share,
        )
        for first in range(0, count, PART)
    ]
    _draw(_draw_documents, tasks, workers)
    jpegs: list[bytes] = []
    columns: dict[str, list[npt.NDArray[np.generic]]] = {"places": [], "forgery": [], "document": [], "layout": []}
    for path, *_ in tasks:
        with np.load(path) as part:
            jpegs += _unpack(part["bytes"], part["ends"])
            for name, arrays in columns.items():
                arrays.append(part[name])
    whole = {name: np.concatenate(arrays) for name, arrays in columns.items()}
    return Documents(jpegs, whole["places"], whole["forgery"], whole["document"], whole["layout"])  # type: ignore[arg-type]


def small_pages(directory: Path, name: str, layouts: int, samples: int, workers: int = 2) -> tuple[U8, I64]:
    """Return genuine pages made small, (n, 3, 128, 128), and the number of each one's layout.

    Parameters
    ----------
    name
        `random` for the made-up layouts, `known` for the training layouts, `new` for the new kinds.
    layouts, samples
        How many layouts, and documents of each.
    """
    directory.mkdir(parents=True, exist_ok=True)
    step = max(1, PART // samples)
    tasks = [
        (
            directory / f"small-{name}-{samples}-{first:05d}-{min(step, layouts - first)}.npz",
            name,
            first,
            min(step, layouts - first),
            samples,
        )
        for first in range(0, layouts, step)
    ]
    _draw(_draw_small, tasks, workers)
    parts = [np.load(path) for path, *_ in tasks]
    return np.concatenate([p["images"] for p in parts]), np.concatenate([p["layout"] for p in parts])


def shrink(square: U8) -> U8:
    """Average 4 x 4 pixels: (512, 512, 3) -> (3, 128, 128)."""
    mean = square.reshape(SMALL, 4, SMALL, 4, 3).astype(np.float32).mean((1, 3))
    small: U8 = np.rint(mean).astype(np.uint8).transpose(2, 0, 1)
    return small


def _draw(function, tasks, workers: int) -> None:  # type: ignore[no-untyped-def]
    missing = [task for task in tasks if not task[0].exists()]
    if not missing:
        return
    logger.info("drawing %d parts of documents, first %s", len(missing), missing[0][0].name)
    if workers <= 1:
        for task in missing:
            function(task)
        return
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(function, missing))


def _draw_documents(task: tuple[Path, str, int, int, float]) -> None:
    path, split, first, count, forged_share = task
    care = 1.0 if split == "test-careful" else 0.0
    layouts = [random_layout(_MADE_UP_FIRST + first + i) if split == MADE_UP else None for i in range(count)]
    drawn_as = "train" if split == MADE_UP else split
    seed = first + (_MADE_UP_FIRST if split == MADE_UP else 0)
    samples = [
        draw_sample(seed + i, drawn_as, layout=layouts[i], forged_share=forged_share, care=care) for i in range(count)
    ]
    forgery = np.array([FORGERY_CLASSES.index(s.forgery) for s in samples], np.int64)
    names = list(TRAINING_LAYOUTS)
    _save(
        path,
        bytes=np.frombuffer(b"".join(s.jpeg for s in samples), np.uint8),
        ends=np.cumsum([len(s.jpeg) for s in samples]),
        places=np.stack([place_classes(s.mask, int(f)) for s, f in zip(samples, forgery, strict=True)]),
        forgery=forgery,
        document=np.array([_class_of(s.layout.kind) for s in samples], np.int64),
        layout=np.array([names.index(s.layout) if s.layout in names else -1 for s in samples], np.int64),
    )


def _class_of(kind: str) -> int:
    return DOCUMENT_CLASSES.index(kind if kind in DOCUMENT_CLASSES else "other")


def _draw_small(task: tuple[Path, str, int, int, int]) -> None:
    path, name, first, count, samples = task
    images, numbers = [], []
    for number in range(first, first + count):
        layout = random_layout(number) if name == "random" else _LISTED[name][number]
        for sample in range(samples):
            original = draw_original(layout, np.random.default_rng([77, len(name), number, sample]))
            images.append(shrink(canvas(capture.to_jpeg(original.pixels, 92))))
            numbers.append(number)
    _save(path, images=np.stack(images), layout=np.array(numbers, np.int64))


def _save(path: Path, **arrays: npt.NDArray[np.generic]) -> None:
    # Written aside and renamed: a run that is stopped leaves no half part behind.
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.rename(path)


def _unpack(content: U8, ends: I64) -> list[bytes]:
    starts = np.concatenate([[0], ends[:-1]])
    return [content[int(start) : int(end)].tobytes() for start, end in zip(starts, ends, strict=True)]
