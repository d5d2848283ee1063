"""The batcher in a real event loop, where every step waits for the one before it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from models.services.base.dataplane.batcher import Batcher
from models.services.base.errors import ModelFailedError, NotReadyError, QueueFullError


class Model:
    """Doubles numbers when told to go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()
        self.busy = asyncio.Event()

    async def run(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.busy.set()
        await self.go.wait()
        if 13 in items:
            raise RuntimeError("unlucky")
        return [2 * item for item in items]


def with_batcher(story: Callable[[Batcher, Model], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def main() -> None:
        model = Model()
        settings = {"max_batch_size": 4, "max_delay_seconds": 0.0, "max_queue_size": 6, **options}
        batcher = Batcher(model.run, **settings)
        batcher.start()
        try:
            async with asyncio.timeout(10):
                await story(batcher, model)
        finally:
            await batcher.close()

    asyncio.run(main())


def test_what_comes_while_a_batch_is_computed_is_computed_together() -> None:
    async def story(batcher: Batcher, model: Model) -> None:
        first = asyncio.create_task(batcher.submit([1]))
        await model.busy.wait()
        others = [asyncio.create_task(batcher.submit([n])) for n in (2, 3, 4, 5, 6)]
        await asyncio.sleep(0)
        model.go.set()
        assert await first == [2]
        assert [await other for other in others] == [[4], [6], [8], [10], [12]]
        assert model.batches == [[1], [2, 3, 4, 5], [6]]

    with_batcher(story)


def test_a_full_queue_refuses_at_once_and_serves_the_others() -> None:
    async def story(batcher: Batcher, model: Model) -> None:
        running = asyncio.create_task(batcher.submit([1]))
        await model.busy.wait()
        waiting = asyncio.create_task(batcher.submit([2, 3, 4, 5, 6, 7]))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await batcher.submit([8])
        model.go.set()
        assert await running == [2]
        assert await waiting == [4, 6, 8, 10, 12, 14]

    with_batcher(story)


def test_an_item_whose_caller_gave_up_is_not_computed() -> None:
    async def story(batcher: Batcher, model: Model) -> None:
        running = asyncio.create_task(batcher.submit([1]))
        await model.busy.wait()
        given_up = asyncio.create_task(batcher.submit([2]))
        kept = asyncio.create_task(batcher.submit([3]))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        model.go.set()
        assert await running == [2]
        assert await kept == [6]
        assert model.batches == [[1], [3]]

    with_batcher(story)


def test_a_batch_that_fails_tells_its_callers_and_the_next_one_is_computed() -> None:
    async def story(batcher: Batcher, model: Model) -> None:
        model.go.set()
        with pytest.raises(ModelFailedError, match="RuntimeError"):
            await batcher.submit([13])
        assert await batcher.submit([5]) == [10]

    with_batcher(story)


def test_the_end_of_the_service_is_told_to_those_that_wait() -> None:
    async def story(batcher: Batcher, model: Model) -> None:
        running = asyncio.create_task(batcher.submit([1]))
        await model.busy.wait()
        waiting = asyncio.create_task(batcher.submit([2]))
        await asyncio.sleep(0)
        await batcher.close()
        for task in (running, waiting):
            with pytest.raises(NotReadyError):
                await task
        with pytest.raises(NotReadyError):
            await batcher.submit([3])

    with_batcher(story)


def test_a_full_batch_does_not_wait_for_the_clock() -> None:
    async def story(batcher: Batcher, model: Model) -> None:
        model.go.set()
        # The delay is far longer than the test may take.
        assert await batcher.submit([1, 2, 3, 4]) == [2, 4, 6, 8]

    with_batcher(story, max_delay_seconds=3600.0)
