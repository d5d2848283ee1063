"""Batches wait for their partials and are released in order, in any interleaving and over any restart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.features.partials import Partials
from models.scoring.home_batch import HomeBatch
from models.scoring.pending import Complete, PendingBatches
from models.state_map import MemoryState
from tests.builders import a_transaction, transaction_columns

MANY = settings(max_examples=300, deadline=None)
SHARDS = 3


def a_batch(sequence: int, entity_shards: int) -> bytes:
    columns = transaction_columns([a_transaction(transaction_id=f"t{sequence}")])
    numbers = np.array([sequence], np.int64)
    return HomeBatch(sequence, entity_shards, numbers, 0, columns, np.zeros(1, np.int32), numbers, numbers).to_bytes()


def some_partials(number: int) -> bytes:
    values, event = np.full((1, 1), float(number)), np.zeros(1, np.int32)
    sequence = np.array([number], np.int64)
    return Partials(values, event, sequence, values, event, sequence, values, event, sequence, sequence, 0).to_bytes()


@dataclass
class Story:
    """A home stage and its entity shards send what they have in their own order; the actions say who is next."""

    shards_of: list[int]  # bit mask of each batch
    actions: list[int]  # 0..SHARDS-1: that shard's next partial; SHARDS: next batch; +1: give up; +2: restart


stories = st.builds(
    Story,
    shards_of=st.lists(st.integers(1, 2**SHARDS - 1), max_size=6),
    actions=st.lists(st.integers(0, SHARDS + 2), max_size=60),
)


def play(story: Story) -> tuple[list[Complete], list[int], MemoryState]:
    """Return what was released, which sequences were given up, and the state at the end."""
    state = MemoryState()
    pending = PendingBatches(state)
    batches = list(range(len(story.shards_of)))
    partials = [[n for n in batches if story.shards_of[n] >> shard & 1] for shard in range(SHARDS)]
    released: list[Complete] = []
    given_up: list[int] = []
    # In the end everything arrives: first the rest of the batches, then the rest of the partials.
    rest = [SHARDS] * len(batches) + [shard for shard in range(SHARDS) for _ in batches]
    for action in [*story.actions, *rest]:
        if action < SHARDS and partials[action]:
            sequence = partials[action].pop(0)
            pending.add_partials(sequence, action, some_partials(10 * sequence + action))
        elif action == SHARDS and batches:
            sequence = batches.pop(0)
            assert pending.add_batch(a_batch(sequence, story.shards_of[sequence])) == sequence
        elif action == SHARDS + 1 and pending.oldest is not None:
            given_up.append(pending.oldest)
            released.append(pending.give_up())
        elif action == SHARDS + 2:
            state = state.copy()
            pending = PendingBatches(state)
        released += pending.release()
    assert len(pending) == 0
    return released, given_up, state


@MANY
@given(stories)
# Given up, restarted with nothing pending, and then the next batch but one after what the state remembers.
@example(Story([1, 1, 1], [3, 4, 3, 0, 0, 5, 3, 0]))
def test_every_batch_is_released_once_in_order_and_nothing_is_left(story: Story) -> None:
    released, given_up, state = play(story)
    assert [complete.batch.sequence for complete in released] == list(range(len(story.shards_of)))
    for sequence, complete in enumerate(released):
        came = [int(p.sequence[0]) - 10 * sequence for p in complete.partials]
        assert came == sorted(came)
        missing = story.shards_of[sequence] & ~sum(1 << shard for shard in came)
        assert complete.missing_shards == missing
        assert sequence in given_up or not missing
    assert all(key < 0 for key in state.blobs), "only the number of the next batch may stay"


def test_a_batch_waits_for_those_before_it() -> None:
    pending = PendingBatches(MemoryState())
    pending.add_batch(a_batch(0, 1))
    pending.add_batch(a_batch(1, 2))
    pending.add_partials(1, 1, some_partials(1))
    assert pending.release() == []
    pending.add_partials(0, 0, some_partials(2))
    assert [complete.batch.sequence for complete in pending.release()] == [0, 1]
    assert pending.oldest is None


def test_where_nothing_is_saved_what_an_earlier_run_saved_is_still_found_and_removed() -> None:
    state = MemoryState()
    before = PendingBatches(state)
    before.add_batch(a_batch(0, 0b11))
    before.add_partials(0, 0, some_partials(1))
    assert before.release() == []
    assert len(state.blobs) == 2
    pending = PendingBatches(state, is_saved=False)
    pending.add_batch(a_batch(1, 0b1))
    assert pending.release() == []
    assert len(state.blobs) == 2
    pending.add_partials(0, 1, some_partials(2))
    pending.add_partials(1, 0, some_partials(3))
    assert [complete.batch.sequence for complete in pending.release()] == [0, 1]
    assert not state.blobs


def test_what_completes_a_batch_never_gets_to_the_state() -> None:
    written = []

    class Watched(MemoryState):
        def put(self, key: int, value: bytes) -> None:
            written.append(key)
            super().put(key, value)

    state = Watched()
    pending = PendingBatches(state)
    pending.add_batch(a_batch(0, 0b11))
    assert pending.release() == []
    pending.add_partials(0, 0, some_partials(1))
    assert pending.release() == []
    assert written == sorted(state.keys())
    pending.add_partials(0, 1, some_partials(2))
    assert len(pending.release()) == 1
    assert len(written) == 2
    assert not list(state.keys())
