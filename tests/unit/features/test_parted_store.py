"""A store in parts answers as one in one piece, restarted at any block, in the middle of any part's flush too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.durable_store import DurableEntityStore
from models.features.entity_store import EntityStore, SnapshotError
from models.features.parted_store import PARTS, PartedEntityStore
from models.state_map import MemoryState
from tests.unit.features.streams import a_label_touch, a_spec, events_to_touches

SPEC = a_spec()
PAGES = 2 << 48

events = st.tuples(
    st.integers(0, 1_500), st.integers(1, 9), st.integers(1, 9), st.none() | st.integers(1, 3), st.integers(0, 5_000)
)
blocks = st.lists(st.lists(events, max_size=6), min_size=1, max_size=25)


def touches_of(block: list[tuple[int, int, int, int | None, int]], number: int) -> np.ndarray:
    """Touches of a block; every fourth block also brings a label, in front."""
    touches = events_to_touches(block) if block else a_label_touch(1, 1, 0)[:0]
    return np.concatenate([a_label_touch(2, number, 10 * number), touches]) if number % 4 == 0 else touches


@settings(max_examples=60, deadline=None)
@given(
    blocks=blocks,
    restarts=st.sets(st.integers(0, 24)),
    flush_log_bytes=st.sampled_from([4, 1_200, 8_000]),
    pages_per_block=st.sampled_from([1, 3, 64]),
    parts=st.sampled_from([1, 3, 4, 8]),
)
def test_it_answers_as_a_store_in_one_piece(
    blocks: list[list[tuple[int, int, int, int | None, int]]],
    restarts: set[int],
    flush_log_bytes: int,
    pages_per_block: int,
    parts: int,
) -> None:
    plain = EntityStore(SPEC)
    state = MemoryState()
    parted = PartedEntityStore(SPEC, state, flush_log_bytes, pages_per_block, 0.0, parts)
    for number, block in enumerate(blocks):
        touches = touches_of(block, number)
        if number in restarts:
            copied = state.copy()
            parted.apply(touches)  # lost with the process
            state = copied
            parted = PartedEntityStore(SPEC, state, flush_log_bytes, pages_per_block, 0.0, parts)
        assert parted.apply(touches).to_bytes() == plain.apply(touches).to_bytes(), f"block {number}"


def test_entities_are_spread_and_one_part_at_a_time_is_flushed() -> None:
    rng = np.random.default_rng(1)
    state = MemoryState()
    parted = PartedEntityStore(SPEC, state, flush_log_bytes=4_000, pages_per_block=1, flush_log_share=0.0)
    written = set()
    for number in range(400):
        parted.apply(events_to_touches([(number, int(a), int(b), None, 5) for a, b in rng.integers(1, 400, (9, 2))]))
        assert sum(part.is_flushing for part in parted._parts) <= 1
        written |= {number for number, part in enumerate(parted._parts) if part.is_flushing}
    assert written == set(range(PARTS)), "every part has its turn"
    entities = [part.store.counters["entities"] for part in parted._parts]
    assert min(entities) > 0.1 * sum(entities)
    assert parted.counters["entities"] == sum(entities)


def test_state_of_a_store_in_one_piece_or_of_other_parts_is_refused() -> None:
    touches = events_to_touches([(1, 1, 2, None, 5)])
    state = MemoryState()
    DurableEntityStore(SPEC, state).apply(touches)
    with pytest.raises(SnapshotError, match="in one piece"):
        PartedEntityStore(SPEC, state)
    state = MemoryState()
    PartedEntityStore(SPEC, state, parts=3).apply(touches)
    with pytest.raises(SnapshotError, match="3 parts"):
        PartedEntityStore(SPEC, state)
