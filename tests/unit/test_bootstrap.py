"""The interval of a ratio of percentiles: as wide as what steps share makes it."""

import numpy as np
import pytest

from tests.bench.bootstrap import percentile_ratio, ratio_interval


def steps_of(random: np.random.Generator, count: int, spread: float, scale: float = 1.0) -> list[np.ndarray]:
    """Make steps of 100 latencies each, which share a factor that differs between steps by `spread`."""
    return [scale * np.exp(random.normal(0, spread)) * random.gamma(4, 10, 100) for _ in range(count)]


def test_equal_steps_have_a_ratio_of_one() -> None:
    steps = [np.array([1, 2, 300]), np.array([5, 7, 9])]
    assert percentile_ratio(steps, steps, 99) == 1.0


def test_ratio_is_taken_over_all_events_of_a_kind() -> None:
    assert percentile_ratio([np.full(10, 8), np.full(990, 2)], [np.full(3, 4)], 50) == 0.5


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_interval_covers_the_true_ratio_about_as_often_as_it_says(scale: float) -> None:
    covered = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        low, high = ratio_interval(steps_of(random, 12, 0.3, scale), steps_of(random, 12, 0.3), 99, draws=100)
        covered += low <= scale <= high
    # What steps share is most of the spread here: an interval that took events for independent would cover far less.
    assert covered >= 0.8 * 40


def test_steps_that_agree_make_a_narrow_interval() -> None:
    random = np.random.default_rng(3)
    low, high = ratio_interval(steps_of(random, 12, 0.0), steps_of(random, 12, 0.0), 99, draws=300)
    assert 0.75 < low < 1.0 < high < 1.3
    wide_low, wide_high = ratio_interval(steps_of(random, 12, 0.5), steps_of(random, 12, 0.5), 99, draws=300)
    assert wide_high - wide_low > 2 * (high - low)


def test_bounds_are_of_the_ratio_that_steps_give() -> None:
    above, below = [np.array([10]), np.array([20])], [np.array([10]), np.array([10])]
    assert ratio_interval(above, below, 99, draws=100)[0] == 1.0
    assert ratio_interval(above, below, 99, draws=100)[1] == 2.0
