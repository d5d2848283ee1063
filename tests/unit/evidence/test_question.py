"""What is sent to a service, and which answers are believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evidence.errors import ServiceFailedError, ServiceRefusedError
from models.evidence.question import ServiceModel, error_of
from tests.evidence import an_alert, requests_for

MODEL = ServiceModel("vision", "forged_probability", ("image",))
REQUEST = requests_for(an_alert(), [("vision", "file:///e/a.png")], "1", memo="invoice 4711")[0]


def an_answer(**overrides: Any) -> dict[str, Any]:
    answer = {
        "model_name": "vision",
        "model_version": "1",
        "id": REQUEST["request_id"],
        "predictions": [{"forged_probability": 0.97, "kinds": [{"kind": "splice", "probability": 0.9}]}],
    }
    return {**answer, **overrides}


WITH_VECTOR = an_answer(predictions=[{"forged_probability": 0.5, "embedding": [0.25] * 128}])


def test_the_question_is_pinned_to_a_version_and_the_same_every_time() -> None:
    assert MODEL.path("1") == "/v1/models/vision/versions/1:predict"
    assert MODEL.path("a/../b") == "/v1/models/vision/versions/a%2F..%2Fb:predict"
    assert MODEL.path("") == "/v1/models/vision:predict"
    body = MODEL.body(REQUEST, an_alert())
    assert body == MODEL.body(dict(reversed(REQUEST.items())), an_alert())
    assert json.loads(body) == {"instances": [{"image": {"uri": "file:///e/a.png"}}]}


def test_each_service_is_shown_what_it_reads() -> None:
    multimodal = ServiceModel("multimodal", "1-match_probability", ("image", "payment"))
    (instance,) = json.loads(multimodal.body(REQUEST, an_alert()))["instances"]
    assert instance["payment"] == {
        "amount_minor": 4250,
        "currency": "EUR",
        "beneficiary": "merchant-1",
        "date": "2026-01-01",
        "goods": "invoice 4711",
    }
    odd = {**REQUEST, "memo": None}
    (instance,) = json.loads(multimodal.body(odd, an_alert(event_time_ms=2**62, counterparty_id="x" * 256)))[
        "instances"
    ]
    assert instance["payment"] == {"amount_minor": 4250, "currency": "EUR", "beneficiary": "x" * 200}
    text = ServiceModel("text", "risk", ("text",))
    assert json.loads(text.body(REQUEST, an_alert())) == {"instances": [{"text": "invoice 4711"}]}


def test_an_answer_is_read() -> None:
    answer = MODEL.answer(json.dumps(an_answer()).encode(), REQUEST)
    assert (answer.score, answer.model_version) == (0.97, "1")
    assert "embedding" not in MODEL.answer(json.dumps(WITH_VECTOR).encode(), REQUEST).findings
    assert answer.findings["kinds"] == '[{"kind": "splice", "probability": 0.9}]'
    opposite = ServiceModel("vision", "1-forged_probability", ("image",))
    assert opposite.answer(json.dumps(an_answer()).encode(), REQUEST).score == pytest.approx(0.03)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps([1]).encode(),
        json.dumps(an_answer(model_version="2")).encode(),
        json.dumps(an_answer(model_version=1)).encode(),
        json.dumps(an_answer(id="another")).encode(),
        json.dumps(an_answer(predictions=[])).encode(),
        json.dumps(an_answer(predictions={"forged_probability": 0.5})).encode(),
        json.dumps(an_answer(predictions=[{"forged_probability": 0.5}] * 2)).encode(),
        *(
            json.dumps(an_answer(predictions=[{"forged_probability": score}])).encode()
            for score in ("0.5", None, True, 1.01, -0.1, float("nan"), float("inf"), [0.5], 10**400)
        ),
    ],
)
def test_an_answer_that_is_not_what_the_protocol_says_is_not_believed(content: bytes) -> None:
    with pytest.raises(ServiceFailedError):
        MODEL.answer(content, REQUEST)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_nothing_that_is_json_gets_past_the_checks_as_another_error(prediction: Any) -> None:
    """Whatever a prediction holds beside the probability, the findings are short text."""
    content = json.dumps(an_answer(predictions=[{"forged_probability": 0.5, "more": prediction}])).encode()
    findings = MODEL.answer(content, REQUEST).findings
    assert all(isinstance(text, str) and len(text) <= 200 for text in findings.values())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415])
def test_a_status_that_will_not_change_is_a_refusal(status: int) -> None:
    assert isinstance(error_of(status, b"", None), ServiceRefusedError)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_status_that_may_change_is_asked_again(status: int) -> None:
    error = error_of(status, b'{"error": "busy", "code": "queue_full"}', "2")
    assert isinstance(error, ServiceFailedError)
    assert (error.is_retryable, error.retry_after_seconds) == (True, 2.0)
    assert str(error) == f"{status} queue_full: busy"


def test_a_redirect_is_no_answer() -> None:
    error = error_of(302, b"", None)
    assert isinstance(error, ServiceFailedError)
    assert not error.is_retryable
