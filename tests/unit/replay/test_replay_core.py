"""Replays of a live run: byte-equal in recorded order, and the same for every cut and arrival in the log's order."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from models.replay.deciders import OneDecider
from models.scoring.core_settings import CoreSettings
from models.scoring.decider import Decider
from models.scoring.rules import RuleSet
from schemas.records import decode_record
from tests.recorded import a_decider
from tests.replayed import (
    bodies,
    ledger_columns,
    log_batches,
    logs,
    recorded_batches,
    recorded_ledger,
    replay,
    run_live,
)

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""An example takes a second: to look for a smaller one would take minutes."""
SETTINGS = CoreSettings(shards=2, dedupe_horizon=4096)
EVENTS = 270
"""Of an example: enough for all three deciders to have been in force (`run_live` changes them every 133 decisions)."""
ROWS = st.integers(5, 300)
"""Of a batch; batches of one row, which cost a second, are an example of their own."""


@cache
def deciders() -> tuple[Decider, ...]:
    """Return what was in force one after the other: the shipped rules, and without some of them."""
    first = a_decider()
    rules: RuleSet = first.rules
    second = first.with_rules(rules.without(rules.rules[0].rule_id))
    return first, second, second.with_rules(second.rules.without(second.rules.rules[0].rule_id))


class OnRecord:
    """Finds the decider by the version of its rules."""

    def __init__(self) -> None:
        self._known = {decider.rules.version: decider for decider in deciders()}

    def of(self, version: tuple[str, ...] | None) -> Decider:
        return deciders()[0] if version is None else self._known[version[-1]]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(
    seed=st.integers(0, 10_000), partitions=st.integers(1, 4), rows=ROWS, shards=st.integers(1, 3),
    risk_labels=st.sampled_from(["raw", "matured"]),
)  # fmt: skip
@example(seed=1, partitions=3, rows=1, shards=2, risk_labels="raw")
@example(seed=1, partitions=3, rows=40, shards=2, risk_labels="matured")
def test_a_live_run_is_reproduced_byte_for_byte_in_its_recorded_order(
    seed: int, partitions: int, rows: int, shards: int, risk_labels: Literal["raw", "matured"]
) -> None:
    core = dataclasses.replace(SETTINGS, shards=shards, risk_labels=risk_labels)
    transactions, labels = logs(EVENTS, seed, partitions, risk_labels)
    live = run_live(transactions, labels, core, deciders(), seed)
    ledger = recorded_ledger(transactions, live.decisions)
    result = replay(recorded_batches(transactions, labels, ledger, core, rows), core, OnRecord(), seed)
    assert bodies(result.decisions) == bodies(live.decisions)
    assert (len(result.rejected), result.duplicates) == (live.rejected, live.duplicates)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(
    seed=st.integers(0, 10_000),
    partitions=st.integers(1, 4),
    rows=st.lists(ROWS, min_size=2, max_size=2),
)
@example(seed=2, partitions=3, rows=[1, 40])
def test_replays_in_the_logs_order_do_not_depend_on_batches_and_arrival(
    seed: int, partitions: int, rows: list[int]
) -> None:
    transactions, labels = logs(EVENTS, seed, partitions)
    live = run_live(transactions, labels, SETTINGS, deciders()[:1], seed)
    ledger = recorded_ledger(transactions, live.decisions)
    runs = [
        replay(log_batches(transactions, labels, ledger, SETTINGS, n), SETTINGS, OneDecider(deciders()[0]), i)
        for i, n in enumerate(rows)
    ]
    assert bodies(runs[0].decisions) == bodies(runs[1].decisions)
    assert (len(runs[0].rejected), runs[0].duplicates) == (len(runs[1].rejected), runs[1].duplicates)
    total = sum(map(len, transactions.values))
    assert (
        len(runs[0].decisions) + len([r for r in runs[0].rejected if r[0].topic == "transactions"]) + runs[0].duplicates
        == total
    )


def test_what_comes_before_the_range_fills_the_windows_and_is_not_decided_on() -> None:
    transactions, labels = logs(600, 5, 1)
    live = run_live(transactions, labels, SETTINGS, deciders()[:1], 5)
    ledger = recorded_ledger(transactions, live.decisions)
    begin = 300
    batches = recorded_batches(transactions, labels, ledger, SETTINGS, 50, emitted_from=begin)
    result = replay(batches, SETTINGS, OnRecord())
    expected = {place: body for place, body in bodies(live.decisions).items() if place[1] >= begin}
    assert bodies(result.decisions) == expected
    places = [int(records.offset[r.row]) for records, r in result.rejected]
    assert all(offset >= begin for offset in places)


def test_replays_say_which_run_they_are() -> None:
    transactions, labels = logs(200, 6, 2)
    live = run_live(transactions, labels, SETTINGS, deciders()[:1], 6)
    ledger = recorded_ledger(transactions, live.decisions)
    result = replay(recorded_batches(transactions, labels, ledger, SETTINGS, 50), SETTINGS, OnRecord())
    for scored in result.scored:
        for value in scored.decisions:
            assert decode_record(value, name="decision")["processing"]["run_id"] == "r"
        for value in scored.alerts:
            alert = decode_record(value, name="alert")
            assert (alert["mode"], alert["run_id"]) == ("replay", "r")


def test_a_ledger_of_other_shards_is_refused() -> None:
    from models.replay.recorded_order import OrderError

    transactions, labels = logs(300, 7, 2)
    live = run_live(transactions, labels, SETTINGS, deciders()[:1], 7)
    ledger = recorded_ledger(transactions, live.decisions)
    with pytest.raises(OrderError, match="number of shards"):
        recorded_batches(transactions, labels, ledger, dataclasses.replace(SETTINGS, shards=1), 50)


def test_the_run_had_what_the_tests_are_about() -> None:
    transactions, labels = logs(600, 5, 3)
    live = run_live(transactions, labels, SETTINGS, deciders(), 5)
    columns = ledger_columns(live.decisions)
    assert live.duplicates
    assert live.rejected
    assert len(columns.known_versions) > 1
    assert len(np.unique(columns.degraded & 1)) == 2
    # two shards saw some transactions in opposite orders
    first, second = columns.touch_sequences[:, 0], columns.touch_sequences[:, 1]
    assert (np.diff(first[np.argsort(second)]) < 0).any()
