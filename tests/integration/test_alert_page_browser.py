"""The page of an alert in a real browser: a drawn forged document, what the shipped models say, a hostile memo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.cli.alert_page.page import alert_page
from models.services.base.model import ImageContent
from models.services.base.settings import ServiceSettings
from models.services.multimodal.model import MultimodalModel
from models.services.text import served_models as text_models
from models.services.vision.model import VisionModel
from models.training.documents.sample import Sample, draw_sample
from tests.browser import Page, find_browser, headless
from tests.dossiers import a_dossier

BROWSER = find_browser()
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no browser of the Chromium family is on PATH; WEIR_TEST_BROWSER names one elsewhere"
)

HOSTILE_MEMO = "<script>window.intruder = 1</script><img src=x onerror='window.intruder = 2'>"
PICTURES = "Array.from(document.images, image => [image.className, image.complete, image.naturalWidth])"


def explanations(sample: Sample) -> dict[str, Any]:
    """What the shipped models answer to `:explain`, asked as services ask them."""
    settings = ServiceSettings()
    height, width = sample.mask.shape
    image = ImageContent(sample.jpeg, "image/jpeg", width, height)
    payment = {
        "amount_minor": sample.payment.amount_minor + 100_000,
        "currency": sample.payment.currency,
        "beneficiary": sample.payment.beneficiary,
        "date": sample.payment.day.isoformat(),
    }
    instances = {
        "vision": (VisionModel(settings), {"image": image}),
        "multimodal": (MultimodalModel(settings), {"image": image, "payment": payment}),
        "text": (text_models(settings)[0], {"text": HOSTILE_MEMO}),
    }
    answers = {}
    for name, (model, instance) in instances.items():
        model.load()
        answers[name] = model.explain(model.preprocess(instance), {})
        model.close()
    return answers


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sample = draw_sample(3, "test", forgery="reused_template")
    assert sample.is_forged
    path = tmp_path_factory.mktemp("page") / "alert.html"
    hostile = {"account_id": "<b onclick=alert(1)>A1", "counterparty_id": '"><script>window.intruder = 3</script>'}
    path.write_text(alert_page(a_dossier(sample, explanations(sample), HOSTILE_MEMO, **hostile)))
    return path


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    assert BROWSER is not None
    with headless(BROWSER, tmp_path / "profile") as opened:
        yield opened


def test_document_and_heat_map_are_seen_and_the_memo_is_but_text(page: Page, page_file: Path) -> None:
    page.open(page_file)
    pictures = page.evaluate(PICTURES)
    assert [name for name, _, _ in pictures] == ["picture", "heat"]
    assert all(complete and width > 100 for _, complete, width in pictures), pictures
    assert page.evaluate("document.querySelector('#memo blockquote').textContent") == HOSTILE_MEMO
    assert page.evaluate("typeof window.intruder") == "undefined"
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert page.evaluate("document.querySelector('.disagrees') !== null")  # the amount is another one
    assert page.complaints == []
    assert page.requests == [page_file.as_uri()]


def test_the_slider_and_the_switch_move_the_heat_map(page: Page, page_file: Path) -> None:
    page.open(page_file)
    strength = "getComputedStyle(document.querySelector('.heat')).opacity"
    assert float(page.evaluate(strength)) == pytest.approx(0.65)
    page.evaluate(
        "(() => { const s = document.querySelector('input[type=range]'); s.value = 20;"
        " s.dispatchEvent(new Event('input')); })()"
    )
    assert float(page.evaluate(strength)) == pytest.approx(0.2)
    page.evaluate("document.querySelector('input[type=checkbox]').click()")
    assert float(page.evaluate(strength)) == 0
    assert page.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_screen_and_text_stands_out(
    page: Page, page_file: Path, width: int, scheme: str
) -> None:
    page.open(page_file, width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, ground = page.evaluate(
        "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
    )
    assert (sum(ink) > sum(ground)) == (scheme == "dark")
    assert page.complaints == []


def test_the_policy_stops_a_script_that_got_in(page: Page, page_file: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.html"
    spoilt.write_text(page_file.read_text().replace("<footer>", "<script>window.intruder = 4</script><footer>"))
    page.open(spoilt)
    assert page.evaluate("typeof window.intruder") == "undefined"
    assert any("Content Security Policy" in complaint for complaint in page.complaints)
