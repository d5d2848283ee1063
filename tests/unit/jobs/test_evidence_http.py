"""Calls over real sockets: what a service does on the wire is told apart, and nothing is awaited for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jobs.stream.evidence_http import HttpService
from models.evidence.errors import ServiceFailedError, ServiceRefusedError
from models.evidence.gatherer import Answer, Gatherer, GatherPolicy
from models.evidence.question import ServiceModel
from tests.evidence import an_alert, requests_for
from tests.side_service import VERSION, Behaviour, probability_of

MODEL = ServiceModel("vision", "probability", ("image",))


def a_request(mode: str) -> dict[str, Any]:
    return requests_for(an_alert(), [("vision", f"file:///e/a.png?mode={mode}")], VERSION)[0]


def asked(mode: str, ask: Callable[[HttpService, dict[str, Any]], Awaitable[Any]]) -> tuple[Any, Behaviour]:
    """Start the service in this process, ask it, and stop it."""

    async def story() -> tuple[Any, Behaviour]:
        behaviour = Behaviour(mode, slow_seconds=0.05)
        server = await asyncio.start_server(behaviour.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        service = HttpService(f"http://127.0.0.1:{port}/", "s3cret", MODEL, connections=4)
        try:
            return await ask(service, a_request(mode)), behaviour
        finally:
            server.close()
            await asyncio.sleep(0)

    return asyncio.run(story())


async def call(service: HttpService, request: dict[str, Any]) -> Answer:
    return await service(request)


@pytest.mark.parametrize("mode", ["fast", "slow"])
def test_an_answer_is_read(mode: str) -> None:
    answer, behaviour = asked(mode, call)
    assert answer.score == pytest.approx(probability_of(f"file:///e/a.png?mode={mode}"))
    assert behaviour.calls == {a_request(mode)["request_id"]: 1}


@pytest.mark.parametrize("mode", ["error", "reset", "lie", "flood"])
def test_what_is_no_answer_is_a_failure(mode: str) -> None:
    with pytest.raises(ServiceFailedError):
        asked(mode, call)


def test_a_refusal_is_one() -> None:
    with pytest.raises(ServiceRefusedError, match="415 unsupported_content"):
        asked("refuse", call)


def test_nobody_there_is_a_failure() -> None:
    async def nobody() -> None:
        await HttpService("http://127.0.0.1:9", None, MODEL, 1)(a_request("fast"))

    with pytest.raises(ServiceFailedError):
        asyncio.run(nobody())


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_a_service_that_never_ends_ends_with_the_budget(mode: str) -> None:
    async def gathered(service: HttpService, request: dict[str, Any]) -> dict[str, Any]:
        gatherer = Gatherer(service, GatherPolicy(budget_seconds=0.3), lambda: time.time_ns() // 10**6, lambda: 0.5)
        return await gatherer.gather(request)

    ending, _ = asked(mode, gathered)
    assert ending["status"] == "timed_out"
