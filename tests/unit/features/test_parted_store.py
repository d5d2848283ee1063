"""A store in parts answers as one in one piece, restarted at any block, in the middle of any part's flush too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.entity_store import EntityStore, SnapshotError
from models.features.parted_store import PARTS, PartedEntityStore
from models.state_map import MemoryState
from tests.unit.features.streams import a_label_touch, a_spec, events_to_touches

SPEC = a_spec()
PART = 1 << 52
LOG = 14 * PART

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
    flush_log_bytes=st.sampled_from([1, 300, 1_200, 8_000]),
    pages_per_block=st.sampled_from([1, 3, 64]),
    parts=st.sampled_from([1, 2, 3, 8]),
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
    parted = PartedEntityStore(SPEC, state, flush_log_bytes=8_000, pages_per_block=1, flush_log_share=0.0)
    written = set()
    for number in range(800):
        parted.apply(events_to_touches([(number, int(a), int(b), None, 5) for a, b in rng.integers(1, 400, (9, 2))]))
        assert sum(part.is_flushing for part in parted._parts) <= 1
        written |= {number for number, part in enumerate(parted._parts) if part.is_flushing}
    assert written == set(range(PARTS)), "every part has its turn"
    entities = [part.store.counters["entities"] for part in parted._parts]
    assert min(entities) > 0.05 * sum(entities)
    assert parted.counters["entities"] == sum(entities)


def test_state_of_a_store_in_one_piece_or_of_other_parts_is_refused() -> None:
    touches = events_to_touches([(1, 1, 2, None, 5)])
    state = MemoryState({0: b"a manifest of before there were parts"})
    with pytest.raises(SnapshotError, match="in one piece"):
        PartedEntityStore(SPEC, state)
    state = MemoryState()
    PartedEntityStore(SPEC, state, parts=3).apply(touches)
    with pytest.raises(SnapshotError, match="3 parts"):
        PartedEntityStore(SPEC, state)


def keys_of(state: MemoryState, first: int, end: int) -> list[int]:
    return [key for key in state.blobs if first <= key < end]


@pytest.mark.parametrize("parts", [1, 4])
def test_log_and_pages_stay_bounded_and_a_restart_replays_little(parts: int) -> None:
    rng = np.random.default_rng(1)
    state = MemoryState()
    parted = PartedEntityStore(SPEC, state, 5_000, 16, 0.0, parts)
    plain = EntityStore(SPEC)
    logged = []
    for number in range(800):
        block = [(10 * number, int(a), int(b), None, 5) for a, b in rng.integers(1, 400, (3, 2))]
        touches = events_to_touches(block)
        parted.apply(touches)
        plain.apply(touches)
        logged.append(sum(len(state.blobs[key]) for key in keys_of(state, LOG, LOG + PART)))
    # A part is saved in as many blocks as it has pages / 16; the log grows to its limit, and by what comes meanwhile.
    assert max(logged) < 3 * 5_000
    for number, part in enumerate(parted._parts):
        assert len(keys_of(state, number * PART + 1, (number + 1) * PART)) <= 2 * part.store._used_pages()
    parted._flush_log_bytes = 1 << 30  # no further flush begins
    for _ in range(100):
        for store in (parted, plain):
            store.apply(events_to_touches([(8_000, 1, 2, None, 5)]))
    for number, part in enumerate(parted._parts):
        pages = keys_of(state, number * PART + 1, (number + 1) * PART)
        assert len(pages) == len(part._slots), "pages that no manifest names were kept"
    oldest = min(part.log_start for part in parted._parts)
    assert min(keys_of(state, LOG, LOG + PART)) == LOG + oldest, "entries that no part needs were kept"
    restarted = PartedEntityStore(SPEC, state.copy(), 5_000, 16, 0.0, parts)
    touches = events_to_touches([(8_000, 3, 4, None, 5)])
    assert restarted.apply(touches).to_bytes() == plain.apply(touches).to_bytes()


def test_a_larger_store_is_flushed_after_a_longer_log() -> None:
    state = MemoryState()
    parted = PartedEntityStore(SPEC, state, flush_log_bytes=1, flush_log_share=0.1, parts=1)
    limit = 0.1 * parted.counters["bytes"]
    written = 0
    while not keys_of(state, 1, PART):
        touches = events_to_touches([(written, 1 + written % 500, 2, None, 5)])
        parted.apply(touches)
        written += touches.nbytes
        assert written < 2 * limit, "the log is never flushed"
    assert written >= limit


def test_a_missing_entry_of_the_log_is_an_error() -> None:
    state = MemoryState()
    parted = PartedEntityStore(SPEC, state)
    for number in range(3):
        parted.apply(events_to_touches([(number, 1, 2, None, 5)]))
    del state.blobs[LOG + 1]
    with pytest.raises(RuntimeError, match="entry 1 of the touch log is missing"):
        PartedEntityStore(SPEC, state)
