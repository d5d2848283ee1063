"""Requests end once and in time, whatever the service does; nothing here waits for real."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evidence.breaker import BreakerPolicy
from models.evidence.errors import ServiceFailedError, ServiceRefusedError
from models.evidence.gatherer import Answer, Gatherer, GatherPolicy
from models.evidence.retry import RetryPolicy
from tests.evidence import an_alert, requests_for
from tests.virtual_clock import run

ANSWER = Answer(0.9, {"kind": "splice"}, "1")
Behaviour = Callable[[], Coroutine[Any, Any, Answer]]


async def answers() -> Answer:
    await asyncio.sleep(0.05)
    return ANSWER


async def takes_5_seconds() -> Answer:
    await asyncio.sleep(5)
    return ANSWER


async def hangs() -> Answer:
    await asyncio.sleep(1e9)
    return ANSWER


async def fails() -> Answer:
    raise ServiceFailedError("500 model_failed: out of order")


async def asks_for_rest() -> Answer:
    raise ServiceFailedError("429 queue_full", retry_after_seconds=1.0)


async def breaks() -> Answer:
    raise OSError("connection reset")


async def refuses() -> Answer:
    raise ServiceRefusedError("415 unsupported_content: an SVG")


BEHAVIOURS = (answers, takes_5_seconds, hangs, fails, asks_for_rest, breaks, refuses)


class Service:
    """Behaves as the script says, call by call; its last line goes on for ever."""

    def __init__(self, *script: Behaviour) -> None:
        self._script = list(script)
        self.calls = 0
        self.most_at_once = 0
        self._now = 0

    async def __call__(self, request: Mapping[str, Any]) -> Answer:
        behaviour = self._script[min(self.calls, len(self._script) - 1)]
        self.calls += 1
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await behaviour()
        finally:
            self._now -= 1


def a_gatherer(service: Service, **policy: Any) -> Gatherer:
    return Gatherer(service, GatherPolicy(**policy), lambda: round(asyncio.get_event_loop().time() * 1000), lambda: 0.5)


def a_request(**overrides: Any) -> dict[str, Any]:
    return requests_for(an_alert(), [("vision", "file:///a.png")], requested_at_ms=0, **overrides)[0]


def ending_of(service: Service, **policy: Any) -> tuple[dict[str, Any], float]:
    async def gathered() -> tuple[dict[str, Any], float]:
        ending = await a_gatherer(service, **policy).gather(a_request())
        return ending, asyncio.get_running_loop().time()

    return run(gathered())


def test_an_answer_is_the_ending() -> None:
    ending, seconds = ending_of(Service(answers))
    assert (ending["status"], ending["score"], ending["findings"]) == ("answered", 0.9, {"kind": "splice"})
    assert (ending["attempts"], ending["model_version"], ending["answered_at_ms"]) == (1, "1", 50)
    assert seconds == pytest.approx(0.05)


def test_a_slow_answer_within_the_budget_counts() -> None:
    assert ending_of(Service(takes_5_seconds))[0]["status"] == "answered"


def test_a_service_that_hangs_costs_the_budget_and_no_more() -> None:
    ending, seconds = ending_of(Service(hangs))
    assert (ending["status"], ending["attempts"], ending["score"]) == ("timed_out", 2, None)
    assert seconds == pytest.approx(10.0)


def test_a_failure_is_asked_about_again_and_a_refusal_is_not() -> None:
    service = Service(fails, breaks, answers)
    assert ending_of(service)[0]["status"] == "answered"
    assert service.calls == 3
    service = Service(refuses)
    ending, _ = ending_of(service)
    assert (ending["status"], ending["reason"], service.calls) == ("refused", "415 unsupported_content: an SVG", 1)


def test_after_the_last_attempt_the_request_has_failed() -> None:
    service = Service(fails)
    ending, _ = ending_of(service)
    assert (ending["status"], ending["attempts"], service.calls) == ("failed", 3, 3)
    assert ending["reason"] == "500 model_failed: out of order"


def test_a_service_that_asks_for_rest_gets_it() -> None:
    _, seconds = ending_of(Service(asks_for_rest, answers))
    assert seconds == pytest.approx(1.0 + 0.1 + 0.05)


def test_a_request_whose_budget_is_over_is_not_asked_about() -> None:
    service = Service(answers)

    async def late() -> dict[str, Any]:
        await asyncio.sleep(10)
        return await a_gatherer(service).gather(a_request())

    assert run(late())["status"] == "timed_out"
    assert service.calls == 0


def test_a_clock_that_is_wrong_does_not_stretch_the_wait() -> None:
    async def from_the_future() -> float:
        await a_gatherer(Service(hangs)).gather(a_request() | {"requested_at_ms": 10**12})
        return asyncio.get_running_loop().time()

    assert run(from_the_future()) == pytest.approx(10.0)


def test_no_more_calls_at_a_time_than_allowed_and_those_that_wait_time_out() -> None:
    service = Service(takes_5_seconds)

    async def many() -> list[str]:
        gatherer = a_gatherer(service, concurrency=3)
        return [ending["status"] for ending in await asyncio.gather(*(gatherer.gather(a_request()) for _ in range(9)))]

    assert sorted(run(many())) == ["answered"] * 3 + ["timed_out"] * 6 or sorted(run(many()))[:3] == ["answered"] * 3
    assert service.most_at_once == 3


def test_a_service_that_fails_in_a_row_is_left_alone_and_then_tried_once() -> None:
    service = Service(*[fails] * 5, answers)

    async def story() -> None:
        gatherer = a_gatherer(service, retry=RetryPolicy(attempts=1), breaker=BreakerPolicy(5, 15.0))

        async def status() -> str:
            now_ms = round(asyncio.get_running_loop().time() * 1000)
            return str((await gatherer.gather(a_request() | {"requested_at_ms": now_ms}))["status"])

        assert [await status() for _ in range(7)] == ["failed"] * 5 + ["refused"] * 2
        assert service.calls == 5
        await asyncio.sleep(15)
        tried = await asyncio.gather(*(status() for _ in range(4)))
        assert sorted(tried) == ["answered"] + ["refused"] * 3
        assert [await status() for _ in range(3)] == ["answered"] * 3

    run(story())


def test_a_trial_that_hangs_is_short() -> None:
    service = Service(hangs)

    async def story() -> float:
        gatherer = a_gatherer(service, retry=RetryPolicy(attempts=1), breaker=BreakerPolicy(1, 0.0))
        await gatherer.gather(a_request())
        start = asyncio.get_running_loop().time()
        await gatherer.gather(a_request() | {"requested_at_ms": round(start * 1000)})
        return asyncio.get_running_loop().time() - start

    assert run(story()) == pytest.approx(2.0)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from(BEHAVIOURS), min_size=1, max_size=30),
    st.lists(st.floats(0, 30), min_size=1, max_size=30),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_every_request_ends_once_and_within_its_budget(
    script: list[Behaviour], arrivals: list[float], concurrency: int, attempts: int
) -> None:
    """The story of any service and any arrivals: one ending each, in time, and never more calls than allowed."""
    service = Service(*script)
    ended: list[tuple[float, float, dict[str, Any]]] = []

    async def one(gatherer: Gatherer, arrival: float) -> None:
        await asyncio.sleep(arrival)
        request = a_request() | {"requested_at_ms": round(arrival * 1000)}
        ending = await gatherer.gather(request)
        ended.append((arrival, asyncio.get_running_loop().time(), ending))

    async def story() -> None:
        gatherer = a_gatherer(service, concurrency=concurrency, retry=RetryPolicy(attempts=attempts))
        await asyncio.gather(*(one(gatherer, arrival) for arrival in arrivals))

    run(story())
    assert len(ended) == len(arrivals)
    assert all(end - start <= 10.0 + 0.002 for start, end, _ in ended)
    assert all((e["score"] is None) == (e["status"] != "answered") == bool(e["reason"]) for _, _, e in ended)
    assert all(ending["attempts"] <= attempts for _, _, ending in ended)
    assert service.most_at_once <= concurrency
