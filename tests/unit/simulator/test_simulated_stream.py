"""The stream as a whole: reproducible, ordered, of the rates and rhythm that were asked for."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.training.simulator import PATTERNS, Simulator, SimulatorConfig, SimulatorError, encode_stream
from models.training.simulator.config import DAY_MS, HOUR_MS
from tests.unit.simulator.town import TOWN, Stream

SMALL = SimulatorConfig(seed=11, accounts=400, merchants=200, fraud_rate=0.02, laundering_rate=0.02)


def _digest(config: SimulatorConfig, batch_size: int, count: int = 6_000) -> tuple[str, str]:
    transactions, labels = hashlib.sha256(), hashlib.sha256()
    for batch in encode_stream(config, batch_size, count):
        for value in batch.keys + batch.values:
            transactions.update(value)
        transactions.update(batch.is_fraud.tobytes())
        for value in batch.label_values:
            labels.update(value)
    return transactions.hexdigest(), labels.hexdigest()


def test_same_seed_gives_the_same_bytes() -> None:
    assert _digest(SMALL, 500) == _digest(SMALL, 500)


def test_another_seed_gives_other_bytes() -> None:
    assert _digest(SMALL, 500)[0] != _digest(replace(SMALL, seed=12), 500)[0]


def test_events_do_not_depend_on_the_batch_size() -> None:
    def ids(size: int) -> list[str | None]:
        return [
            batch.transactions.transaction_id.text_at(i)
            for batch in Simulator(SMALL).batches(size, 3_000)
            for i in range(len(batch))
        ]

    assert ids(1) == ids(777) == ids(5_000)


def test_batches_are_of_the_size_asked_for_but_the_last() -> None:
    assert [len(batch) for batch in Simulator(SMALL).batches(400, 1_000)] == [400, 400, 200]
    lengths = [len(batch) for batch in Simulator(replace(SMALL, days=2.0)).batches(300)]
    assert set(lengths[:-1]) == {300}
    assert 0 < lengths[-1] <= 300


def test_endless_stream_goes_on_past_a_month() -> None:
    batches = Simulator(SMALL).batches(60_000)
    first, second = next(batches), next(batches)
    assert first.transactions.event_time_ms[-1] <= second.transactions.event_time_ms[0]
    assert second.transactions.event_time_ms[-1] > SMALL.start_ms + 30 * DAY_MS


def test_event_times_never_fall_and_stay_within_the_days_asked_for(stream: Stream) -> None:
    times = stream.events["event_time_ms"].to_numpy()
    assert (np.diff(times) >= 0).all()
    assert times[0] >= TOWN.start_ms
    assert times[-1] < TOWN.start_ms + 40 * DAY_MS


def test_stream_may_start_at_any_moment() -> None:
    start_ms = SMALL.start_ms + 12_345_678
    batch = next(Simulator(replace(SMALL, start_ms=start_ms)).batches(100))
    assert start_ms <= batch.transactions.event_time_ms[0] < start_ms + HOUR_MS


def test_transaction_ids_are_unique(stream: Stream) -> None:
    assert stream.events["transaction_id"].n_unique() == len(stream.events)


def test_identifiers_have_their_shape(stream: Stream) -> None:
    events = stream.events
    assert events["transaction_id"].str.contains(r"^T[0-9a-f]{16}$").all()
    assert events["account_id"].str.contains(r"^([AE]\d{8})$").all()
    assert events["counterparty_id"].str.contains(r"^([AE]\d{8}|M\d{7})$").all()
    assert events["device_id"].drop_nulls().str.contains(r"^D\d{9}$").all()
    octets = events["ip_address"].drop_nulls().str.split(".").list.eval(pl.element().cast(pl.Int64))
    assert (octets.list.len() == 4).all()
    assert (octets.list.max() <= 255).all()


def test_nobody_pays_himself(stream: Stream) -> None:
    assert (stream.events["account_id"] != stream.events["counterparty_id"]).all()


def test_amounts_are_positive_and_mostly_in_euros(stream: Stream) -> None:
    assert (stream.events["amount_minor"] > 0).all()
    share = stream.events["currency"].value_counts(normalize=True)
    shares = dict(zip(share["currency"], share["proportion"], strict=True))
    assert shares["EUR"] > 0.6
    assert set(shares) == {"EUR", "USD", "GBP", "CHF", "PLN", "JPY"}


def test_rates_are_near_those_asked_for(stream: Stream) -> None:
    # Episodes are few and long, so the totals scatter by some percent.
    number = stream.events["pattern"].replace_strict(list(PATTERNS), list(range(len(PATTERNS)))).to_numpy()
    assert np.mean((number >= 1) & (number <= 4)) == pytest.approx(TOWN.fraud_rate, rel=0.15)
    assert np.mean(number >= 5) == pytest.approx(TOWN.laundering_rate, rel=0.15)
    assert len(number) == pytest.approx(TOWN.expected_events_per_day * 40, rel=0.1)
    assert (stream.events["is_fraud"] == (stream.events["pattern"] != "legitimate")).all()


def test_every_pattern_occurs_unless_switched_off(stream: Stream) -> None:
    assert set(stream.events["pattern"]) == set(PATTERNS)
    only = replace(SMALL, patterns=("cycle",))
    seen = set(np.concatenate([batch.pattern for batch in Simulator(only).batches(10_000, 60_000)]))
    assert seen == {0, PATTERNS.index("cycle")}


def test_activity_follows_the_hours_of_the_day(stream: Stream) -> None:
    german = stream.events.filter((pl.col("account_country") == "DE") & (pl.col("channel") == "card_present"))
    hour = (german["event_time_ms"] // HOUR_MS + 1) % 24  # Germany is an hour ahead of UTC
    counts = np.bincount(hour.to_numpy(), minlength=24)
    assert counts[11:21].mean() > 5 * counts[2:5].mean()


def test_activity_follows_the_days_of_the_week(stream: Stream) -> None:
    shopping = stream.events.filter(pl.col("channel") == "card_present")
    weekday = (shopping["event_time_ms"] // DAY_MS + 3) % 7  # 1970-01-01 was a Thursday
    counts = np.bincount(weekday.to_numpy(), minlength=7)
    assert counts[5] > 1.2 * counts[0]


def test_salaries_fan_out_on_few_days_of_the_month(stream: Stream) -> None:
    salaries = stream.events.filter(pl.col("memo") == "salary")
    days = pl.from_epoch(salaries["event_time_ms"], "ms").dt.day().unique()
    assert set(days) <= {1, 15, 25, 26, 27, 28}
    largest = salaries.group_by("account_id").agg(pl.col("counterparty_id").n_unique())["counterparty_id"].max()
    assert isinstance(largest, int)
    assert largest > 50


def test_accounts_keep_to_their_favourite_shops(stream: Stream) -> None:
    paid = stream.events.filter((pl.col("channel") == "card_present") & ~pl.col("is_fraud"))
    per_account = paid.group_by("account_id").agg(pl.len(), pl.col("counterparty_id").n_unique().alias("shops"))
    busy = per_account.filter(pl.col("len") >= 40)
    assert (busy["shops"] / busy["len"]).mean() < 0.5  # type: ignore[operator]


def test_some_people_travel(stream: Stream) -> None:
    paid = stream.events.filter((pl.col("channel") == "card_present") & ~pl.col("is_fraud"))
    abroad = (paid["account_country"] != paid["counterparty_country"]).mean()
    assert 0.003 < abroad < 0.05  # type: ignore[operator]


@pytest.mark.parametrize(
    "overrides",
    [{"accounts": 10}, {"fraud_rate": -0.1}, {"patterns": ("arson",)}, {"events_per_account_day": 0.0}],
)
def test_impossible_configurations_are_refused(overrides: dict[str, object]) -> None:
    with pytest.raises(SimulatorError):
        replace(SMALL, **overrides)  # type: ignore[arg-type]


@pytest.mark.parametrize("per_account", [0.5, 3, 20, 70, 200])
@pytest.mark.parametrize("end_ms", [1_760_000_000_000, 1_760_000_000_000 + 3 * DAY_MS, 1_795_020_000_000])
def test_stream_ending_at_a_moment_ends_shortly_before_it(per_account: float, end_ms: int) -> None:
    count = int(per_account * SMALL.accounts)
    *_, last = Simulator(SMALL.ending_at(end_ms, count)).batches(1_000, count)
    span = count / SMALL.expected_events_per_day * DAY_MS
    assert 0 < end_ms - int(last.transactions.event_time_ms[-1]) < DAY_MS + 0.02 * span
