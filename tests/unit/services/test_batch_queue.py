"""The queue against a naive oracle, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.services.base.dataplane.batch_queue import BatchQueue
from models.services.base.errors import QueueFullError

arrivals = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)), min_size=1, max_size=40)


def run(steps: list[tuple[int, int]], size: int, delay: int, work: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """Let requests of several items arrive and batches take `work` ticks; returns (start, items) of each batch."""
    queue: BatchQueue[tuple[int, int]] = BatchQueue(size, delay, max_size=10_000)
    at, coming = 0, []
    for number, (gap, count) in enumerate(steps):
        at += gap
        coming.append((at, [(number, k) for k in range(count)]))
    batches, free_at, now = [], 0, 0
    while coming or len(queue):
        while coming and coming[0][0] <= now:
            queue.add(coming[0][1], coming.pop(0)[0])
        due = queue.due_at()
        if due is not None and due <= now and free_at <= now:
            batches.append((now, queue.take()))
            free_at = now + work
        else:
            now += 1
    return batches


@given(arrivals, st.integers(1, 8), st.integers(0, 10), st.integers(1, 7))
def test_every_item_is_in_one_batch_in_the_order_of_arrival(steps, size: int, delay: int, work: int) -> None:
    batches = run(steps, size, delay, work)
    left = [item for _, batch in batches for item in batch]
    assert left == [(number, k) for number, (_, count) in enumerate(steps) for k in range(count)]
    assert all(1 <= len(batch) <= size for _, batch in batches)


@given(arrivals, st.integers(1, 8), st.integers(0, 10), st.integers(1, 7))
def test_no_item_waits_beyond_its_delay_while_nothing_is_computed(steps, size: int, delay: int, work: int) -> None:
    came, at = {}, 0
    for number, (gap, _) in enumerate(steps):
        at += gap
        came[number] = at
    free_at = 0
    for start, batch in run(steps, size, delay, work):
        oldest = min(came[number] for number, _ in batch)
        assert start <= max(free_at, oldest + delay)
        # And none leaves early: a batch that is not full has let its oldest item wait.
        assert len(batch) == size or start >= oldest + delay
        free_at = start + work


def test_a_request_that_does_not_fit_leaves_nothing_behind() -> None:
    queue: BatchQueue[str] = BatchQueue(max_batch_size=2, max_delay=1.0, max_size=3)
    queue.add(["a", "b"], now=0.0)
    with pytest.raises(QueueFullError, match="2 of 3 places"):
        queue.add(["c", "d"], now=0.0)
    assert queue.take() == ["a", "b"]
    assert queue.take() == []
    assert queue.due_at() is None
