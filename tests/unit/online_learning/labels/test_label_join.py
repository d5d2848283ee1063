"""The label join against dictionaries, with every disorder that labels come in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.state_map import MemoryState
from online_learning.labels import row_log
from online_learning.labels.label_join import (
    LabelJoin,
    LabelJoinSettings,
    LabelStateError,
    MaturedColumns,
)
from online_learning.labels.precedence import LOWEST_TO_HIGHEST, SOURCES
from online_learning.labels.row_log import RowLog
from schemas.columns import LabelColumns, StringColumn
from schemas.decision_reader import ScoredColumns

FEATURES = 3
LIFETIME, LABEL_LIFETIME = 100, 40
SETTINGS = LabelJoinSettings(FEATURES, LIFETIME, LABEL_LIFETIME)

Matured = tuple[str, int, int, bool, int, tuple[int, int] | None]
"""Name, event time, label time, fraud, source, and source and time of the label that a correction replaces."""


@dataclass
class Oracle:
    """What the join does, one event at a time."""

    now: int = -(10**9)
    decisions: dict[str, int] = field(default_factory=dict)
    labels: dict[str, tuple[int, int, bool, int]] = field(default_factory=dict)  # rank, label time, fraud, source
    known_to_expired: int = 0

    def decision(self, name: str, event: int) -> list[Matured]:
        if event < self.now - LIFETIME or name in self.decisions:
            return []
        self.decisions[name] = event
        if name not in self.labels:
            return []
        _, time, fraud, source = self.labels[name]
        return [(name, event, time, fraud, source, None)]

    def label(self, name: str, event: int, time: int, fraud: bool, source: int) -> list[Matured]:
        if name not in self.decisions and event < self.now - LIFETIME:
            return []
        new = (LOWEST_TO_HIGHEST.index(SOURCES[source]), time, fraud, source)
        old = self.labels.get(name)
        if old is not None and new[:3] <= old[:3]:
            return []
        self.labels[name] = new
        if name not in self.decisions or (old is not None and old[2] == fraud):
            return []
        return [(name, self.decisions[name], time, fraud, source, None if old is None else (old[3], old[1]))]

    def expire(self, now: int) -> set[str]:
        if now <= self.now:
            return set()
        self.now = now
        for name in [n for n, event in self.decisions.items() if event < now - LIFETIME]:
            del self.decisions[name]
            self.labels.pop(name, None)
        gone = {
            n for n, (_, time, _, _) in self.labels.items() if n not in self.decisions and time < now - LABEL_LIFETIME
        }
        for name in gone:
            del self.labels[name]
        return gone


names = st.sampled_from([f"t{i}" for i in range(12)])
times = st.integers(0, 200)
decision_rows = st.tuples(names, times)
label_rows = st.tuples(names, times, times, st.booleans(), st.integers(0, len(SOURCES) - 1))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("decisions"), st.lists(decision_rows, max_size=7)),
        st.tuples(st.just("labels"), st.lists(label_rows, max_size=7)),
        st.tuples(st.just("expire"), times),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=25,
)


def features_of(name: str) -> list[float]:
    return [float(name[1:]) / 7, np.nan if int(name[1:]) % 2 else -0.0, 1e30]


def scored(rows: list[tuple[str, int]]) -> ScoredColumns:
    return ScoredColumns(
        *(StringColumn.from_values([side + name for name, _ in rows]) for side in ("", "account-" * 30, "")),
        np.array([event for _, event in rows], np.int64),
        *(np.array([int(name[1:]) / part for name, _ in rows], np.float32) for part in (100, 200, 300)),
        np.array([features_of(name) for name, _ in rows], np.float32).reshape(len(rows), FEATURES),
    )


def labels(rows: list[tuple[str, int, int, bool, int]]) -> LabelColumns:
    ids = StringColumn.from_values([row[0] for row in rows])
    # The label says nothing true of the sides, and another event time: the decision's count.
    side = StringColumn.from_values(["somebody-else" for _ in rows])
    return LabelColumns(
        ids, side, side, np.array([row[1] for row in rows], np.int64), np.array([row[2] for row in rows], np.int64),
        np.array([row[3] for row in rows], np.bool_), np.array([row[4] for row in rows], np.uint8), ids,
    )  # fmt: skip


def listed(matured: MaturedColumns) -> list[Matured]:
    """Return matured labels as the oracle gives them; the name is read from the score, the features are compared."""
    found = []
    for i in range(len(matured)):
        name = f"t{round(float(matured.score[i]) * 100)}"
        expected = np.array(features_of(name), np.float32)
        assert matured.model_score[i] == np.float32(int(name[1:]) / 200)
        assert matured.learner_score[i] == np.float32(int(name[1:]) / 300)
        assert matured.features[i].tobytes() == expected.tobytes()
        ids = (matured.transaction_id, matured.account_id, matured.counterparty_id)
        assert [column.text_at(i) for column in ids] == [name, "account-" * 30 + name, name]
        replaced = (int(matured.replaced_source[i]), int(matured.replaced_label_time_ms[i]))
        found.append(
            (
                name, int(matured.event_time_ms[i]), int(matured.label_time_ms[i]), bool(matured.is_fraud[i]),
                int(matured.source[i]), replaced if matured.is_correction[i] else None,
            )
        )  # fmt: skip
    return found


def assert_identities(join: LabelJoin) -> None:
    c = join.counts
    outcomes = (
        c.matured, c.corrections, c.confirmed, c.duplicates, c.outranked, c.superseded, c.unmatched, c.too_old,
        c.waiting,
    )  # fmt: skip
    assert c.labels == sum(outcomes)
    assert c.decisions == c.kept + c.repeated + c.decisions_too_old + c.expired_labelled + c.expired_unlabelled
    assert min(c.waiting, c.kept) >= 0


@settings(max_examples=150, deadline=None)
@given(steps, st.sampled_from([2, 5, 256]))
def test_equals_a_dictionary_whatever_comes(plan: list[tuple[str, Any]], page_rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("online_learning.labels.label_join.PAGE_ROWS", page_rows)
        patch.setattr(RowLog.__init__, "__defaults__", (page_rows,))
        state, oracle = MemoryState(), Oracle()
        join = LabelJoin(SETTINGS, state)
        for kind, value in plan:
            if kind == "decisions":
                expected = [m for row in value for m in oracle.decision(*row)]
                assert listed(join.take_decisions(scored(value))) == expected
            elif kind == "labels":
                expected = [m for row in value for m in oracle.label(*row)]
                assert listed(join.take_labels(labels(value))) == expected
            elif kind == "expire":
                assert len(join.expire(value)) == len(oracle.expire(value))
            else:
                state = state.copy()
                join = LabelJoin(SETTINGS, state)
            assert_identities(join)
        assert join.counts.kept == len(oracle.decisions)
        assert join.counts.waiting == len(oracle.labels.keys() - oracle.decisions.keys())


@settings(max_examples=100, deadline=None)
@given(st.lists(label_rows, min_size=1, max_size=8), st.randoms(use_true_random=False), st.integers(0, 8))
def test_the_label_that_holds_does_not_depend_on_the_order(
    rows: list[tuple[str, int, int, bool, int]], random: Any, decisions_after: int
) -> None:
    """The last verdict of each transaction is the same, also where decisions come between its labels."""

    def verdicts(order: list[tuple[str, int, int, bool, int]], split: int) -> dict[str, bool]:
        join = LabelJoin(SETTINGS, MemoryState())
        decided = [(f"t{i}", 50) for i in range(12)]
        out = [
            *listed(join.take_labels(labels(order[:split]))),
            *listed(join.take_decisions(scored(decided))),
            *listed(join.take_labels(labels(order[split:]))),
        ]
        return {name: fraud for name, _, _, fraud, _, _ in out}

    shuffled = list(rows)
    random.shuffle(shuffled)
    assert verdicts(rows, 0) == verdicts(shuffled, decisions_after)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=20))
def test_a_row_log_reads_back_what_was_appended(sizes: list[int]) -> None:
    dtype = np.dtype([("value", "<i8")])
    state = MemoryState()
    log = RowLog(state, 1 << 50, dtype, page_rows=4)
    expected = np.zeros(0, dtype)
    for size in sizes:
        rows = np.arange(len(expected), len(expected) + size).astype(np.int64).view(dtype)
        log.append(rows)
        expected = np.concatenate([expected, rows])
        for seen in (log, RowLog(state.copy(), 1 << 50, dtype, page_rows=4)):
            assert seen.next_row == len(expected)
            numbers = np.arange(len(expected))[::-1].copy()
            assert seen.read(numbers).tobytes() == expected[::-1].tobytes()


def test_state_and_index_are_bounded_by_the_lifetimes() -> None:
    state = MemoryState()
    join = LabelJoin(SETTINGS, state)
    largest = 0
    for now in range(0, 20_000, 50):
        ids = StringColumn.from_values([f"{now}-{i}" for i in range(200)])
        n = len(ids)
        block = ScoredColumns(
            ids,
            ids,
            ids,
            np.full(n, now, np.int64),
            *[np.zeros(n, np.float32)] * 3,
            np.zeros((n, FEATURES), np.float32),
        )
        join.take_decisions(block)
        join.expire(now)
        largest = max(largest, join.counts.kept)
        assert len(state.blobs) <= 2 + 5 * 200 // row_log.PAGE_ROWS + row_log.PAGE_ROWS
    assert largest <= 200 * (LIFETIME // 50 + 1)
    assert join.counts.expired_unlabelled >= 200 * 390


def test_state_for_other_features_is_refused() -> None:
    state = MemoryState()
    LabelJoin(SETTINGS, state).take_decisions(scored([("t1", 1)]))
    with pytest.raises(LabelStateError, match="number of features"):
        LabelJoin(LabelJoinSettings(FEATURES + 1), state)
    with pytest.raises(ValueError, match="expected features of shape"):
        LabelJoin(LabelJoinSettings(FEATURES + 1), MemoryState()).take_decisions(scored([("t1", 1)]))
