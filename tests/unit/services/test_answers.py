"""Answers by request id: once computed, once kept, within bounds."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.services.base.dataplane.answers import Answers
from models.services.base.errors import RequestIdReusedError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def cache(clock: Clock | None = None, **bounds: float) -> Answers[str]:
    options = {"max_answers": 10, "max_bytes": 1000, "ttl_seconds": 60.0, **bounds}
    return Answers(
        int(options["max_answers"]), int(options["max_bytes"]), options["ttl_seconds"], len, clock or Clock()
    )


async def answer(text: str) -> str:
    return text


def test_a_repeated_request_gets_the_first_answer() -> None:
    async def story() -> None:
        answers = cache()
        assert await answers.get(("m", "1"), b"f", lambda: answer("first")) == ("first", False)
        assert await answers.get(("m", "1"), b"f", lambda: answer("second")) == ("first", True)

    asyncio.run(story())


def test_requests_at_the_same_time_are_computed_once_even_if_the_first_caller_goes() -> None:
    async def story() -> None:
        answers, go, computed = cache(), asyncio.Event(), []

        async def compute() -> str:
            computed.append(1)
            await go.wait()
            return "done"

        first = asyncio.create_task(answers.get(("k",), b"f", compute))
        await asyncio.sleep(0)
        second = asyncio.create_task(answers.get(("k",), b"f", compute))
        await asyncio.sleep(0)
        first.cancel()
        go.set()
        assert await second == ("done", True)
        assert computed == [1]

    asyncio.run(story())


def test_another_body_under_the_same_id_is_refused() -> None:
    async def story() -> None:
        answers = cache()
        await answers.get(("k",), b"f", lambda: answer("x"))
        with pytest.raises(RequestIdReusedError):
            await answers.get(("k",), b"g", lambda: answer("y"))

    asyncio.run(story())


def test_a_failure_is_not_kept() -> None:
    async def story() -> None:
        answers = cache()

        async def fail() -> str:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await answers.get(("k",), b"f", fail)
        assert await answers.get(("k",), b"f", lambda: answer("yes")) == ("yes", False)

    asyncio.run(story())


def test_answers_expire() -> None:
    async def story() -> None:
        clock = Clock()
        answers = cache(clock)
        await answers.get(("k",), b"f", lambda: answer("old"))
        clock.now = 61.0
        assert await answers.get(("k",), b"f", lambda: answer("new")) == ("new", False)
        assert len(answers) == 1

    asyncio.run(story())


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 400)), max_size=80), st.integers(0, 8))
def test_the_cache_stays_within_its_bounds(requests: list[tuple[int, int]], most: int) -> None:
    async def story() -> None:
        answers = cache(max_answers=most)
        for name, size in requests:
            await answers.get((str(name),), b"f", lambda size=size: answer("x" * size))
            assert len(answers) <= most
            assert answers.bytes <= 1000
            kept = sum(entry.size for entry in answers._kept.values())
            assert answers.bytes == kept

    asyncio.run(story())
