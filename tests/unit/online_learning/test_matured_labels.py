"""From raw labels to risk features by way of `matured-labels`, against a sort of all labels that were ever sent.

Invariant: a transaction counts as a fraud of both its sides, as the decision names them, if and only if of all labels
about it so far that are not by a rule the one that precedence puts highest calls it fraud.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.features.assemble import assemble, make_touches
from models.features.catalogue import FEATURE_NAMES, FEATURE_SET, STORE
from models.features.entity_store import EntityStore
from models.scoring.core_settings import CoreSettings
from models.scoring.home_stage import HomeStage
from models.state_map import MemoryState
from online_learning.labels.precedence import LOWEST_TO_HIGHEST, SOURCES
from online_learning.learning_stage import DECISIONS, LABELS, LearningSettings, LearningStage
from schemas.columns import RawRecords, StringColumn
from schemas.encode import encode_decisions
from schemas.records import decode_record, encode_record
from tests.builders import NOON_MS, a_label, a_transaction, transaction_columns
from tests.ledger import decision_columns

SETTINGS = LearningSettings(FEATURE_SET, FEATURE_NAMES, decision_partitions=1, label_partitions=1)
ACCOUNTS = ("one", "two", "three")
SHOWN = (
    "account_fraud_count_30d", "seconds_since_account_fraud", "counterparty_fraud_count_30d",
    "seconds_since_counterparty_fraud",
)  # fmt: skip
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Decided:
    name: str
    account: str
    counterparty: str
    event_ms: int

    def to_bytes(self) -> bytes:
        columns = decision_columns([self.name], self.event_ms + 500, np.zeros((1, len(FEATURE_NAMES)), np.float32))
        account, counterparty = (StringColumn.from_values([side]) for side in (self.account, self.counterparty))
        return encode_decisions(replace(columns, account_id=account, counterparty_id=counterparty))[0]


@dataclass(frozen=True)
class Told:
    name: str
    time_ms: int
    is_fraud: bool
    source: str

    def to_bytes(self) -> bytes:
        # What it says of the sides and of the event time is wrong: the decision knows better.
        return encode_record(
            "label",
            a_label(
                transaction_id=self.name, account_id="nobody", counterparty_id="nobody",
                event_time_ms=NOON_MS - HOUR_MS, label_time_ms=self.time_ms, is_fraud=self.is_fraud,
                source=self.source,
            ),
        )  # fmt: skip


@dataclass
class Oracle:
    decided: dict[str, Decided] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)

    def frauds(self) -> list[Decided]:
        found = []
        for about in self.decided.values():
            labels = [told for told in self.told if told.name == about.name and told.source != "rule"]
            highest = max(
                labels, key=lambda t: (LOWEST_TO_HIGHEST.index(t.source), t.time_ms, t.is_fraud), default=None
            )
            if highest is not None and highest.is_fraud:
                found.append(about)
        return found

    def features(self, account: str, counterparty: str, now_ms: int) -> list[float]:
        row: list[float] = []
        for entity in (account, counterparty):
            times = [fraud.event_ms for fraud in self.frauds() if entity in (fraud.account, fraud.counterparty)]
            row += [len(times), (now_ms - max(times)) / 1000 if times else math.nan]
        return row


def a_batch(values: list[bytes]) -> RawRecords:
    n = len(values)
    return RawRecords(
        "labels", list(values), [None] * n, np.zeros(n, np.int32), np.arange(n), np.full(n, NOON_MS, np.int64)
    )


class Risk:
    """The scoring job's part: matured labels in, risk features out."""

    def __init__(self) -> None:
        self.home = HomeStage(CoreSettings(shards=1, risk_labels="matured"), MemoryState())
        self.store = EntityStore(STORE)

    def take(self, values: list[bytes]) -> None:
        output = self.home.labels(a_batch(values))
        assert not output.rejected
        self.store.apply(output.touches[0])

    def features(self, account: str, counterparty: str, now_ms: int) -> list[float]:
        probe = a_transaction(account_id=account, counterparty_id=counterparty, event_time_ms=now_ms, device_id=None)
        columns = transaction_columns([probe])
        X = assemble(columns, [self.store.apply(make_touches(columns, 1)[0])])
        return [float(X[0, FEATURE_NAMES.index(name)]) for name in SHOWN]


names = st.sampled_from([f"t{i}" for i in range(6)])
sides = st.sampled_from(ACCOUNTS)
decisions = st.builds(Decided, names, sides, sides, st.integers(0, 40).map(lambda hours: NOON_MS - hours * HOUR_MS))
labels = st.builds(
    Told, names, st.integers(0, 3).map(lambda hours: NOON_MS + hours), st.booleans(), st.sampled_from(SOURCES)
)
steps = st.lists(
    st.tuples(st.lists(decisions, max_size=3), st.lists(labels, max_size=6), st.booleans()), min_size=1, max_size=6
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps)
def test_risk_features_count_the_labels_that_hold(plan: list[tuple[list[Decided], list[Told], bool]]) -> None:
    state, oracle, risk = MemoryState(), Oracle(), Risk()
    stage = LearningStage(SETTINGS, state)
    offsets, topic = [0, 0], []
    for step, (decided, told, restarts) in enumerate(plan):
        for number, records in ((DECISIONS, decided), (LABELS, told)):
            # A record that is none closes the step: everything before it is learned.
            values: list[bytes | None] = [*(record.to_bytes() for record in records), b"-"]
            n = len(values)
            times = np.full(n, NOON_MS + 10 * step)
            times[-1] += 5
            stage.take(number, np.zeros(n, np.int32), np.arange(offsets[number], offsets[number] + n), times, values)
            offsets[number] += n
        for record in decided:
            oracle.decided.setdefault(record.name, record)
        oracle.told += told
        published = stage.take_matured()
        assert all(key.decode() == decode_record(value)["account_id"] for key, value in published)
        topic += [value for _, value in published]
        risk.take([value for _, value in published])
        if restarts:
            state = state.copy()
            stage = LearningStage(SETTINGS, state)
        now_ms = NOON_MS + HOUR_MS + step
        for account, counterparty in zip(ACCOUNTS, ACCOUNTS[1:] + ACCOUNTS[:1], strict=True):
            np.testing.assert_array_equal(
                risk.features(account, counterparty, now_ms),
                np.array(oracle.features(account, counterparty, now_ms), np.float32),
            )
    assert_each_verdict_is_told_once(topic)
    # A learner job that begins anew tells everything again: that changes nothing in the end.
    before = risk.features("one", "two", NOON_MS + 2 * HOUR_MS)
    risk.take(topic)
    np.testing.assert_array_equal(risk.features("one", "two", NOON_MS + 2 * HOUR_MS), before)


def assert_each_verdict_is_told_once(topic: list[bytes]) -> None:
    newest: dict[str, bool] = {}
    for value in topic:
        record = decode_record(value, name="matured_label")
        before = newest.get(record["transaction_id"])
        assert record["is_correction"] == (before is not None)
        assert before is None or before != record["is_fraud"], "the verdict was told before"
        assert (record["replaced_source"] is None) == (record["replaced_label_time_ms"] is None) == (before is None)
        assert "rule" not in (record["source"], record["replaced_source"])
        newest[record["transaction_id"]] = record["is_fraud"]


def test_a_correction_names_what_it_replaces() -> None:
    stage = LearningStage(SETTINGS, MemoryState())
    told = [
        Told("t", NOON_MS + 1, True, "rule"),
        Told("t", NOON_MS + 2, True, "analyst"),
        Told("t", NOON_MS + 3, False, "simulator"),
        Told("t", NOON_MS + 4, True, "chargeback"),
        Told("t", NOON_MS + 5, False, "sar"),
    ]
    stage.take(
        DECISIONS, np.zeros(2, np.int32), np.arange(2), np.array([NOON_MS, NOON_MS + 100]),
        [Decided("t", "a", "b", NOON_MS).to_bytes(), b"-"],
    )  # fmt: skip
    n = len(told) + 1
    stage.take(
        LABELS,
        np.zeros(n, np.int32),
        np.arange(n),
        NOON_MS + np.arange(1, n + 1),
        [*(t.to_bytes() for t in told), b"-"],
    )
    found = [decode_record(value, name="matured_label") for _, value in stage.take_matured()]
    # The chargeback says what the analyst said: it is not told, and it is what the report replaces.
    assert [(r["source"], r["is_fraud"], r["is_correction"]) for r in found] == [
        ("analyst", True, False), ("sar", False, True),
    ]  # fmt: skip
    assert (found[1]["replaced_source"], found[1]["replaced_label_time_ms"]) == ("chargeback", NOON_MS + 4)
    assert {(r["account_id"], r["counterparty_id"], r["event_time_ms"]) for r in found} == {("a", "b", NOON_MS)}
    assert stage.counts.echoes == 1


def test_where_matured_labels_count_raw_ones_are_checked_and_touch_nothing() -> None:
    home = HomeStage(CoreSettings(shards=1, risk_labels="matured"), MemoryState())
    raw = Told("t", NOON_MS + 1, True, "analyst").to_bytes()
    swapped = encode_record("label", a_label(event_time_ms=NOON_MS + 2, label_time_ms=NOON_MS + 1))
    output = home.check_labels(a_batch([raw, b"junk", swapped]))
    assert [(r.row, r.error) for r in output.rejected] == [(1, "UNDECODABLE"), (2, "LABEL_BEFORE_EVENT")]
    assert output.touches == []
    assert [(r.row, r.error) for r in home.labels(a_batch([raw])).rejected] == [(0, "WRONG_SCHEMA")]


def test_a_matured_label_older_than_its_decision_counts() -> None:
    """A source may give the event time wrong; the matured label has the decision's."""
    matured = {**a_label(event_time_ms=NOON_MS, label_time_ms=NOON_MS - 1), "is_correction": False}
    home = HomeStage(CoreSettings(shards=1, risk_labels="matured"), MemoryState())
    output = home.labels(a_batch([encode_record("matured_label", matured)]))
    assert not output.rejected
    assert len(output.touches[0]) == 2
