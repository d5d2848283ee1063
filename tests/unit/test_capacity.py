"""The capacity model: lines and curves through points, errors of points left out, and plans that follow from them."""

from __future__ import annotations

import pytest

from tests.bench.capacity import Line, Measured, Power, check, left_out, load, plan


def some_points() -> Measured:
    """A core at 10,000 events/s, growing with its root; 100 bytes an entity, 200 a transaction; 50 MiB a million."""
    rates = [2_000.0, 10_000.0, 30_000.0]
    sizes = [(10, 1_000), (500, 2_000), (900, 1_000)]
    state = [{"entities": e, "transactions": t, "bytes": 100 * e + 200 * t} for e, t in sizes]
    return Measured(
        rates, [(r / 10_000) ** 0.5 for r in rates], [1e6, 2e6, 4e6], [60.0, 110.0, 210.0], 2, 50_000.0, state
    )


def test_what_lies_on_a_line_or_a_curve_is_predicted() -> None:
    assert Line.fit([1, 2, 4], [3, 5, 9]).at(10) == pytest.approx(21)
    assert left_out([1, 2, 4], [3, 5, 9]) == pytest.approx([0, 0, 0])
    assert left_out([1, 2, 3], [1, 2, 6])[2] == pytest.approx(-0.5)
    assert Power.fit([1, 4, 9], [2, 4, 6]).at(16) == pytest.approx(8)
    assert left_out([1, 4, 9], [2, 4, 6], Power) == pytest.approx([0, 0, 0])
    assert some_points().state_bytes() == pytest.approx((100, 200))
    assert all("error 0% at most" in line for line in check(some_points()))


def test_a_plan_follows_from_the_points() -> None:
    found = plan(some_points(), rate=42_000, entities=2**30 / 100, transactions=2**30 / 200, dollars_per_core_hour=0.05)
    assert (found.slots, found.partitions, found.cores) == (2, 4, 4)  # 21,000 of at most 30,000 a slot
    assert found.busy_cores == pytest.approx(2 * 2.1**0.5)
    assert found.state_gib == pytest.approx(2)
    assert found.checkpoint_gib == pytest.approx((10 + 50 * 2**30 / 200 / 1e6) / 1024)
    assert found.dollars_per_million == pytest.approx(4 * 0.05 / 3600 / 42_000 * 1e6)


def test_the_model_fits_what_is_on_record() -> None:
    measured = load()
    assert max(map(abs, left_out(measured.rates, measured.cores, Power))) < 0.25
    for i, point in enumerate(measured.state):
        entity, transaction = measured.state_bytes(without=i)
        predicted = entity * point["entities"] + transaction * point["transactions"]
        assert predicted == pytest.approx(point["bytes"], rel=0.3)
