"""A store that goes on with other windows answers as one that had them from the start."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.entity_store import EntityStore, SnapshotError
from models.features.parted_store import PartedEntityStore
from models.features.store_spec import Column, Statistic, StoreSpec, Track
from models.state_map import MemoryState
from tests.unit.features.streams import DELAY, a_label_touch, events_to_touches

LATENESS = 300


def a_spec(windows: tuple[int, ...], kinds: tuple[Statistic, ...], promote_above: int) -> StoreSpec:
    def columns(track: Track) -> tuple[Column, ...]:
        found = kinds if track != Track.FRAUD else (Statistic.COUNT, Statistic.SECONDS_SINCE_LAST)
        own = [Column(f"{track.name}_{k.name}_{w}", track, k, w) for k in found for w in windows]
        return (*own, *(Column(f"{track.name}_{w}_old", track, Statistic.COUNT, w, DELAY) for w in windows[:1]))

    both = (*columns(Track.OUT), *columns(Track.IN), *columns(Track.FRAUD))
    return StoreSpec(both, both, columns(Track.USE), allowed_lateness_ms=LATENESS, promote_above=promote_above)


LONGEST = (100, 1_000)
specs = st.builds(
    a_spec,
    st.sampled_from([(1_000,), (10, 1_000), (70, 400), (5,), LONGEST]),
    st.sampled_from([tuple(Statistic), (Statistic.SUM, Statistic.MAX), (Statistic.DISTINCT, Statistic.PAIR_SUM)]),
    st.sampled_from([2, 4, 64]),
)
events = st.tuples(
    st.integers(0, LATENESS), st.integers(1, 6), st.integers(1, 6), st.none() | st.integers(1, 3), st.integers(0, 5_000)
)
blocks = st.lists(st.lists(events, max_size=6), min_size=10, max_size=25)


def touches_of(block: list[tuple[int, int, int, int | None, int]], number: int) -> np.ndarray:
    """Touches of a block, each late by no more than is allowed; some blocks also bring labels."""
    at = [(100 * number + time, *rest) for time, *rest in block]
    touches = events_to_touches(at) if at else a_label_touch(1, 1, 0)[:0]
    if number % 3 == 2:
        label = a_label_touch(2, number % 4, 100 * number, is_fraud=number % 2 == 0 or number < 9)
        return np.concatenate([touches, label])
    return touches


def test_windows_read_what_they_would_have_read_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed at any block, with a log alone, amid a flush, or after it; several times, as long as memory suffices."""
    rebuilt, made_over = EntityStore._rebuilt, []

    def counted(self: EntityStore) -> EntityStore:
        made_over.append(self.sequence)
        return rebuilt(self)

    monkeypatch.setattr(EntityStore, "_rebuilt", counted)
    goes_on_as_from_the_start()
    assert sum(sequence > 20 for sequence in made_over) > 10, "states were hardly ever made over"


@settings(max_examples=100, deadline=None)
@given(
    blocks=blocks,
    changes=st.lists(st.tuples(st.integers(3, 20), specs), min_size=1, max_size=3),
    flush_log_bytes=st.sampled_from([1, 300, 1 << 20]),
    pages_per_block=st.sampled_from([1, 64]),
)
def goes_on_as_from_the_start(
    blocks: list[list[tuple[int, int, int, int | None, int]]],
    changes: list[tuple[int, StoreSpec]],
    flush_log_bytes: int,
    pages_per_block: int,
) -> None:
    spec, state = a_spec(LONGEST, tuple(Statistic), 4), MemoryState()
    store = PartedEntityStore(spec, state, flush_log_bytes, pages_per_block, 0.0, parts=2)
    oracle = EntityStore(spec)
    past: list[np.ndarray] = []
    due = dict(changes)
    for number, block in enumerate(blocks):
        changed = due.get(number)
        if changed is not None and changed.retention_ms <= spec.retention_ms:
            spec, state = changed, state.copy()
            store = PartedEntityStore(spec, state, flush_log_bytes, pages_per_block, 0.0, parts=2)
            oracle = EntityStore(spec)
            for touches in past:
                oracle.apply(touches)
        elif number % 5 == 4:  # killed: what was made over is made over again
            state = state.copy()
            store = PartedEntityStore(spec, state, flush_log_bytes, pages_per_block, 0.0, parts=2)
        past.append(touches_of(block, number))
        assert store.apply(past[-1]).to_bytes() == oracle.apply(past[-1]).to_bytes(), f"block {number}"


def test_large_tracks_are_made_over_too() -> None:
    rng = np.random.default_rng(3)
    old, new = a_spec(LONGEST, tuple(Statistic), 4), a_spec((30, 500), tuple(Statistic), 16)
    state = MemoryState()
    store, oracle = PartedEntityStore(old, state, 1, 4, 0.0), EntityStore(new)
    for step in range(60):
        touches = events_to_touches([(7 * step + i, 1 + int(rng.integers(3)), 4, 1, 100 * i) for i in range(20)])
        store.apply(touches)
        oracle.apply(touches)
    made_over = PartedEntityStore(new, state.copy(), 1, 4, 0.0)
    for step in range(60, 80):
        touches = events_to_touches([(7 * step + i, 1 + int(rng.integers(3)), 4, 1, 100 * i) for i in range(20)])
        assert made_over.apply(touches).to_bytes() == oracle.apply(touches).to_bytes()


def test_windows_that_reach_further_back_than_the_state_are_refused() -> None:
    state = MemoryState()
    store = PartedEntityStore(a_spec((10,), tuple(Statistic), 4), state, 1, 4, 0.0)
    for number in range(20):
        store.apply(events_to_touches([(number, 1, 2, None, 5)]))
    with pytest.raises(SnapshotError, match="reach back"):
        PartedEntityStore(a_spec((10_000,), tuple(Statistic), 4), state.copy(), 1, 4, 0.0)
