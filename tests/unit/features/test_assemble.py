"""From transactions to touches and on to the feature matrix."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.assemble import assemble, entity_keys, label_touches, make_touches, touches_of
from models.features.catalogue import FEATURE_INDEX, FEATURE_NAMES, STORE
from models.features.currency import to_reference_minor
from models.features.entity_store import EntityStore
from models.features.touches import BENEFICIARY, DEVICE, LABEL, ORIGINATOR
from schemas.columns import StringColumn
from tests.builders import NOON_MS, a_label, a_transaction, label_columns, transaction_columns

DAY_MS = 86_400_000


def features_of(*records: dict[str, Any], labels: list[dict[str, Any]] | None = None) -> list[dict[str, float]]:
    """Features of the last batch of one store: earlier records are applied one at a time, labels before the last."""
    store = EntityStore(STORE)
    rows = []
    for i, record in enumerate(records):
        if labels and i == len(records) - 1:
            store.apply(label_touches(label_columns(labels), 1)[0])
        columns = transaction_columns([record])
        row = assemble(columns, [store.apply(make_touches(columns, 1)[0])])[0]
        rows.append(dict(zip(FEATURE_NAMES, row.tolist(), strict=True)))
    return rows


def test_a_first_transaction_has_no_past() -> None:
    (first,) = features_of(a_transaction(amount_minor=4_250))
    assert first["amount"] == 42.5
    assert first["account_out_count_30d"] == 0
    assert first["account_out_sum_30d"] == 0
    assert first["pair_is_new"] == 1
    assert first["device_is_new_for_account"] == 1
    for name in ("account_out_mean_30d", "amount_zscore_30d", "seconds_since_last_out", "counterparty_risk_7d"):
        assert math.isnan(first[name])


def test_the_past_shows_in_the_next_transaction() -> None:
    rows = features_of(
        a_transaction(amount_minor=1_000),
        a_transaction(amount_minor=3_000, event_time_ms=NOON_MS + 60_000),
        a_transaction(amount_minor=5_000, event_time_ms=NOON_MS + 120_000),
    )
    last = rows[-1]
    assert last["account_out_count_10m"] == 2
    assert last["account_out_mean_30d"] == 20
    assert last["account_out_std_30d"] == pytest.approx(math.sqrt(200))
    assert last["amount_zscore_30d"] == pytest.approx(30 / math.sqrt(200))
    assert last["amount_to_max_30d"] == pytest.approx(5 / 3)
    assert last["pair_count_30d"] == 2
    assert last["pair_is_new"] == 0
    assert last["device_is_new_for_account"] == 0
    assert last["counterparty_fan_in_1d"] == 1
    assert last["seconds_since_last_out"] == 60
    assert last["account_burst_1h"] == pytest.approx(3 / (3 / 720))


def test_money_that_came_in_and_leaves_again_shows_as_pass_through() -> None:
    rows = features_of(
        a_transaction(account_id="a", counterparty_id="mule", amount_minor=10_000),
        a_transaction(account_id="mule", counterparty_id="b", amount_minor=9_500, event_time_ms=NOON_MS + 1_000),
        a_transaction(account_id="c", counterparty_id="mule", amount_minor=9_000, event_time_ms=NOON_MS + 2_000),
    )
    assert rows[1]["account_pass_through_1d"] == pytest.approx(0.95)
    assert rows[2]["counterparty_pass_through_1d"] == pytest.approx(95 / 190)
    assert math.isnan(rows[0]["account_pass_through_1d"])


def test_risk_counts_labels_only_in_the_window_that_ended_seven_days_ago() -> None:
    fraud, clean = a_transaction(transaction_id="f"), a_transaction(event_time_ms=NOON_MS + 1)
    late = a_transaction(event_time_ms=NOON_MS + 7 * DAY_MS + 3_600_000)
    rows = features_of(fraud, clean, late, labels=[a_label(transaction_id="f", event_time_ms=NOON_MS)])
    assert rows[-1]["counterparty_risk_1d"] == 0.5
    assert rows[-1]["counterparty_fraud_count_30d"] == 1
    assert rows[-1]["account_fraud_count_30d"] == 1
    soon = a_transaction(event_time_ms=NOON_MS + 6 * DAY_MS)
    rows = features_of(fraud, clean, soon, labels=[a_label(transaction_id="f", event_time_ms=NOON_MS)])
    assert math.isnan(rows[-1]["counterparty_risk_30d"])
    assert rows[-1]["counterparty_fraud_count_30d"] == 1


def test_a_transaction_without_a_device_has_no_device_features() -> None:
    (row,) = features_of(a_transaction(device_id=None))
    assert row["has_device"] == 0
    assert all(math.isnan(row[n]) for n in ("device_count_1h", "device_is_new_for_account"))


def test_what_the_transaction_says_of_itself() -> None:
    saturday_night = 1_767_405_600_000  # 2026-01-03 02:00 UTC
    (row,) = features_of(
        a_transaction(event_time_ms=saturday_night, amount_minor=10_000, channel="wire", merchant_category=7995)
    )
    assert (row["hour_of_day"], row["is_night"], row["is_weekend"]) == (2, 1, 1)
    assert (row["is_round_amount"], row["is_cross_border"], row["is_high_risk_merchant"]) == (1, 1, 1)
    assert (row["channel_wire"], row["channel_atm"]) == (1, 0)
    (row,) = features_of(a_transaction(account_country="", merchant_category=None, currency="JPY", amount_minor=100))
    assert math.isnan(row["is_cross_border"])
    assert row["is_round_amount"] == 1
    assert row["is_high_risk_merchant"] == 0


def test_missing_partials_leave_their_features_unknown() -> None:
    columns = transaction_columns([a_transaction(), a_transaction(transaction_id="2")])
    matrix = assemble(columns, [])
    assert np.isnan(matrix[:, FEATURE_INDEX["account_out_count_1h"]]).all()
    assert np.isnan(matrix[:, FEATURE_INDEX["pair_is_new"]]).all()
    assert not np.isnan(matrix[:, FEATURE_INDEX["amount"]]).any()


def test_reference_data_fills_its_columns() -> None:
    columns = transaction_columns([a_transaction()])
    values = [np.array([v], np.float32) for v in (1, 0, 0.25, np.nan)]
    reference = SimpleNamespace(
        account_on_watchlist=values[0],
        counterparty_on_watchlist=values[1],
        device_risk=values[2],
        merchant_risk=values[3],
    )
    row = assemble(columns, [], reference)[0]
    assert row[FEATURE_INDEX["account_on_watchlist"]] == 1
    assert row[FEATURE_INDEX["device_reference_risk"]] == 0.25
    assert math.isnan(row[FEATURE_INDEX["merchant_reference_risk"]])


def test_sharding_does_not_change_the_features() -> None:
    records = [
        a_transaction(
            transaction_id=str(i), account_id=f"a{i % 5}", counterparty_id=f"m{i % 3}", event_time_ms=NOON_MS + i,
            device_id=f"d{i % 4}" if i % 2 else None,
        )
        for i in range(60)
    ]  # fmt: skip
    columns = transaction_columns(records)
    whole = assemble(columns, [EntityStore(STORE).apply(make_touches(columns, 1)[0])])
    parts = assemble(columns, [EntityStore(STORE).apply(t) for t in make_touches(columns, 3)])
    np.testing.assert_array_equal(whole, parts)


def test_touches_come_by_event_and_role_in_the_shard_of_their_entity() -> None:
    columns = transaction_columns([a_transaction(), a_transaction(device_id=None), a_transaction(account_id="x")])
    shards = make_touches(columns, 4)
    assert sum(len(s) for s in shards) == 8
    for number, touches in enumerate(shards):
        assert (touches["entity"] % np.uint64(4) == number).all()
        order = touches["event"].astype(np.int64) * 4 + touches["role"]
        assert (np.diff(order) > 0).all()


KEYS = st.one_of(st.integers(0, 5), st.integers(2**64 - 5, 2**64 - 1))


@settings(deadline=None)
@given(
    events=st.lists(st.tuples(KEYS, KEYS, st.one_of(st.none(), KEYS), st.integers(-9, 2**45), st.integers(0, 2**46))),
    shards=st.integers(1, 4),
)
def test_touches_are_those_of_a_loop_over_events_and_roles(
    events: list[tuple[int, int, int | None, int, int]], shards: int
) -> None:
    expected: list[list[tuple[int, ...]]] = [[] for _ in range(shards)]
    for row, (account, counterparty, device, time_ms, amount) in enumerate(events):
        expected[account % shards].append((account, counterparty, time_ms, amount, row, ORIGINATOR, 0, 0))
        expected[counterparty % shards].append((counterparty, account, time_ms, amount, row, BENEFICIARY, 0, 0))
        if device is not None:
            expected[device % shards].append((device, account, time_ms, amount, row, DEVICE, 0, 0))
    accounts, counterparties, devices, times, amounts = zip(*events, strict=True) if events else ((),) * 5
    touches = touches_of(
        np.array(accounts, np.uint64),
        np.array(counterparties, np.uint64),
        np.array([device or 0 for device in devices], np.uint64),
        np.array([device is not None for device in devices], np.bool_),
        np.array(times, np.int64),
        np.array(amounts, np.int64),
        shards,
    )
    assert [block.tolist() for block in touches] == expected


def test_a_label_of_a_transfer_to_oneself_touches_its_entity_once() -> None:
    labels = label_columns([a_label(account_id="a", counterparty_id="a"), a_label()])
    (touches,) = label_touches(labels, 1)
    assert touches["event"].tolist() == [0, 1, 1]
    assert (touches["role"] == LABEL).all()


def test_a_device_named_like_an_account_has_another_key() -> None:
    keys = entity_keys(transaction_columns([a_transaction(account_id="x", counterparty_id="y", device_id="x")]))
    assert keys[0, 0] != keys[0, 2]


def test_amounts_are_converted_by_the_table() -> None:
    codes = StringColumn.from_values(["EUR", "USD", "JPY", "KWD"])
    converted = to_reference_minor(np.array([10**15 // 100, 100, 1_000, 1_000]), codes)
    assert converted.tolist() == [10**13, 85, 591, 279]
