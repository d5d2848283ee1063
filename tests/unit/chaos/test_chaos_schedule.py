"""The schedule of faults: the same for a seed, spread over the input, and plain about what it cannot do."""

import itertools

import pytest

from tests.chaos.faults.matrix import FAULTS
from tests.chaos.schedule import ScheduleError, make_schedule, parse_counts

COUNTS = {kind: fault.count for kind, fault in FAULTS.items()}


def test_same_seed_same_schedule_and_another_seed_another() -> None:
    schedule = make_schedule(5, 110_000, COUNTS)
    assert schedule == make_schedule(5, 110_000, COUNTS)
    assert schedule != make_schedule(6, 110_000, COUNTS)


def test_every_fault_asked_for_is_there() -> None:
    schedule = make_schedule(5, 110_000, COUNTS)
    assert {kind: sum(p.kind == kind for p in schedule) for kind in COUNTS} == COUNTS


def test_faults_lie_apart_and_away_from_both_ends() -> None:
    rows = [planned.row for planned in make_schedule(9, 10_000, {"broker-kill": 20, "redis-kill": 30})]
    part = 10_000 // 51
    assert all(later - earlier >= part // 2 - 1 for earlier, later in itertools.pairwise(rows))
    assert rows[0] >= part // 2
    assert rows[-1] <= 10_000 - part // 2


def test_more_faults_than_fit_are_refused() -> None:
    with pytest.raises(ScheduleError, match="do not fit"):
        make_schedule(1, 1_000, {"broker-kill": 100})


def test_no_faults_are_no_schedule() -> None:
    assert make_schedule(1, 1_000, {"broker-kill": 0}) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [("meteor=1", "no such fault"), ("disk-logs,disk-logs=2", "twice"), ("disk-logs=-1", "whole number")],
)
def test_wrong_counts_are_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        parse_counts(text, tuple(FAULTS))


def test_every_fault_explains_itself() -> None:
    assert all((fault.inject.__doc__ or "").strip() for fault in FAULTS.values())
