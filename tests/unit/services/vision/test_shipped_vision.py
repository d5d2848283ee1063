"""The shipped vision model on documents drawn here, in layouts that it never saw: a floor, not the card's figure."""

import base64
import dataclasses
import hashlib
import io
import json
import time

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("font_roboto", reason="the documents extra is not installed")
pytest.importorskip("rapidocr_onnxruntime", reason="OCR cannot be loaded", exc_type=ImportError)

from models.services.base.errors import InvalidInstanceError
from models.services.base.model import ImageContent
from models.services.base.settings import ServiceSettings
from models.services.vision import served_models
from models.services.vision.model import FOLDER, VisionModel
from models.training.documents.capture import to_jpeg
from models.training.documents.forge import FORGERY_KINDS, forge
from models.training.documents.layouts import HELD_OUT_LAYOUTS, NEW_KIND_LAYOUTS
from models.training.documents.sample import GENUINE, Sample, draw_original, draw_sample

FIRST_SEED = 7_000_000
"""Far from the seeds of the card's held-out documents."""


@pytest.fixture(scope="module")
def model() -> VisionModel:
    (built,) = served_models(ServiceSettings(intra_op_threads=1))
    assert isinstance(built, VisionModel)
    built.load()
    return built


def an_instance(content: bytes, **others: object) -> dict[str, object]:
    image = Image.open(io.BytesIO(content))
    return {"image": ImageContent(content, "image/jpeg", image.width, image.height), **others}


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Two genuine and two forged documents in each held-out layout, every kind of forgery among them."""
    drawn = []
    for number, layout in enumerate(HELD_OUT_LAYOUTS):
        has_photo = any(element.name == "photo" for element in layout.elements)
        kinds = [kind for kind in FORGERY_KINDS if has_photo or kind != "replaced_photo"]
        for k in range(2):
            seed = FIRST_SEED + 10 * number + k
            forgery = "replaced_photo" if has_photo and k == 0 else kinds[(2 * number + k) % len(kinds)]
            drawn += [draw_sample(seed, "test", GENUINE, layout), draw_sample(seed + 5, "test", forgery, layout)]
    return drawn


@pytest.fixture(scope="module")
def predictions(model: VisionModel, samples: list[Sample]) -> list[dict]:
    return list(model.predict([model.preprocess(an_instance(sample.jpeg)) for sample in samples]))


def test_the_files_are_those_of_the_card() -> None:
    folder = ServiceSettings().models_dir / FOLDER
    card = json.loads((folder / "card.json").read_text())
    assert card["parameters"] <= 3_200_000
    assert card["licence"] == "Apache-2.0"
    for name, entry in card["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"]


def test_forged_documents_rank_above_genuine_ones_in_layouts_never_seen(samples, predictions) -> None:
    score = np.array([float(p["forged_probability"]) for p in predictions])
    forged = np.array([sample.is_forged for sample in samples])
    assert forged.sum() == len(samples) // 2
    pairs = score[forged][:, None] - score[~forged][None, :]
    auc = float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    assert auc >= 0.93, f"ROC AUC {auc:.3f} on {len(samples)} documents"


def test_the_kind_of_document_is_found_in_layouts_never_seen(samples, predictions) -> None:
    right = [p["document_kinds"][0]["kind"] == s.layout.kind for s, p in zip(samples, predictions, strict=True)]
    assert np.mean(right) >= 0.45, "chance is 0.25; the card says what was reached"


def test_the_same_picture_gets_the_same_answer_alone_and_in_a_batch(model, samples, predictions) -> None:
    for index in (0, 7):
        alone = model.predict([model.preprocess(an_instance(samples[index].jpeg))])[0]
        again = model.predict([model.preprocess(an_instance(samples[index].jpeg))])[0]
        assert alone["forged_probability"] == again["forged_probability"]
        assert alone["forged_probability"] == pytest.approx(float(predictions[index]["forged_probability"]), abs=1e-4)


def test_an_explanation_marks_the_edit_and_comes_within_three_seconds(model, samples) -> None:
    hits, tried = 0, 0
    for sample in samples:
        if not sample.is_forged:
            continue
        started = time.process_time()
        answer = model.explain(model.preprocess(an_instance(sample.jpeg)), {})
        assert time.process_time() - started < 3.0
        png = Image.open(io.BytesIO(base64.b64decode(answer["heat_map"]["b64"])))
        assert (png.height, png.width) == sample.mask.shape
        marked = np.zeros(sample.mask.shape, bool)
        for region in answer["regions"]:
            left, top, right, bottom = region["box"]
            marked[top:bottom, left:right] = True
        tried += 1
        hits += bool((marked & sample.mask).sum() >= 0.2 * sample.mask.sum())
    assert hits >= 0.7 * tried, f"{hits} of {tried} edits marked"


def test_the_report_rests_on_the_prediction(model, samples) -> None:
    payment = {"amount_minor": 123_456, "currency": "EUR", "date": "1999-01-31"}
    started = time.process_time()
    answer = model.explain(model.preprocess(an_instance(samples[1].jpeg, payment=payment)), {"pixels": False})
    assert time.process_time() - started < 3.0
    assert "heat_map" not in answer
    assert {f["value"]["field"] for f in answer["report"]["findings"] if f["source"] == "field"} == {"amount", "date"}
    finding = next(f for f in answer["report"]["findings"] if f["source"] == "forged_probability")
    assert finding["value"]["forged_probability"] == pytest.approx(
        float(answer["prediction"]["forged_probability"]), abs=1e-4
    )


def test_a_new_kind_of_document_is_learned_from_five_samples_without_changing_the_old_version(model) -> None:
    grown = model
    for layout in NEW_KIND_LAYOUTS[:5]:
        instances = [an_instance(draw_sample(FIRST_SEED + i, "new", GENUINE, layout).jpeg) for i in range(5)]
        result = grown.actions["enrol"](instances, {"kind": layout.kind})
        assert result.model is not None
        grown = result.model
    assert grown.version != model.version
    assert model.predict([model.preprocess(instances[0])])[0]["enrolled"] == {"document": None, "forgery": None}
    queries = [
        (layout.kind, draw_sample(FIRST_SEED + 50 + i, "new", GENUINE, layout).jpeg)
        for layout in NEW_KIND_LAYOUTS[:5]
        for i in range(3)
    ]
    answers = grown.predict([grown.preprocess(an_instance(jpeg)) for _, jpeg in queries])
    right = [answer["enrolled"]["document"]["kind"] == kind for (kind, _), answer in zip(queries, answers, strict=True)]
    assert np.mean(right) >= 0.8


def test_a_kind_without_a_name_or_with_too_few_samples_is_refused(model, samples) -> None:
    instances = [an_instance(samples[0].jpeg)]
    with pytest.raises(InvalidInstanceError):
        model.actions["enrol"](instances * 5, {})
    with pytest.raises(InvalidInstanceError):
        model.actions["enrol"](instances, {"kind": "payslip"})
    with pytest.raises(InvalidInstanceError):
        model.actions["enrol"]([], {"kind": "payslip"})


def test_a_large_picture_is_cut_into_tiles_and_an_edit_in_one_of_them_counts(model) -> None:
    layout = next(layout for layout in HELD_OUT_LAYOUTS if layout.kind == "invoice")
    rng = np.random.default_rng(FIRST_SEED)
    original = draw_original(layout, rng, scale=1.6)
    edit = next(e for e in (forge("mismatched_font", original, original, rng) for _ in range(20)) if e is not None)
    scores = []
    for pixels in (edit.pixels, original.pixels):
        item = model.preprocess(an_instance(to_jpeg(pixels, 93)))
        assert item.page.is_tiled
        scores.append(float(model.predict([item])[0]["forged_probability"]))
    assert scores[0] > scores[1]


def test_what_is_no_picture_is_refused(model) -> None:
    with pytest.raises(InvalidInstanceError):
        model.preprocess({"image": ImageContent(b"not a picture", "image/png", 3, 3)})


def test_the_model_says_what_it_answers(model, samples, predictions) -> None:
    assert {output.name for output in model.outputs} == set(predictions[0])
    assert dataclasses.is_dataclass(model.outputs[0])
