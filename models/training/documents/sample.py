"""One document with everything that is true of it, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.training.documents import capture
from models.training.documents.forge import Forgery, Original, forge, possible_kinds
from models.training.documents.layouts import HELD_OUT_LAYOUTS, NEW_KIND_LAYOUTS, TRAINING_LAYOUTS, Layout
from models.training.documents.page import draw_page, render
from models.training.documents.payment import Payment, draw_payment

GENUINE = "genuine"
SPLITS: dict[str, tuple[int, tuple[Layout, ...]]] = {
    "train": (1, TRAINING_LAYOUTS),
    "validation": (2, TRAINING_LAYOUTS),
    "test": (7, HELD_OUT_LAYOUTS),
    "test-careful": (9, HELD_OUT_LAYOUTS),
    "new": (4, NEW_KIND_LAYOUTS),
    "development": (8, NEW_KIND_LAYOUTS),
}
"""Name of a split -> (its number in every seed, its layouts). Held-out layouts are in the tests alone: what is tried
on the way is compared on `development`, whose layouts are in neither."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A document as it reaches the engine, and the truth.

    Attributes
    ----------
    jpeg
        The picture.
    forgery
        `genuine`, or one of `forge.FORGERY_KINDS`.
    mask
        (h, w) True where an edit reached; all False for a genuine document.
    boxes
        Edited regions, left, top, right, bottom in pixels.
    printed
        Fields as the document was first printed: what the payment says.
    """

    jpeg: bytes
    payment: Payment
    layout: Layout
    forgery: str
    mask: npt.NDArray[np.bool_]
    boxes: tuple[tuple[int, int, int, int], ...]
    edited_fields: tuple[str, ...]
    printed: dict[str, str]

    @property
    def is_forged(self) -> bool:
        """Whether the picture was edited."""
        return self.forgery != GENUINE


def draw_original(
    layout: Layout, rng: np.random.Generator, payment: Payment | None = None, scale: float = 1.0
) -> Original:
    """Draw a genuine picture of a document, as its camera stores it."""
    page = draw_page(layout, payment or draw_payment(rng), rng, scale)
    drawing = render(page)
    camera = capture.draw_camera(page.size, rng, scale)
    return Original(page, drawing, camera, capture.photograph(drawing.image, camera))


def draw_sample(
    seed: int,
    split: str = "train",
    forgery: str | None = None,
    layout: Layout | None = None,
    forged_share: float = 0.5,
    care: float = 0.0,
    payment: Payment | None = None,
) -> Sample:
    """Draw document number `seed` of a split. Equal arguments give equal bytes on one machine.

    Genuine and forged documents take the same way: printed, photographed, through the camera's JPEG, a few rows and
    columns cut off (which moves the JPEG grid), saved again at a higher quality. Only the edit between is the forger's.

    Parameters
    ----------
    forgery
        `genuine` or a kind of forgery; drawn where not given.
    layout
        Drawn from the split where not given.
    payment
        That the document speaks of; drawn where not given.
    """
    number, layouts = SPLITS[split]
    rng = np.random.default_rng([number, seed])
    chosen = layout or layouts[int(rng.integers(len(layouts)))]
    original = draw_original(chosen, rng, payment)
    kinds = possible_kinds(original)
    wanted = forgery
    if wanted is None:
        wanted = kinds[int(rng.integers(len(kinds)))] if rng.random() < forged_share else GENUINE
    edit: Forgery | None = None
    if wanted != GENUINE:
        source = layouts[int(rng.integers(len(layouts)))]
        other = draw_original(source, rng) if wanted == "splice" else original
        for _ in range(12):
            edit = forge(wanted, original, other, rng, care)
            if edit is not None:
                break
    pixels = original.pixels if edit is None else edit.pixels
    mask = np.zeros(pixels.shape[:2], bool) if edit is None else edit.mask
    cut_x, cut_y = (int(v) for v in rng.integers(0, 8, 2))
    jpeg = capture.to_jpeg(np.ascontiguousarray(pixels[cut_y:, cut_x:]), int(rng.integers(88, 97)))
    boxes = (
        ()
        if edit is None
        else tuple((max(0, b[0] - cut_x), max(0, b[1] - cut_y), b[2] - cut_x, b[3] - cut_y) for b in edit.boxes)
    )
    return Sample(
        jpeg=jpeg,
        payment=original.page.payment,
        layout=chosen,
        forgery=GENUINE if edit is None else edit.kind,
        mask=mask[cut_y:, cut_x:],
        boxes=boxes,
        edited_fields=() if edit is None else edit.fields,
        printed={name: original.page.texts[name] for name in original.drawing.values},
    )
