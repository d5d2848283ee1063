"""Duplicates are recognised within the stated horizon, wherever the stream is cut or the process restarted."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.scoring import deduplicate
from models.scoring.deduplicate import DuplicateFilter
from models.state_map import MemoryState
from schemas.columns import StringColumn

MANY = settings(max_examples=100, deadline=None)  # of each horizon and length of page: 900 in all

id_batches = st.lists(st.lists(st.integers(0, 12), max_size=12), max_size=12)


def a_column(ids: list[int]) -> StringColumn:
    return StringColumn.from_values([f"transaction-{i}" for i in ids])


@pytest.fixture(params=[1, 4, 64])
def ids_per_page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Pages shorter and longer than the horizon."""
    monkeypatch.setattr(deduplicate, "IDS_PER_PAGE", request.param)
    return int(request.param)


class Oracle:
    """Accepted ids in the order of acceptance."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.accepted: list[int] = []

    def check(self, identity: int, is_duplicate: bool) -> None:
        if identity in self.accepted[-self.horizon :]:
            assert is_duplicate, f"{identity} is among the last {self.horizon} and was accepted again"
        if is_duplicate:
            assert identity in self.accepted[-2 * self.horizon :], f"{identity} was called a duplicate and is none"
        else:
            self.accepted.append(identity)


@pytest.mark.usefixtures("ids_per_page")
@pytest.mark.parametrize("horizon", [1, 3, 8])
def test_the_last_h_ids_are_recognised_and_at_most_2h_whatever_the_restarts(horizon: int) -> None:
    @MANY
    @given(id_batches, st.sets(st.integers(0, 11)))
    @example([[0, 1, 2, 3, 4, 5, 6], [0]], {1})
    def check(batches: list[list[int]], restarts: set[int]) -> None:
        oracle = Oracle(horizon)
        state = MemoryState()
        filter_, undisturbed = DuplicateFilter(horizon, state), DuplicateFilter(horizon, MemoryState())
        for number, batch in enumerate(batches):
            if number in restarts:
                state = state.copy()
                filter_ = DuplicateFilter(horizon, state)
            found = filter_.accept(a_column(batch)).tolist()
            assert found == undisturbed.accept(a_column(batch)).tolist()
            for identity, is_duplicate in zip(batch, found, strict=True):
                oracle.check(identity, is_duplicate)

    check()


def test_state_keeps_two_generations_and_no_more(ids_per_page: int) -> None:
    state = MemoryState()
    filter_ = DuplicateFilter(10, state)
    for start in range(0, 500, 7):
        assert not filter_.accept(a_column(list(range(start, start + 7)))).any()
        ids = sum(len(blob) // 16 for key, blob in state.blobs.items() if key >= 0)
        assert ids <= 20 + ids_per_page + 7


def test_work_done_after_a_copy_of_the_state_is_forgotten_with_the_process() -> None:
    state = MemoryState()
    DuplicateFilter(100, state).accept(a_column([1, 2]))
    copied = state.copy()
    DuplicateFilter(100, state).accept(a_column([3]))
    assert DuplicateFilter(100, copied).accept(a_column([1, 2, 3])).tolist() == [True, True, False]


def test_an_id_twice_in_one_batch_is_accepted_once() -> None:
    assert DuplicateFilter(4, MemoryState()).accept(a_column([1, 1, 2, 1])).tolist() == [False, True, False, True]


@pytest.mark.usefixtures("ids_per_page")
@pytest.mark.parametrize("horizon", [3, 30, 400])
def test_another_horizon_takes_effect_from_what_the_state_holds(horizon: int) -> None:
    """At once where it is shorter; where it is longer, once so many more ids have come."""
    state = MemoryState()
    before = DuplicateFilter(100, state)
    for start in range(0, 1_000, 50):
        before.accept(a_column(list(range(start, start + 50))))
    after = DuplicateFilter(horizon, state.copy())
    held = min(horizon, 100)
    assert after.accept(a_column(list(range(1_000 - held, 1_000)))).all()
    for start in range(1_000, 3_000, 50):
        after.accept(a_column(list(range(start, start + 50))))
    assert after.accept(a_column(list(range(3_000 - horizon, 3_000)))).all()
