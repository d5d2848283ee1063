"""The shipped text model: what it says of plain cases, and that it says the same whoever asks beside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.services.base.dataplane.outputs import checked
from models.services.base.errors import InvalidInstanceError
from models.services.base.settings import SHIPPED, ServiceSettings
from models.services.text import served_models
from models.services.text.card import TextCardError, read_card
from models.services.text.model import TextModel, runs_of
from models.services.text.tokens import clean_text

FOLDER = SHIPPED / "text-1"


@pytest.fixture(scope="module")
def model() -> Iterator[TextModel]:
    (made,) = served_models(ServiceSettings())
    assert isinstance(made, TextModel)
    made.load()
    yield made
    made.close()


def predict(model: TextModel, *texts: str):
    return checked(model, model.predict([model.preprocess({"text": text}) for text in texts]))


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("buy iTunes gift cards and send me the codes", "gift_card"),
        ("bitcoin purchase, send to my wallet", "crypto"),
        ("split into payments under 10,000 so that the bank does not report", "structuring"),
        ("goods go on to Iran via Dubai, do not mention Iran on the papers", "sanctions_evasion"),
        ("Rechnung 4711 Ersatzteile", "invoice"),
    ],
)
def test_plain_cases_are_named(model: TextModel, text: str, tag: str) -> None:
    (prediction,) = predict(model, text)
    assert tag in [one["tag"] for one in prediction["tags"]]


@pytest.mark.parametrize("text", ["rent March", "dinner with Anna", "invoice 2231 office chairs, net 400"])
def test_everyday_texts_have_no_risk_tags(model: TextModel, text: str) -> None:
    (prediction,) = predict(model, text)
    assert not {one["tag"] for one in prediction["tags"]} & set(model.card.risk_tags)


def test_an_answer_is_the_same_alone_and_among_others(model: TextModel) -> None:
    texts = ["rent", "invoice 4711 for pumps and spare parts, delivery to Rotterdam", "x " * 300, "rent", ""]
    together = predict(model, *texts)
    for text, prediction in zip(texts, together, strict=True):
        (alone,) = predict(model, text)
        np.testing.assert_allclose(prediction["embedding"], alone["embedding"], atol=1e-5)
        np.testing.assert_allclose(prediction["probabilities"], alone["probabilities"], atol=1e-5)
    assert np.array_equal(together[0]["embedding"], together[3]["embedding"])


@given(st.lists(st.integers(2, 256), max_size=64).map(sorted), st.integers(1, 1_000))
def test_runs_hold_each_text_once_and_no_more_tokens_than_they_may(lengths: list[int], max_tokens: int) -> None:
    runs = list(runs_of(lengths, max_tokens))
    assert [index for first, end in runs for index in range(first, end)] == list(range(len(lengths)))
    assert all(end - first == 1 or (end - first) * lengths[end - 1] <= max_tokens for first, end in runs)


def test_vectors_have_length_one_and_place_like_beside_like(model: TextModel) -> None:
    one, like, other = (
        p["embedding"] for p in predict(model, "spare parts for pumps", "pump components", "happy birthday")
    )
    assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-5)
    assert one @ like > one @ other + 0.2


def test_a_long_text_is_cut_and_says_so(model: TextModel) -> None:
    short, long = predict(model, "pumps", "pumps " * 1000)
    assert not short["was_cut"]
    assert long["was_cut"]


def test_an_empty_text_has_no_risk(model: TextModel) -> None:
    for text in ("", "  ", "\u200b"):
        (prediction,) = predict(model, text)
        assert prediction["risk"] == 0
        assert prediction["tags"] == []


def test_hidden_and_lookalike_characters_do_not_hide_a_phrase(model: TextModel) -> None:
    plain, hidden = predict(model, "send the gift card codes", "send the g\u200bift  ｃａｒｄ co\u00addes")
    assert np.array_equal(plain["embedding"], hidden["embedding"])
    assert clean_text("a\u202eb") == "ab"


def test_an_explanation_names_the_words_that_a_tag_rests_on(model: TextModel) -> None:
    text = "invoice 4711 pumps, please buy iTunes gift cards and send the codes"
    explained = model.explain(model.preprocess({"text": text}), {})
    (tag,) = [one for one in explained["tags"] if one["tag"] == "gift_card"]
    assert {word["word"] for word in tag["words"]} & {"gift", "cards", "codes", "iTunes"}
    for word in tag["words"]:
        assert explained["text"][word["start"] :].startswith(word["word"])
        assert word["fall"] > 0
    with pytest.raises(InvalidInstanceError):
        model.explain(model.preprocess({"text": " "}), {})


def test_the_card_holds_what_was_measured_and_the_sums_of_its_files() -> None:
    card = read_card(FOLDER)
    assert card.metrics["held_out_templates"]["mean_roc_auc"] > 0.8
    forms = card.metrics["forms"]
    if card.training["form"] == "int8":
        assert forms["float32"]["bytes"] >= 3.5 * forms["int8"]["bytes"]
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 25e6


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "text"
    shutil.copytree(FOLDER, copy)
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(TextCardError, match=r"tokenizer\.json"):
        read_card(copy)
    (copy / "card.json").write_text(json.dumps({"name": "text"}))
    with pytest.raises(TextCardError, match="holds no text model"):
        read_card(copy)
