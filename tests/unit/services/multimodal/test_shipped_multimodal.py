"""The shipped multimodal model on documents drawn here, in layouts never seen: a floor, not the card's figure."""

import dataclasses
import hashlib
import io
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("font_roboto", reason="the documents extra is not installed")
pytest.importorskip("rapidocr_onnxruntime", reason="OCR cannot be loaded", exc_type=ImportError)

from models.services.base.errors import InvalidInstanceError
from models.services.base.model import ImageContent
from models.services.base.settings import ServiceSettings
from models.services.multimodal import served_models
from models.services.multimodal.model import FOLDER, MultimodalModel
from models.training.documents import capture
from models.training.documents.layouts import HELD_OUT_LAYOUTS, Layout
from models.training.documents.payment import Payment, draw_payment
from models.training.documents.sample import draw_original

SEED = 8_000_000


def without_name(layout: Layout) -> Layout:
    return replace(layout, elements=tuple(e for e in layout.elements if e.field != "beneficiary"))


def as_json(payment: Payment) -> dict[str, object]:
    return {
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "beneficiary": payment.beneficiary,
        "date": payment.day.isoformat(),
        "goods": payment.goods,
    }


@pytest.fixture(scope="module")
def model() -> MultimodalModel:
    (built,) = served_models(ServiceSettings(intra_op_threads=1))
    assert isinstance(built, MultimodalModel)
    built.load()
    return built


@pytest.fixture(scope="module")
def documents() -> list[tuple[Payment, bytes]]:
    """Six cheques and receipts that show the beneficiary by its emblem alone, two payments of each amount."""
    layouts = [without_name(x) for x in HELD_OUT_LAYOUTS if x.kind in ("cheque", "receipt")]
    drawn = []
    for number in range(6):
        rng = np.random.default_rng([SEED, number // 2])
        payment = replace(draw_payment(rng), brand=(5 + 17 * number) % 48)
        picture = draw_original(layouts[number % len(layouts)], np.random.default_rng([SEED, 50 + number]), payment)
        drawn.append((payment, capture.to_jpeg(picture.pixels, 92)))
    return drawn


def an_instance(jpeg: bytes, payment: object) -> dict[str, object]:
    image = Image.open(io.BytesIO(jpeg))
    return {"image": ImageContent(jpeg, "image/jpeg", image.width, image.height), "payment": payment}


@pytest.fixture(scope="module")
def prepared(model, documents):
    return [model.preprocess(an_instance(jpeg, as_json(payment))) for payment, jpeg in documents]


def test_the_files_are_those_of_the_card() -> None:
    folder = ServiceSettings().models_dir / FOLDER
    card = json.loads((folder / "card.json").read_text())
    assert card["licence"] == "Apache-2.0"
    for name, entry in card["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"]


def test_documents_are_nearest_to_their_own_payments(model, prepared) -> None:
    answers = model.predict(prepared)
    similarity = (
        np.stack([a["document_embedding"] for a in answers]) @ np.stack([a["payment_embedding"] for a in answers]).T
    )
    assert (similarity.argmax(axis=1) == np.arange(len(prepared))).mean() >= 0.6


def test_embeddings_are_unit_vectors_of_256(model, prepared) -> None:
    for answer in model.predict(prepared[:2]):
        for name in ("document_embedding", "payment_embedding"):
            assert answer[name].shape == (256,)
            assert np.linalg.norm(answer[name]) == pytest.approx(1.0, abs=1e-4)
        assert 0.0 <= answer["match_probability"] <= 1.0
        assert answer["degraded"] == []


def test_a_payment_of_another_amount_disagrees_in_that_field_and_matches_less(model, prepared) -> None:
    for item in prepared:
        found = {field["field"]: field for field in model.predict([item])[0]["fields"]}
        if found["amount"]["agrees"]:
            break
    else:
        pytest.fail("no amount was read on any of six documents")
    other = {**item.payment, "amount_minor": item.payment["amount_minor"] * 3 + 77}
    wrong = dataclasses.replace(item, payment=other)
    amount = next(f for f in model.predict([wrong])[0]["fields"] if f["field"] == "amount")
    assert amount["agrees"] is False
    assert amount["read"]


def test_an_explanation_names_the_fields_within_three_seconds(model, documents) -> None:
    payment, jpeg = documents[0]
    started = time.process_time()
    answer = model.explain(model.preprocess(an_instance(jpeg, as_json(payment))), {})
    assert time.process_time() - started < 3.0
    assert {f["value"]["field"] for f in answer["report"]["findings"] if f["source"] == "field"} == {
        "amount",
        "date",
        "beneficiary",
        "goods",
    }


def test_a_payment_of_the_wrong_form_is_refused(model, documents) -> None:
    with pytest.raises(InvalidInstanceError):
        model.preprocess(an_instance(documents[0][1], {"amount_minor": "many"}))
    with pytest.raises(InvalidInstanceError):
        model.preprocess(an_instance(documents[0][1], None))
