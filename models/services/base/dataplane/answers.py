"""Answers kept by request id, so that a repeated request is not computed twice and gets the same answer.

Bounded by number, by bytes and by age; the oldest go first. A request that comes while the first of its id is still
being computed waits for that one. Failures are not kept: the next attempt is computed.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from models.services.base.errors import RequestIdReusedError

T = TypeVar("T")
Key = tuple[str, ...]


@dataclass(slots=True)
class _Entry(Generic[T]):
    fingerprint: bytes
    answer: T
    size: int
    expires: float


@dataclass(slots=True)
class _Running(Generic[T]):
    fingerprint: bytes
    task: asyncio.Task[T]


class Answers(Generic[T]):
    """A bounded cache of answers by request id.

    Parameters
    ----------
    max_answers, max_bytes, ttl_seconds
        Bounds; `max_answers` 0 keeps nothing (requests at the same time still share).
    size_of
        Bytes that an answer counts as.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        max_answers: int,
        max_bytes: int,
        ttl_seconds: float,
        size_of: Callable[[T], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._ttl_seconds = ttl_seconds
        self._size_of = size_of
        self._clock = clock
        self._kept: OrderedDict[Key, _Entry[T]] = OrderedDict()
        self._running: dict[Key, _Running[T]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        """Answers kept."""
        return len(self._kept)

    async def get(self, key: Key, fingerprint: bytes, compute: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """Return the answer for `key`, and whether it was computed for an earlier request.

        A caller that gives up does not stop a computation that others may wait for.

        Raises
        ------
        RequestIdReusedError
            If the id was used with another body.
        Exception
            What `compute` raises.
        """
        self._forget_expired()
        if (entry := self._kept.get(key)) is not None:
            _check(entry.fingerprint, fingerprint)
            return entry.answer, True
        if (running := self._running.get(key)) is not None:
            _check(running.fingerprint, fingerprint)
            return await asyncio.shield(running.task), True
        task = asyncio.ensure_future(self._compute(key, fingerprint, compute))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # all callers may have gone
        self._running[key] = _Running(fingerprint, task)
        return await asyncio.shield(task), False

    async def _compute(self, key: Key, fingerprint: bytes, compute: Callable[[], Awaitable[T]]) -> T:
        try:
            answer = await compute()
            self._keep(key, fingerprint, answer)
            return answer
        finally:
            del self._running[key]

    def _keep(self, key: Key, fingerprint: bytes, answer: T) -> None:
        size = self._size_of(answer)
        if not self._max_answers or size > self._max_bytes:
            return
        self._kept[key] = _Entry(fingerprint, answer, size, self._clock() + self._ttl_seconds)
        self.bytes += size
        while len(self._kept) > self._max_answers or self.bytes > self._max_bytes:
            self._drop_oldest()

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._kept and next(iter(self._kept.values())).expires <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, entry = self._kept.popitem(last=False)
        self.bytes -= entry.size


def _check(known: bytes, given: bytes) -> None:
    if known != given:
        raise RequestIdReusedError("this request id was used with another body: send a new id, or the same body")
