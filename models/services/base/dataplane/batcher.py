"""Dynamic batching: items of many requests are computed together, in one thread, one batch at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from models.services.base.dataplane.batch_queue import BatchQueue
from models.services.base.errors import ModelFailedError, NotReadyError, ServiceError

logger = logging.getLogger(__name__)

Run = Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]


@dataclass(slots=True)
class _Item:
    prepared: Any
    answer: asyncio.Future[Any]


class Batcher:
    """Gather items into batches and hand each caller its own answers.

    Parameters
    ----------
    run
        Computes a batch: as many results as items, in order. At most one call at a time.
    max_batch_size, max_delay_seconds, max_queue_size
        See `BatchQueue`.
    observe
        Told of every batch: its size, and how long its oldest item waited, in seconds.

    Notes
    -----
    An item whose caller has given up is not computed, unless its batch has begun. A batch that fails fails all callers
    in it: `run` is expected to fail for reasons of the model, since instances were checked before.
    """

    def __init__(
        self,
        run: Run,
        *,
        max_batch_size: int,
        max_delay_seconds: float,
        max_queue_size: int,
        observe: Callable[[int, float], None] = lambda size, waited: None,
    ) -> None:
        self._run = run
        self._queue: BatchQueue[_Item] = BatchQueue(max_batch_size, max_delay_seconds, max_queue_size)
        self._max_batch_size = max_batch_size
        self._observe = observe
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to compute; call it in the running loop."""
        self._worker = asyncio.get_running_loop().create_task(self._work(), name="batcher")

    async def close(self) -> None:
        """Compute nothing more; callers that wait get `NotReadyError`."""
        self._closed = True
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        while items := self._queue.take():
            for item in items:
                _fail(item, NotReadyError("the service is ending: ask again"))

    async def submit(self, prepared: Sequence[Any]) -> list[Any]:
        """Have items computed, in any batches; returns their results in order.

        Raises
        ------
        QueueFullError
            At once, if the queue has no room for all of them.
        NotReadyError
            If the service ends.
        ModelFailedError
            If the model raised for a batch with one of the items.
        """
        if self._closed:
            raise NotReadyError("the service is ending: ask again")
        loop = asyncio.get_running_loop()
        items = [_Item(one, loop.create_future()) for one in prepared]
        was_due = self._is_full()
        empty = not len(self._queue)
        self._queue.add(items, loop.time())
        if empty or (self._is_full() and not was_due):
            self._wake.set()
        try:
            return list(await asyncio.gather(*(item.answer for item in items)))
        finally:
            for item in items:
                item.answer.cancel()

    def _is_full(self) -> bool:
        return len(self._queue) >= self._max_batch_size

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_at = self._queue.due_at()
            wait = None if due_at is None else due_at - loop.time()
            if wait is None or wait > 0:
                self._wake.clear()
                handle = None if wait is None else loop.call_later(wait, self._wake.set)
                await self._wake.wait()
                if handle is not None:
                    handle.cancel()
                continue
            oldest = self._queue.oldest()
            items = [item for item in self._queue.take() if not item.answer.done()]
            if items:
                assert oldest is not None
                self._observe(len(items), loop.time() - oldest)
                await self._compute(items)

    async def _compute(self, items: list[_Item]) -> None:
        try:
            results = await self._run([item.prepared for item in items])
            if len(results) != len(items):
                raise ModelFailedError(f"the model gave {len(results)} results for {len(items)} instances")
        except asyncio.CancelledError:
            for item in items:
                _fail(item, NotReadyError("the service is ending: ask again"))
            raise
        except ServiceError as error:
            for item in items:
                _fail(item, error)
        except Exception as error:
            logger.exception("a batch of %d failed", len(items))
            failure = ModelFailedError(f"the model failed with {type(error).__name__}: see the service's log")
            failure.__cause__ = error
            for item in items:
                _fail(item, failure)
        else:
            for item, result in zip(items, results, strict=True):
                if not item.answer.done():
                    item.answer.set_result(result)


def _fail(item: _Item, error: ServiceError) -> None:
    if not item.answer.done():
        item.answer.set_exception(error)
        item.answer.exception()  # looked at: a caller that has gone leaves no "never retrieved" behind
