"""The generator of documents: seeded, honest about what was edited, and with layouts that training never sees."""

import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("font_roboto", reason="the documents extra is not installed")

from models.training.documents import capture
from models.training.documents.__main__ import contact_sheet
from models.training.documents.forge import FORGERY_KINDS, MIN_CHANGE, forge, possible_kinds
from models.training.documents.layouts import (
    DOCUMENT_KINDS,
    HELD_OUT_LAYOUTS,
    NEW_KIND_LAYOUTS,
    TRAINING_LAYOUTS,
    random_layout,
)
from models.training.documents.page import draw_page, render
from models.training.documents.payment import amount_text, draw_payment
from models.training.documents.sample import GENUINE, SPLITS, draw_original, draw_sample


def an_original(kind: str = "identity_card", seed: int = 3):
    layout = next(layout for layout in TRAINING_LAYOUTS if layout.kind == kind)
    return draw_original(layout, np.random.default_rng(seed))


def test_equal_seeds_draw_equal_bytes_and_others_do_not() -> None:
    first, again, other = draw_sample(11), draw_sample(11), draw_sample(12)
    assert first.jpeg == again.jpeg
    assert (first.mask == again.mask).all()
    assert first.payment == again.payment
    assert first.jpeg != other.jpeg


@pytest.mark.parametrize("kind", FORGERY_KINDS)
def test_a_forged_picture_differs_from_the_genuine_one_only_where_the_mask_says(kind: str) -> None:
    original, other = an_original(), an_original("invoice", 5)
    edit = None
    for seed in range(40):
        edit = forge(kind, original, other, np.random.default_rng(seed))
        if edit is not None:
            break
    assert edit is not None, f"no {kind} in 40 draws"
    differs = (edit.pixels != original.pixels).any(axis=2)
    assert not (differs & ~edit.mask).any()
    change = np.abs(edit.pixels.astype(int) - original.pixels.astype(int))[edit.mask].mean()
    assert change >= MIN_CHANGE * 0.99
    inside = np.zeros_like(edit.mask)
    for left, top, right, bottom in edit.boxes:
        inside[max(0, top - 4) : bottom + 4, max(0, left - 4) : right + 4] = True
    assert not (edit.mask & ~inside).any(), "the mask reaches beyond the boxes and their soft rim"


def test_a_genuine_document_has_no_mask_and_a_forged_one_has() -> None:
    genuine, forged = draw_sample(1, forgery=GENUINE), draw_sample(1, forgery="changed_digits")
    assert not genuine.is_forged
    assert not genuine.mask.any()
    assert genuine.boxes == ()
    assert forged.is_forged
    assert forged.mask.any()
    assert forged.edited_fields


def test_genuine_and_forged_take_the_same_way_but_for_the_edit() -> None:
    genuine, forged = draw_sample(21, forgery=GENUINE), draw_sample(21, forgery="changed_digits")
    assert genuine.layout == forged.layout
    assert genuine.printed == forged.printed
    a, b = Image.open(io.BytesIO(genuine.jpeg)), Image.open(io.BytesIO(forged.jpeg))
    assert a.format == b.format == "JPEG"
    assert abs(a.width - b.width) < 8, "only the cut of a few columns may differ"
    assert abs(a.height - b.height) < 8


def test_the_document_prints_what_the_payment_says() -> None:
    sample = draw_sample(5)
    if "amount" in sample.printed:
        payment = sample.payment
        assert sample.printed["amount"] == amount_text(payment.amount_minor, payment.currency, payment.language)
    original = an_original("invoice")
    assert original.page.texts["beneficiary"] == original.page.payment.beneficiary


def test_amounts_are_written_as_the_language_does() -> None:
    assert amount_text(123_456, "EUR", "en") == "EUR 1,234.56"
    assert amount_text(123_456, "EUR", "de") == "1.234,56 EUR"
    assert amount_text(123_456, "EUR", "fr") == "1 234,56 EUR"


def test_held_out_layouts_are_two_or_more_a_kind_and_never_drawn_for_training() -> None:
    for kind in DOCUMENT_KINDS:
        assert sum(layout.kind == kind for layout in HELD_OUT_LAYOUTS) >= 2
    arrangements = {layout.elements for layout in TRAINING_LAYOUTS}
    assert not arrangements & {layout.elements for layout in HELD_OUT_LAYOUTS}
    for split in ("train", "validation"):
        assert SPLITS[split][1] == TRAINING_LAYOUTS
    assert SPLITS["development"][1] == NEW_KIND_LAYOUTS, "what is tried is not compared on the layouts of the test"
    assert len({number for number, _ in SPLITS.values()}) == len(SPLITS), "two splits share their seeds"


def test_twenty_new_kinds_are_kinds_of_no_other_layout() -> None:
    assert len({layout.kind for layout in NEW_KIND_LAYOUTS}) == 20
    assert not {layout.kind for layout in NEW_KIND_LAYOUTS} & set(DOCUMENT_KINDS)


def test_every_layout_and_made_up_ones_can_be_drawn() -> None:
    rng = np.random.default_rng(0)
    for layout in (*TRAINING_LAYOUTS, *HELD_OUT_LAYOUTS, *NEW_KIND_LAYOUTS, *(random_layout(i) for i in range(10))):
        page = draw_page(layout, draw_payment(rng), rng)
        drawn = render(page)
        assert drawn.image.size == page.size
        assert set(drawn.values) == {e.field for e in layout.elements if e.field}


def test_a_photo_is_replaced_only_where_there_is_one() -> None:
    assert "replaced_photo" in possible_kinds(an_original("identity_card"))
    assert "replaced_photo" not in possible_kinds(an_original("invoice"))


def test_another_value_in_one_field_moves_nothing_else() -> None:
    original = an_original("cheque")
    edited = render(original.page.with_text("amount", "999.99 EUR")).image
    left, top, _, bottom = original.drawing.values["amount"]
    before, after = np.asarray(original.drawing.image).copy(), np.asarray(edited).copy()
    before[top - 6 : bottom + 6, left - 6 :] = after[top - 6 : bottom + 6, left - 6 :] = 0
    assert (before == after).all()


def test_a_projected_box_lands_where_the_camera_puts_it() -> None:
    original = an_original("invoice")
    width, height = original.page.size
    corners = capture.project(original.camera, (width, height), (0, 0, width, height))
    np.testing.assert_allclose(corners, original.camera.corners, atol=1e-2)


def test_a_contact_sheet_shows_every_sample() -> None:
    sheet = contact_sheet([draw_sample(0), draw_sample(1), draw_sample(2)], columns=2)
    assert sheet.width == 2 * 520
    assert sheet.height == 2 * 534
