"""The entity store against the oracle: order, lateness, ties, limits, labels, restarts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.features.entity_store import EntityStore, SnapshotError
from models.features.store_spec import DAY_MS, MAX_AMOUNT_MINOR, Column, Statistic, StoreSpec, Track
from models.features.touches import BENEFICIARY, LABEL, ORIGINATOR, TOUCH
from tests.unit.features.streams import (
    Touches,
    a_label_touch,
    a_spec,
    assert_like_oracle,
    events_to_touches,
    rows_in_order,
)

FEW_ENTITIES = st.integers(1, 3)
AMOUNTS = st.one_of(st.integers(0, 20), st.integers(0, MAX_AMOUNT_MINOR))
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def touch_streams(draw: st.DrawFn, most: int = 40, steps: tuple[int, int] = (-30, 60)) -> Touches:
    """Events and labels whose time moves on by a step at a time, backwards too."""
    time_ms, parts = 5_000, []
    for row in range(draw(st.integers(0, most))):
        time_ms += draw(st.integers(*steps))
        if draw(st.integers(0, 5)) == 0:
            at = time_ms - draw(st.integers(0, 200))
            parts.append(a_label_touch(draw(FEW_ENTITIES), draw(st.integers(1, 4)), at // 20 * 20, draw(st.booleans())))
        else:
            device = draw(st.one_of(st.none(), FEW_ENTITIES))
            touches = events_to_touches([(time_ms, draw(FEW_ENTITIES), draw(FEW_ENTITIES), device, draw(AMOUNTS))])
            touches["event"] = row
            parts.append(touches)
    return np.concatenate(parts) if parts else np.zeros(0, TOUCH)


def a_long_stream(seed: int, events: int, entities: int, late_share: float, late_by: int, step: int = 4) -> Touches:
    """A seeded stream, long enough for tracks to be promoted, to grow and to wrap around."""
    rng = np.random.default_rng(seed)
    times = 10_000 + np.cumsum(rng.integers(0, step, events))
    times -= np.where(rng.random(events) < late_share, rng.integers(0, late_by, events), 0)
    amounts = rng.choice([100, 999, 5_000, 5_000_000_000_000], events) + rng.integers(0, 3, events)
    account, counterparty = rng.integers(1, entities + 1, events), rng.integers(1, 3 * entities, events)
    device = np.where(rng.random(events) < 0.7, rng.integers(1, entities + 1, events), 0)
    rows = zip(times.tolist(), account.tolist(), counterparty.tolist(), device.tolist(), amounts.tolist(), strict=True)
    return events_to_touches([(t, a, c, d or None, v) for t, a, c, d, v in rows])


def dirty_pages_of(store: EntityStore) -> dict[int, bytes]:
    """Copies of the pages, which outlive the next call."""
    return {page: words.tobytes() for page, words in store.dirty_pages().items()}


@MANY
@given(touch_streams())
def test_every_statistic_is_that_of_the_oracle_for_late_equal_and_out_of_order_events(touches: Touches) -> None:
    assert_like_oracle(a_spec(), touches)


@MANY
@given(touch_streams(), st.integers(2, 12), st.integers(1, 12))
def test_results_do_not_depend_on_when_a_track_is_promoted_nor_exceed_its_limit(
    touches: Touches, promote_above: int, most: int
) -> None:
    assert_like_oracle(a_spec(promote_above=promote_above, max_touches_per_track=most), touches)


@MANY
@given(touch_streams(steps=(-400, 600)))
def test_entities_that_fall_idle_are_forgotten_without_a_trace_in_the_results(touches: Touches) -> None:
    # Events up to the allowed lateness behind the newest one: nothing they can see may have been evicted.
    times = touches["time_ms"]
    newest = np.maximum.accumulate(np.where(touches["role"] == LABEL, 0, times)) if len(times) else times
    touches["time_ms"] = np.maximum(times, newest - 400)
    assert_like_oracle(a_spec(allowed_lateness_ms=400), touches)


@pytest.mark.parametrize("late_share", [0.0, 0.1, 0.9])
@pytest.mark.parametrize(("entities", "most"), [(1, 16_384), (2, 40), (3, 300), (40, 16_384)])
def test_long_tracks_grow_wrap_and_forget_like_the_oracle(late_share: float, entities: int, most: int) -> None:
    touches = a_long_stream(entities, 300, entities, late_share, late_by=250)
    assert_like_oracle(a_spec(max_touches_per_track=most), touches)


def test_a_busy_track_of_hundreds_of_items_agrees_with_the_oracle() -> None:
    spec = StoreSpec(
        originator=tuple(Column(f"{s.name}_{w}", Track.OUT, s, w) for s in Statistic for w in (500, 1_000)),
        allowed_lateness_ms=100,
    )
    touches = a_long_stream(5, 1_000, 1, 0.05, late_by=80)
    touches = touches[touches["role"] == ORIGINATOR]
    assert_like_oracle(spec, touches)


def blocks_of(touches: Touches, cuts: list[int]) -> list[Touches]:
    edges = [0, *sorted(c % (len(touches) + 1) for c in cuts), len(touches)]
    return [touches[a:b] for a, b in pairwise(edges)]


def assert_same(touches: Touches, left: list, right: list) -> None:
    for a, b in zip(rows_in_order(touches, left), rows_in_order(touches, right), strict=True):
        if a is not None and b is not None:
            assert a.tobytes() == b.tobytes()


@MANY
@given(touch_streams(), st.lists(st.integers(0, 200), max_size=5))
def test_results_do_not_depend_on_how_the_stream_is_cut_into_blocks(touches: Touches, cuts: list[int]) -> None:
    whole, cut = EntityStore(a_spec()), EntityStore(a_spec())
    expected = [whole.apply(touches)]
    found = [cut.apply(block) for block in blocks_of(touches, cuts)]
    assert_same(touches, expected, found)
    assert dirty_pages_of(whole) == dirty_pages_of(cut)
    assert np.concatenate([p.sequence for p in found]).tolist() == list(range(len(touches)))


@MANY
@given(touch_streams(), st.lists(st.integers(0, 200), max_size=4))
def test_a_store_restored_anywhere_goes_on_as_if_it_had_never_stopped(touches: Touches, cuts: list[int]) -> None:
    whole, store, pages = EntityStore(a_spec()), EntityStore(a_spec()), {}
    found = []
    for block in blocks_of(touches, cuts):
        found.append(store.apply(block))
        pages |= dirty_pages_of(store)
        store = EntityStore.restore(a_spec(), store.meta(), pages)
    assert_same(touches, [whole.apply(touches)], found)
    every_page = dirty_pages_of(whole)
    assert {p: pages[p] for p in every_page} == every_page


def test_a_large_store_is_restored_page_by_page() -> None:
    touches = a_long_stream(9, 20_000, 4_000, 0.1, 100)
    store, pages = EntityStore(a_spec()), {}
    for block in np.array_split(touches, 5)[:4]:
        store.apply(block)
        pages |= dirty_pages_of(store)
    restored = EntityStore.restore(a_spec(), store.meta(), pages)
    last = np.array_split(touches, 5)[4]
    assert_same(last, [store.apply(last)], [restored.apply(last)])
    assert dirty_pages_of(store) == dirty_pages_of(restored)
    assert store.counters == restored.counters


def test_a_snapshot_is_refused_where_windows_reach_further_back_than_it_remembers() -> None:
    store = EntityStore(a_spec())
    with pytest.raises(SnapshotError, match="the windows now reach back"):
        EntityStore.restore(a_spec(allowed_lateness_ms=90 * DAY_MS), store.meta(), dirty_pages_of(store))


def test_a_snapshot_with_a_missing_page_is_refused() -> None:
    store = EntityStore(a_spec())
    pages = dirty_pages_of(store)
    del pages[0]
    with pytest.raises(SnapshotError, match="page 0"):
        EntityStore.restore(a_spec(), store.meta(), pages)


def test_only_pages_that_were_written_are_dirty() -> None:
    store = EntityStore(a_spec())
    store.apply(a_long_stream(3, 20_000, 5_000, 0, 1))
    everything = dirty_pages_of(store)
    store.apply(events_to_touches([(90_000, 1, 2, None, 5)]))
    assert 0 < len(dirty_pages_of(store)) < 10 < len(everything)
    assert dirty_pages_of(store) == {}


def test_idle_entities_leave_nothing_behind() -> None:
    store = EntityStore(a_spec())
    store.apply(a_long_stream(4, 2_000, 500, 0.1, 100))
    busy = store.counters
    ping = [(1_000_000 + i, 9_999, 9_998, None, 1) for i in range(8_000)]
    store.apply(events_to_touches(ping))
    assert busy["entities"] > 500
    assert busy["pairs"] > 10
    assert store.counters["entities"] == 2
    assert store.counters["evicted_entities"] == busy["entities"]
    assert store.counters["pairs"] == 2


def test_memory_stays_bounded_while_entities_come_and_go() -> None:
    store, sizes = EntityStore(a_spec()), []
    for generation in range(20):
        touches = a_long_stream(4, 4_000, 2_000, 0.1, 100)
        touches["entity"] += np.uint64(generation * 10_000)
        touches["time_ms"] += generation * 200_000
        store.apply(touches)
        sizes.append(store.counters["bytes"])
    assert sizes[-1] <= 1.05 * sizes[12]


def test_a_fraud_label_counts_once_and_a_later_legitimate_one_takes_it_back() -> None:
    spec = StoreSpec(originator=(Column("frauds", Track.FRAUD, Statistic.COUNT, 1_000),))
    event = events_to_touches([(1_500, 1, 2, None, 5)])[:1]
    labels = [a_label_touch(1, 77, 1_000), a_label_touch(1, 77, 1_000), a_label_touch(1, 77, 1_000, is_fraud=False)]
    store = EntityStore(spec)
    seen = []
    for label in labels:
        store.apply(label)
        seen.append(store.apply(event).originator[0, 0])
    assert seen == [1.0, 1.0, 0.0]


def test_a_transfer_to_oneself_does_not_see_itself() -> None:
    spec = StoreSpec(
        originator=(Column("in", Track.IN, Statistic.COUNT, 1_000),),
        beneficiary=(Column("out", Track.OUT, Statistic.SUM, 1_000),),
    )
    partials = EntityStore(spec).apply(events_to_touches([(10, 1, 1, None, 500), (11, 1, 1, None, 700)]))
    assert partials.originator[:, 0].tolist() == [0.0, 1.0]
    assert partials.beneficiary[:, 0].tolist() == [0.0, 5.0]


def test_a_device_and_an_account_of_the_same_key_are_two_entities() -> None:
    assert_like_oracle(a_spec(), events_to_touches([(t, 1, 1, 1, t) for t in range(0, 60, 3)]))


def test_entities_numbered_from_zero_are_kept_apart() -> None:
    assert_like_oracle(a_spec(), events_to_touches([(t, t % 3, t % 2, t % 4, t) for t in range(60)]))


def test_the_history_starts_with_the_first_transaction() -> None:
    store = EntityStore(a_spec())
    assert store.apply(a_label_touch(1, 2, 3)).history_start_ms == 2**63 - 1
    assert store.apply(events_to_touches([(50, 1, 2, None, 1), (40, 1, 2, None, 1)])).history_start_ms == 50


def test_amounts_beyond_the_limit_count_as_the_limit() -> None:
    spec = StoreSpec(originator=(Column("sum", Track.OUT, Statistic.SUM, 100),))
    touches = events_to_touches([(1, 1, 2, None, 2**62), (2, 1, 2, None, -5), (3, 1, 2, None, 0)])
    touches = touches[touches["role"] == ORIGINATOR]
    assert EntityStore(spec).apply(touches).originator[:, 0].tolist()[1:] == [MAX_AMOUNT_MINOR / 100] * 2


def test_touches_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="expected rows of TOUCH"):
        EntityStore(a_spec()).apply(np.zeros(3, np.int64))
    wrong = events_to_touches([(1, 1, 2, None, 1)])
    wrong["role"] = 9
    with pytest.raises(ValueError, match="role 9"):
        EntityStore(a_spec()).apply(wrong)


def test_partials_survive_the_wire() -> None:
    from models.features.partials import Partials, touch_sequences

    touches = events_to_touches([(1, 1, 2, None, 5), (2, 2, 1, 7, 6)])
    partials = EntityStore(a_spec()).apply(touches)
    copy = Partials.from_bytes(partials.to_bytes())
    for name in set(Partials.__slots__) - {"wire"}:
        np.testing.assert_array_equal(getattr(copy, name), getattr(partials, name))
    assert touch_sequences([copy], 3).tolist() == [[0, 1, -1], [2, 3, 4], [-1, -1, -1]]
    assert BENEFICIARY == 1
