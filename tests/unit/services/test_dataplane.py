"""What happens to a request, whatever protocol it came by."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.services.base.dataplane.dataplane import MAX_VERSIONS, Dataplane
from models.services.base.dataplane.request import ImageReference, InlineImage, ModelRequest
from models.services.base.errors import (
    DeadlineExceededError,
    InvalidInstanceError,
    InvalidRequestError,
    ModelFailedError,
    ModelNotFoundError,
    NotFoundError,
    NotReadyError,
    QueueFullError,
    ReferenceRefusedError,
    RequestIdReusedError,
    TextTooLongError,
    TooManyInstancesError,
    VersionNotFoundError,
)
from models.services.base.settings import ServiceSettings
from tests.toy_service import ToyModel, an_image


def request(*memos: str, **fields: Any) -> ModelRequest:
    return ModelRequest("toy", [{"memo": memo} for memo in memos], **fields)


def serve(story: Any, *models: ToyModel, **settings: Any) -> ToyModel:
    """Run a story with a dataplane over loaded toys; returns the first."""
    toys = list(models) or [ToyModel()]

    async def main() -> None:
        dataplane = Dataplane(toys, ServiceSettings(**{"max_queue_delay_ms": 0, **settings}))
        await dataplane.load()
        try:
            async with asyncio.timeout(30):
                await story(dataplane)
        finally:
            for toy in toys:
                toy.gate.set()
            await dataplane.close()

    asyncio.run(main())
    return toys[0]


def test_requests_of_many_callers_share_a_batch_and_get_their_own_answers() -> None:
    async def story(dataplane: Dataplane) -> None:
        blocking = asyncio.create_task(dataplane.answer(request("wait")))
        await asyncio.to_thread(toy.predicting.wait, 10)
        asked = [asyncio.create_task(dataplane.answer(request("x" * n, "y"))) for n in range(1, 4)]
        while len(dataplane._served["toy"]["1"]._batcher) < 6:
            await asyncio.sleep(0.001)
        toy.gate.set()
        for n, answer in enumerate(await asyncio.gather(*asked), start=1):
            assert [int(one["length"]) for one in answer.results] == [n, 1]
            assert [one["echo"] for one in answer.results] == ["x" * n, "y"]
        await blocking

    toy = ToyModel()
    serve(story, toy)
    assert toy.batches == [1, 6]
    assert toy.closed


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (ModelRequest("none", [{"memo": "x"}]), ModelNotFoundError),
        (request("x", version="7"), VersionNotFoundError),
        (request("x", verb="dance"), NotFoundError),
        (request(), InvalidRequestError),
        (request(*"abcdef"), TooManyInstancesError),
        (ModelRequest("toy", [{}]), InvalidRequestError),
        (ModelRequest("toy", [{"memo": 3}]), InvalidRequestError),
        (ModelRequest("toy", [{"memo": "x", "nemo": "y"}]), InvalidRequestError),
        (request("x" * 101), TextTooLongError),
        (ModelRequest("toy", [{"memo": "x", "payment": ["y" * 101]}]), TextTooLongError),
        (ModelRequest("toy", [{"memo": "x", "image": "text"}]), InvalidRequestError),
        (ModelRequest("toy", [{"memo": "x", "image": ImageReference("file:///etc/passwd")}]), ReferenceRefusedError),
        (request("unusable"), InvalidInstanceError),
        (request("crash"), ModelFailedError),
        (request("fail"), ModelFailedError),
        (request("lie"), ModelFailedError),
    ],
)
def test_what_is_wrong_is_told_and_counted_and_the_next_request_is_answered(
    asked: ModelRequest, error: type[Exception]
) -> None:
    async def story(dataplane: Dataplane) -> None:
        with pytest.raises(error) as raised:
            await dataplane.answer(asked)
        assert len((await dataplane.answer(request("next"))).results) == 1
        outcomes = {
            sample.labels["outcome"]
            for family in text_string_to_metric_families(dataplane.metrics.exposition().decode())
            for sample in family.samples
            if sample.name == "weir_service_requests_total"
        }
        assert outcomes == {"ok", raised.value.code}

    serve(story, max_instances=5, max_text_characters=100)


def test_a_model_that_hangs_costs_the_caller_the_limit_and_no_more() -> None:
    async def story(dataplane: Dataplane) -> None:
        with pytest.raises(DeadlineExceededError):
            await dataplane.answer(request("wait"))

    serve(story, answer_timeout_seconds=0.1)


def test_a_full_queue_is_told_at_once() -> None:
    async def story(dataplane: Dataplane) -> None:
        blocking = asyncio.create_task(dataplane.answer(request("wait")))
        await asyncio.to_thread(toy.predicting.wait, 10)
        waiting = asyncio.create_task(dataplane.answer(request("a", "b")))
        while not len(dataplane._served["toy"]["1"]._batcher):
            await asyncio.sleep(0.001)
        with pytest.raises(QueueFullError) as raised:
            await dataplane.answer(request("c"))
        assert raised.value.retry_after_seconds == 1
        toy.gate.set()
        await asyncio.gather(blocking, waiting)

    toy = ToyModel()
    serve(story, toy, max_queue_size=2, max_instances=2)


def test_a_repeated_request_gets_the_answer_of_the_first_even_from_a_new_default_version() -> None:
    async def story(dataplane: Dataplane) -> None:
        asked = request("hello", request_id="r1", fingerprint=b"1")
        first = await dataplane.answer(asked)
        await dataplane.answer(request("x", verb="learn", parameters={"tag": "k"}))
        again = await dataplane.answer(asked)
        assert (first.model_version, first.reused) == ("1", False)
        assert (again.model_version, again.reused) == ("1", True)
        with pytest.raises(RequestIdReusedError):
            await dataplane.answer(request("other", request_id="r1", fingerprint=b"2"))

    assert serve(story).batches == [1]


def test_an_action_makes_a_new_default_and_older_versions_stay_served_and_pinned() -> None:
    async def story(dataplane: Dataplane) -> None:
        learned = await dataplane.answer(request("a", "b", verb="learn", parameters={"tag": "k"}))
        assert learned.body == {"learned": 2}
        assert learned.model_version == "1.k"
        assert dataplane.versions("toy") == ["1.k", "1"]
        assert (await dataplane.answer(request("x"))).model_version == "1.k"
        assert (await dataplane.answer(request("x", version="1"))).model_version == "1"

    serve(story)


def test_learned_versions_are_bounded_and_the_first_one_stays() -> None:
    async def story(dataplane: Dataplane) -> None:
        for n in range(2 * MAX_VERSIONS):
            await dataplane.answer(request("a", verb="learn", parameters={"tag": str(n)}))
        versions = dataplane.versions("toy")
        assert len(versions) == MAX_VERSIONS
        assert "1" in versions
        assert (await dataplane.answer(request("x"))).model_version == versions[0]

    serve(story)


def test_nothing_is_answered_before_the_model_is_loaded() -> None:
    async def main() -> None:
        dataplane = Dataplane([ToyModel()], ServiceSettings())
        assert not dataplane.is_ready()
        with pytest.raises(NotReadyError):
            await dataplane.answer(request("x"))
        await dataplane.load()
        assert dataplane.is_ready("toy", "1")
        await dataplane.close()

    asyncio.run(main())


def test_images_arrive_checked_and_by_reference_too(tmp_path: Any) -> None:
    image = an_image("JPEG", (64, 48))
    (tmp_path / "a.jpg").write_bytes(image)

    async def story(dataplane: Dataplane) -> None:
        inline = {"memo": "x", "image": InlineImage(image)}
        referred = {"memo": "x", "image": ImageReference(f"file://{tmp_path}/a.jpg")}
        answer = await dataplane.answer(ModelRequest("toy", [inline, referred]))
        assert [one["half"].tolist() for one in answer.results] == [[0.5, 64.0]] * 2

    serve(story, evidence_roots=(str(tmp_path),))


def test_explanations_have_their_parameters() -> None:
    async def story(dataplane: Dataplane) -> None:
        answer = await dataplane.answer(request("why", verb="explain", parameters={"deep": True}))
        assert answer.results == [{"memo": "why", "parameters": {"deep": True}}]

    serve(story)


def test_batches_and_times_are_exported_under_kserves_names() -> None:
    async def story(dataplane: Dataplane) -> None:
        await dataplane.answer(request("a", "b", "c"))
        families = {f.name: f for f in text_string_to_metric_families(dataplane.metrics.exposition().decode())}
        for name in ("request_preprocess_seconds", "request_predict_seconds", "request_postprocess_seconds"):
            counts = {s.labels["model_name"]: s.value for s in families[name].samples if s.name == f"{name}_count"}
            assert counts == {"toy": 1.0}
        buckets = {
            s.labels["le"]: s.value
            for s in families["weir_service_batch_size"].samples
            if s.name == "weir_service_batch_size_bucket"
        }
        assert (buckets["2.0"], buckets["4.0"]) == (0.0, 1.0)

    serve(story)
