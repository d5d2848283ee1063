"""A durable store that restarts at any block, in the middle of a flush too, answers as one that never stopped."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.durable_store import DurableEntityStore
from models.features.entity_store import EntityStore
from models.state_map import MemoryState
from tests.unit.features.streams import a_label_touch, a_spec, events_to_touches

MANY = settings(max_examples=60, deadline=None)
SPEC = a_spec()

events = st.tuples(
    st.integers(0, 1_500), st.integers(1, 6), st.integers(1, 6), st.none() | st.integers(1, 3), st.integers(0, 5_000)
)
blocks = st.lists(st.lists(events, max_size=6), min_size=1, max_size=25)


def touches_of(block: list[tuple[int, int, int, int | None, int]], number: int) -> np.ndarray:
    """Touches of a block; every fourth block also brings a label."""
    touches = events_to_touches(block) if block else a_label_touch(1, 1, 0)[:0]
    return np.concatenate([touches, a_label_touch(2, number, 10 * number)]) if number % 4 == 3 else touches


@MANY
@given(
    blocks=blocks,
    restarts=st.sets(st.integers(0, 24)),
    flush_log_bytes=st.sampled_from([1, 300, 2_000]),
    pages_per_block=st.sampled_from([1, 3, 64]),
)
def test_a_restart_at_any_block_gives_what_an_undisturbed_store_gives(
    blocks: list[list[tuple[int, int, int, int | None, int]]],
    restarts: set[int],
    flush_log_bytes: int,
    pages_per_block: int,
) -> None:
    plain = EntityStore(SPEC)
    state = MemoryState()
    durable = DurableEntityStore(SPEC, state, flush_log_bytes, pages_per_block, 0.0)
    for number, block in enumerate(blocks):
        touches = touches_of(block, number)
        if number in restarts:
            copied = state.copy()
            durable.apply(touches)  # lost with the process
            state = copied
            durable = DurableEntityStore(SPEC, state, flush_log_bytes, pages_per_block, 0.0)
        assert durable.apply(touches).to_bytes() == plain.apply(touches).to_bytes(), f"block {number}"


def test_log_and_pages_stay_bounded_and_a_restart_replays_little() -> None:
    rng = np.random.default_rng(1)
    state = MemoryState()
    durable = DurableEntityStore(SPEC, state, flush_log_bytes=5_000, pages_per_block=16, flush_log_share=0.0)
    plain = EntityStore(SPEC)
    for number in range(800):
        block = [(10 * number, int(a), int(b), None, 5) for a, b in rng.integers(1, 400, (3, 2))]
        touches = events_to_touches(block)
        durable.apply(touches)
        plain.apply(touches)
    entries = [key for key in state.blobs if 1 << 48 <= key < 2 << 48]
    log_bytes = sum(len(state.blobs[key]) for key in entries)
    # A flush lasts as many blocks as it has pages / 16; the log grows to its limit and by what comes meanwhile.
    assert log_bytes < 3 * 5_000, f"{log_bytes} bytes in {len(entries)} entries"
    pages = [key for key in state.blobs if key >= 2 << 48]
    assert len(pages) <= 2 * durable.store._used_pages()
    durable._flush_log_bytes = 1 << 30  # no further flush begins
    for _ in range(100):
        for store in (durable, plain):
            store.apply(events_to_touches([(8_000, 1, 2, None, 5)]))
    pages = [key for key in state.blobs if key >= 2 << 48]
    assert len(pages) == len(durable._slots), "pages that no manifest names were kept"
    restarted = DurableEntityStore(SPEC, state.copy(), 5_000, 16)
    touches = events_to_touches([(8_000, 3, 4, None, 5)])
    assert restarted.apply(touches).to_bytes() == plain.apply(touches).to_bytes()


def test_a_larger_store_is_flushed_after_a_longer_log() -> None:
    state = MemoryState()
    durable = DurableEntityStore(SPEC, state, flush_log_bytes=1, flush_log_share=0.1)
    limit = 0.1 * durable.store.counters["bytes"]
    written = 0
    while not any(key >= 2 << 48 for key in state.blobs):
        touches = events_to_touches([(written, 1 + written % 500, 2, None, 5)])
        durable.apply(touches)
        written += touches.nbytes
        assert written < 2 * limit, "the log is never flushed"
    assert written >= limit
