"""Each pattern has the signature it is named after, and honest payments share a little of it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models.training.simulator import FRAUD_PATTERNS, LAUNDERING_PATTERNS, SimulatorConfig
from models.training.simulator.config import DAY_MS, HOUR_MS, REPORTING_THRESHOLD_EUR
from models.training.simulator.episodes import EPISODES, start_episodes
from models.training.simulator.population import make_population
from models.training.simulator.world import World
from tests.unit.simulator.town import TOWN, Stream

Episodes = dict[str, list[pl.DataFrame]]


def _share(frames: list[pl.DataFrame], claim: object) -> float:
    assert callable(claim)
    return float(np.mean([bool(claim(frame)) for frame in frames]))


def _hours(frame: pl.DataFrame) -> float:
    return float(frame["event_time_ms"][-1] - frame["event_time_ms"][0]) / HOUR_MS


@pytest.mark.parametrize("pattern", FRAUD_PATTERNS + LAUNDERING_PATTERNS)
def test_mean_size_of_an_episode_is_what_the_rates_assume(pattern: str) -> None:
    config = SimulatorConfig(seed=5, accounts=20_000, merchants=1_000, fraud_rate=0.05, laundering_rate=0.05)
    world = World.of(config, make_population(config))
    events = start_episodes(world, config.start_ms, pattern)
    marked = events[events["episode"] >= 0]
    assert len(marked) / len(np.unique(marked["episode"])) == pytest.approx(EPISODES[pattern][1], rel=0.2)


def test_card_testing_tries_many_cards_with_tiny_amounts_at_one_merchant(episodes: Episodes) -> None:
    for frame in episodes["card_testing"]:
        merchant = frame["counterparty_id"].mode()[0]
        tests = frame.filter((pl.col("counterparty_id") == merchant) & (pl.col("eur") <= 20.5))
        assert tests["account_id"].n_unique() >= 3
        assert (frame["channel"] == "card_not_present").all()
        assert frame["device_id"].n_unique() < frame["account_id"].n_unique() + 1


def test_account_takeover_drains_one_account_within_a_day(episodes: Episodes) -> None:
    frames = episodes["account_takeover"]
    assert all(frame["account_id"].n_unique() == 1 and frame["counterparty_id"].n_unique() <= 2 for frame in frames)
    assert _share(frames, lambda frame: _hours(frame) < 24) > 0.95


def test_stolen_card_is_one_card_at_many_merchants(episodes: Episodes) -> None:
    frames = episodes["stolen_card"]
    assert all(frame["account_id"].n_unique() == 1 for frame in frames)
    assert all(frame["channel"].is_in(["card_present", "card_not_present"]).all() for frame in frames)


def test_bust_out_spends_more_than_its_build_up(stream: Stream, episodes: Episodes) -> None:
    usual = stream.events.filter(~pl.col("is_fraud") & pl.col("merchant_category").is_not_null())["eur"].median()
    assert isinstance(usual, float)
    for frame in episodes["bust_out"]:
        assert frame["account_id"].n_unique() == 1
        assert len(frame) >= 6
    assert float(np.median([frame["eur"].median() for frame in episodes["bust_out"]])) > 5 * usual  # type: ignore[arg-type]


def test_structuring_stays_below_the_reporting_threshold(episodes: Episodes) -> None:
    for frame in episodes["structuring"]:
        assert (frame["eur"] < REPORTING_THRESHOLD_EUR).all()
        assert (frame["channel"] == "cash").all()
        assert frame["counterparty_id"].n_unique() == 1
    assert _share(episodes["structuring"], lambda frame: frame["eur"].sum() > REPORTING_THRESHOLD_EUR) > 0.8


def test_fan_in_collects_from_many_and_sends_the_sum_on(episodes: Episodes) -> None:
    for frame in episodes["fan_in"]:
        mule = frame["account_id"].to_list()[-1]
        collected, sent = frame.filter(pl.col("counterparty_id") == mule), frame.filter(pl.col("account_id") == mule)
        assert collected["account_id"].n_unique() >= 4
        assert 0.45 * collected["eur"].sum() < sent["eur"].sum() < collected["eur"].sum()
        assert sent["event_time_ms"][0] > collected["event_time_ms"][-1]


def test_fan_out_scatters_one_sum_over_many(episodes: Episodes) -> None:
    for frame in episodes["fan_out"]:
        arrived, scattered = frame[:1], frame[1:]
        assert (scattered["account_id"] == arrived["counterparty_id"][0]).all()
        assert scattered["counterparty_id"].n_unique() >= 4
        assert scattered["eur"].sum() < arrived["eur"][0]


def test_mule_chain_hands_a_shrinking_sum_from_hand_to_hand(episodes: Episodes) -> None:
    for frame in episodes["mule_chain"]:
        assert frame["account_id"].to_list()[1:] == frame["counterparty_id"].to_list()[:-1]
        assert (frame["eur"].diff().drop_nulls() < 0.6).all()  # rounding to whole yen


def test_passed_through_money_leaves_within_hours(episodes: Episodes) -> None:
    frames = episodes["pass_through"]
    for frame in frames:
        mule = frame["counterparty_id"][0]
        money_in = frame.filter(pl.col("counterparty_id") == mule)["eur"].sum()
        money_out = frame.filter(pl.col("account_id") == mule)["eur"].sum()
        assert 0.75 * money_in < money_out < money_in
        # Each payment out follows one in by no more than a round takes: an hour in, twelve hours out.
        time = frame.with_columns(arrived=pl.when(pl.col("counterparty_id") == mule).then("event_time_ms"))
        wait = frame["event_time_ms"] - time["arrived"].forward_fill()
        assert (wait <= 13 * HOUR_MS).all()


def test_cycle_returns_to_where_it_started(episodes: Episodes) -> None:
    for frame in episodes["cycle"]:
        sources, targets = frame["account_id"].to_list(), frame["counterparty_id"].to_list()
        assert sources[1:] == targets[:-1]
        assert targets[-1] == sources[0]
        assert len(set(sources)) >= 3


def test_mules_are_used_again(stream: Stream) -> None:
    chains = stream.events.filter(pl.col("pattern").is_in(["mule_chain", "pass_through", "fan_in"]))
    again = chains.group_by("counterparty_id").agg(pl.col("episode").n_unique())
    assert (again["episode"] > 1).sum() > 10


def test_honest_payments_look_like_crimes_at_times(stream: Stream) -> None:
    honest = stream.events.filter(~pl.col("is_fraud"))
    day = honest.with_columns(day=pl.col("event_time_ms") // DAY_MS)
    transfers = day.filter(pl.col("merchant_category").is_null())
    fan_out = transfers.group_by("account_id", "day").agg(pl.col("counterparty_id").n_unique())
    fan_in = transfers.group_by("counterparty_id", "day").agg(pl.col("account_id").n_unique())
    assert (fan_out["counterparty_id"] >= 6).sum() > 20
    assert (fan_in["account_id"] >= 6).sum() > 20
    below = pl.col("eur").is_between(0.7 * REPORTING_THRESHOLD_EUR, REPORTING_THRESHOLD_EUR)
    assert len(honest.filter((pl.col("channel") == "cash") & below)) > 5
    assert len(honest.filter((pl.col("channel") == "card_not_present") & (pl.col("eur") < 5))) > 500


def test_no_crime_when_the_rates_are_zero() -> None:
    config = SimulatorConfig(accounts=300, merchants=200, fraud_rate=0.0, laundering_rate=0.0)
    world = World.of(config, make_population(config))
    assert all(len(start_episodes(world, TOWN.start_ms, pattern)) == 0 for pattern in EPISODES)
