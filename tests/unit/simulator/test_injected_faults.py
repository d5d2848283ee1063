"""Faults on purpose: nothing good is lost, and every bad record fails as expected."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.simulator import FaultInjector, FaultPlan, SimulatorConfig, SimulatorError, encode_stream
from models.training.simulator.faults import KINDS, Delivery
from models.training.simulator.poison import POISONS, read_transaction
from schemas.transactions import TransactionDecoder
from schemas.validate import validate_transactions

SMALL = SimulatorConfig(seed=21, accounts=400, merchants=200)
BATCHES = list(encode_stream(SMALL, 500, 4_000))
SENT = [value for batch in BATCHES for value in batch.values]
LIGHT = tuple(name for name in POISONS if name != "huge_record")


def _deliver(plan: FaultPlan) -> list[Delivery]:
    injector = FaultInjector(plan)
    return [*(injector.apply(batch.keys, batch.values, batch.event_time_ms) for batch in BATCHES), injector.flush()]


def _of_kind(deliveries: list[Delivery], kind: str) -> list[bytes | None]:
    wanted = KINDS.index(kind)
    return [v for d in deliveries for v, k in zip(d.values, d.kind.tolist(), strict=True) if k == wanted]


rates = st.floats(0.0, 0.3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), rates, rates, rates, rates)
def test_every_good_record_arrives_exactly_once(seed: int, twice: float, late: float, mixed: float, bad: float) -> None:
    plan = FaultPlan(
        seed=seed, duplicate_rate=twice, late_rate=late, out_of_order_rate=mixed, poison_rate=bad, poison_kinds=LIGHT
    )
    deliveries = _deliver(plan)
    assert Counter(_of_kind(deliveries, "good")) == Counter(SENT)
    assert set(_of_kind(deliveries, "duplicate")) <= set(SENT)


def test_without_faults_the_stream_is_untouched() -> None:
    assert [value for delivery in _deliver(FaultPlan()) for value in delivery.values] == SENT


def test_same_plan_gives_the_same_deliveries() -> None:
    plan = FaultPlan(duplicate_rate=0.05, late_rate=0.05, out_of_order_rate=0.1, poison_rate=0.05, poison_kinds=LIGHT)
    first, second = _deliver(plan), _deliver(plan)
    assert [d.values for d in first] == [d.values for d in second]
    assert [d.keys for d in first] == [d.keys for d in second]


def test_duplicates_come_after_their_originals() -> None:
    deliveries = _deliver(FaultPlan(duplicate_rate=0.1))
    seen: set[bytes | None] = set()
    for delivery in deliveries:
        for value, kind in zip(delivery.values, delivery.kind.tolist(), strict=True):
            assert (value in seen) == (kind == 1)
            seen.add(value)


def test_late_records_lag_behind_the_newest_by_their_delay() -> None:
    deliveries = _deliver(FaultPlan(late_rate=0.1, late_delay_ms=3_600_000))
    times = np.array([read_transaction(v)["event_time_ms"] for d in deliveries for v in d.values if v])
    lag = np.maximum.accumulate(times) - times
    assert 0.05 < np.mean(lag > 0) < 0.12
    assert 1_000_000 < lag[lag > 0].mean() < 5_000_000


def test_out_of_order_records_lag_no_more_than_asked_for() -> None:
    deliveries = _deliver(FaultPlan(out_of_order_rate=0.5, out_of_order_ms=60_000))
    times = np.array([read_transaction(v)["event_time_ms"] for d in deliveries for v in d.values if v])
    lag = np.maximum.accumulate(times) - times
    assert 0 < lag.max() <= 60_000


def test_poison_comes_at_its_rate_and_in_every_kind_with_a_key() -> None:
    deliveries = _deliver(FaultPlan(poison_rate=0.2, poison_kinds=LIGHT))
    kinds = Counter(KINDS[k] for d in deliveries for k in d.kind.tolist())
    assert sum(kinds[name] for name in LIGHT) == pytest.approx(0.2 * len(SENT), rel=0.1)
    assert all(kinds[name] > 0 for name in LIGHT)
    assert all(key.startswith((b"A", b"E")) for d in deliveries for key in d.keys)


def test_expected_errors_line_up_with_the_records() -> None:
    delivery = _deliver(FaultPlan(poison_rate=1.0, poison_kinds=("null_value",)))[0]
    for value, error in zip(delivery.values, delivery.expected_errors(), strict=True):
        assert error == ("EMPTY_VALUE" if value is None else None)


@pytest.mark.parametrize("name", POISONS)
def test_poison_fails_with_its_expected_code(name: str) -> None:
    rng = np.random.default_rng(1)
    poison = POISONS[name]
    good = SENT[:20]
    bad = [poison.make(rng, value, read_transaction(value)) for value in (good if name != "huge_record" else good[:1])]
    columns, rows, rejected = TransactionDecoder().decode([*bad, *good])
    errors = {r.row: r.error for r in rejected}
    accepted = np.flatnonzero(rows < len(bad))
    if len(accepted):  # structurally fine: what it says is wrong
        times = np.array([read_transaction(value)["event_time_ms"] for value in good[:1]] * len(columns), np.int64)
        refused = validate_transactions(columns, times)
        errors |= {int(rows[r.row]): r.error for r in refused}
    assert [errors.get(row) for row in range(len(bad))] == [poison.error] * len(bad)
    assert not any(row >= len(bad) for row in errors)


def test_unknown_poison_is_refused() -> None:
    with pytest.raises(SimulatorError, match="arsenic"):
        FaultPlan(poison_kinds=("arsenic",))
