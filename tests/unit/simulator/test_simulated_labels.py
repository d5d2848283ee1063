"""Labels come late, from where they should, some never, and only once they are known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models.training.simulator.config import DAY_MS, FRAUD_PATTERNS, HOUR_MS
from models.training.simulator.labels import SOURCES
from tests.unit.simulator.town import TOWN, Stream


@pytest.fixture(scope="module")
def joined(stream: Stream) -> pl.DataFrame:
    labels = stream.labels.drop("account_id", "event_time_ms")
    return stream.events.join(labels, on="transaction_id", how="left", maintain_order="left")


def test_labels_appear_with_the_batch_in_which_they_become_known(stream: Stream) -> None:
    labels = stream.labels
    known = labels["label_time_ms"].to_numpy()
    batch = labels["batch"].to_numpy()
    assert (known <= stream.newest_ms[batch]).all()
    before = np.where(batch > 0, stream.newest_ms[batch - 1], 0)
    assert (known > before).all()
    assert (np.diff(known) >= 0).all()


def test_labels_name_transactions_that_were_sent(stream: Stream) -> None:
    match = stream.labels.join(stream.events, on=["transaction_id", "account_id", "event_time_ms"], how="semi")
    assert len(match) == len(stream.labels)
    assert stream.labels["transaction_id"].n_unique() == len(stream.labels)
    assert (stream.labels["label_time_ms"] > stream.labels["event_time_ms"]).all()


def test_chargebacks_take_days_to_weeks_and_analysts_hours_to_days(stream: Stream) -> None:
    # Early events only: of the others the slow labels are still to come.
    early = stream.labels.filter(pl.col("event_time_ms") < TOWN.start_ms + 3 * DAY_MS)
    delay = early.with_columns(delay=pl.col("label_time_ms") - pl.col("event_time_ms"))
    chargeback = delay.filter(pl.col("source") == SOURCES.index("chargeback"))["delay"] / DAY_MS
    analyst = delay.filter(pl.col("source") == SOURCES.index("analyst"))["delay"] / HOUR_MS
    assert 8 < chargeback.median() < 15  # type: ignore[operator]
    assert 5 < analyst.median() < 15  # type: ignore[operator]


def test_some_crimes_are_never_found(joined: pl.DataFrame) -> None:
    early = joined.filter(pl.col("event_time_ms") < TOWN.start_ms + 4 * DAY_MS)
    fraud = early.filter(pl.col("pattern").is_in(FRAUD_PATTERNS))
    laundering = early.filter(pl.col("is_fraud") & ~pl.col("pattern").is_in(FRAUD_PATTERNS))
    assert 0.03 < fraud["label"].is_null().mean() < 0.25  # type: ignore[operator]
    assert 0.15 < laundering["label"].is_null().mean() < 0.40  # type: ignore[operator]


def test_laundering_is_never_charged_back(joined: pl.DataFrame) -> None:
    laundering = joined.filter(pl.col("is_fraud") & ~pl.col("pattern").is_in(FRAUD_PATTERNS))
    assert SOURCES.index("chargeback") not in set(laundering["source"])


def test_labels_are_true_but_for_a_few_disputes(joined: pl.DataFrame) -> None:
    labelled = joined.filter(pl.col("label").is_not_null())
    wrong = labelled.filter(pl.col("label") != pl.col("is_fraud"))
    assert len(wrong) < 0.01 * len(labelled)
    assert set(wrong["source"]) <= {SOURCES.index("chargeback")}


def test_some_legitimate_events_are_cleared_by_analysts(joined: pl.DataFrame) -> None:
    cleared = joined.filter(~pl.col("is_fraud") & pl.col("label").is_not_null() & ~pl.col("label"))
    assert 0.002 < len(cleared) / len(joined) < 0.02
