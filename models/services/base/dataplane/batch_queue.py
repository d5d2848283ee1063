"""Which waiting items make the next batch, and when: pure, the time is an argument.

Items leave in the order in which they came. A batch leaves when it is full, or when its oldest item has waited long
enough; while a batch is being computed the next one gathers, so that under load nobody waits for the clock.

>>> queue = BatchQueue(max_batch_size=2, max_delay=0.005, max_size=3)
>>> queue.add(["a"], now=1.0); queue.due_at()
1.005
>>> queue.add(["b", "c"], now=1.001); queue.due_at()
1.0
>>> queue.take(), queue.take()
(['a', 'b'], ['c'])
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from models.services.base.errors import QueueFullError

T = TypeVar("T")


class BatchQueue(Generic[T]):
    """A bounded queue whose items leave in batches.

    Parameters
    ----------
    max_batch_size
        Most items of a batch.
    max_delay
        Longest that an item waits for others, in the unit of `now`.
    max_size
        Most items that wait.
    """

    def __init__(self, max_batch_size: int, max_delay: float, max_size: int) -> None:
        self._max_batch_size = max_batch_size
        self._max_delay = max_delay
        self._max_size = max_size
        self._items: deque[tuple[float, T]] = deque()

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._items)

    def add(self, items: Sequence[T], now: float) -> None:
        """Append all of the items, or none of them.

        Raises
        ------
        QueueFullError
            If they would not all find room.
        """
        if len(self._items) + len(items) > self._max_size:
            raise QueueFullError(
                f"{len(self._items)} of {self._max_size} places of the queue are taken, and the request needs "
                f"{len(items)}: ask again after Retry-After"
            )
        self._items.extend((now, item) for item in items)

    def due_at(self) -> float | None:
        """When the next batch should leave: a moment past or to come; None if nothing waits."""
        oldest = self.oldest()
        if oldest is None:
            return None
        return oldest if len(self._items) >= self._max_batch_size else oldest + self._max_delay

    def oldest(self) -> float | None:
        """When the item that waits longest came; None if nothing waits."""
        return self._items[0][0] if self._items else None

    def take(self) -> list[T]:
        """Remove the next batch: 0 to `max_batch_size` items."""
        return [self._items.popleft()[1] for _ in range(min(self._max_batch_size, len(self._items)))]
