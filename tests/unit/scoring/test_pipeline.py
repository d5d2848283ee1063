"""The scoring core without Flink: results depend on the records and their order, never on how they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.parted_store import PartedEntityStore
from models.scoring.core_settings import CoreSettings
from models.scoring.pipeline import CoreState, ScoringCore
from schemas.records import encode_record
from tests.builders import a_transaction
from tests.recorded import PlainRun, Recorded, a_decider, plain_loop, record_stream

DECIDER = a_decider()
SETTINGS = CoreSettings(shards=3, dedupe_horizon=500)
FEW = settings(max_examples=10, deadline=None)


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return record_stream(600, seed=5, accounts=200)


@pytest.fixture(scope="module")
def undisturbed(recorded: Recorded) -> PlainRun:
    return plain_loop(recorded, (len(recorded),), SETTINGS, DECIDER)


def assert_equal(run: PlainRun, expected: PlainRun) -> None:
    """Two runs gave the same bytes; the times of the runs are arguments, and zero here."""
    differing = [i for i, (a, b) in enumerate(zip(run.decisions, expected.decisions, strict=False)) if a != b]
    assert not differing, f"{len(differing)} decisions differ, the first is number {differing[0]}"
    assert len(run.decisions) == len(expected.decisions)
    assert run.rejected == expected.rejected
    assert run.duplicates == expected.duplicates


def test_every_record_becomes_a_decision_a_dead_letter_or_a_duplicate(
    recorded: Recorded, undisturbed: PlainRun
) -> None:
    assert len(undisturbed.decisions) == len(recorded.rows("good"))
    assert undisturbed.duplicates == len(recorded.rows("duplicate")) > 0
    assert undisturbed.rejected == [(row, error) for row, error in enumerate(recorded.errors) if error is not None]


@pytest.mark.parametrize("batch_sizes", [(1,), (7,), (64, 1, 13), (333,)])
def test_decisions_are_the_same_bytes_whatever_the_batches(
    recorded: Recorded, undisturbed: PlainRun, batch_sizes: tuple[int, ...]
) -> None:
    assert_equal(plain_loop(recorded, batch_sizes, SETTINGS, DECIDER), undisturbed)


@FEW
@given(
    crashes=st.lists(st.tuples(st.integers(1, 300), st.integers(0, 200)), min_size=1, max_size=5),
    batch_sizes=st.lists(st.integers(5, 200), min_size=1, max_size=4),
)
def test_a_restart_from_any_copy_of_the_state_goes_on_as_if_nothing_had_happened(
    recorded: Recorded, undisturbed: PlainRun, crashes: list[tuple[int, int]], batch_sizes: list[int]
) -> None:
    """What was done after the copy is lost with the process, and done again from the copy."""
    state = CoreState.empty(SETTINGS.shards)
    run, at = PlainRun([], [], 0), 0
    for survives, lost in [*crashes, (len(recorded), 0)]:
        core = ScoringCore(SETTINGS, DECIDER, state)
        until = min(len(recorded), at + survives)
        turn = 0
        while at < until:
            end = min(until, at + batch_sizes[turn % len(batch_sizes)])
            run.add(core, recorded, at, end)
            at, turn = end, turn + 1
        state = core.state.copy()
        core.transactions(recorded.raw(at, min(len(recorded), at + lost)))
    assert_equal(run, undisturbed)


def test_nothing_waits_once_every_batch_is_decided(recorded: Recorded) -> None:
    core = ScoringCore(SETTINGS, DECIDER)
    for start in range(0, len(recorded), 100):
        core.transactions(recorded.raw(start, min(len(recorded), start + 100)))
    assert all(not state.blobs for state in core.state.pending.values())


def test_more_shards_change_the_order_of_touches_only_not_the_features(recorded: Recorded) -> None:
    from schemas.records import decode_record

    def features(shards: int) -> list[tuple[str, list[float]]]:
        run = plain_loop(recorded, (50,), CoreSettings(shards=shards), DECIDER)
        decoded = [decode_record(value, name="decision") for value in run.decisions]
        return [(d["transaction_id"], [f if f == f else -1e30 for f in d["features"]]) for d in decoded]

    assert features(1) == features(5)


def test_records_of_several_partitions_keep_their_order_and_are_told_apart_by_shard() -> None:
    values = [encode_record("transaction", a_transaction(transaction_id=f"t{i}")) for i in range(4)]
    recorded = Recorded([b"k"] * 4, [*values], ["good"] * 4, [None] * 4, [a_transaction()["event_time_ms"]] * 4)
    raw = recorded.raw()
    raw.partition[:] = [0, 1, 0, 1]
    core = ScoringCore(CoreSettings(shards=2), DECIDER)
    assert [len(scored.decisions) for scored in core.transactions(raw).scored] == [2, 2]


def test_the_state_of_a_core_is_bounded_by_its_log_and_pages(recorded: Recorded) -> None:
    core = ScoringCore(SETTINGS, DECIDER)
    core._entities = [PartedEntityStore(SETTINGS.store, blobs, 4_000, 8, 0.0) for blobs in core.state.entities]
    for start in range(0, len(recorded), 10):
        core.transactions(recorded.raw(start, min(len(recorded), start + 10)))
    for blobs, store in zip(core.state.entities, core._entities, strict=True):
        pages = sum(part.store._used_pages() for part in store._parts)
        keys = [key % (1 << 52) for key in blobs.blobs]  # without the number of the part
        written = sum(1 for key in keys if key >= 2 << 48)
        assert 0 < written <= 2 * pages
        entries = sum(1 for key in keys if 1 << 48 <= key < 2 << 48)
        assert entries < len(recorded) / 10
