"""One simulated stream for all tests: 40 days of a small town with more crime than usual."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models.training.simulator import Simulator
from models.training.simulator.events import CURRENCIES, MINOR_PER_EUR
from models.training.simulator.files import arrow_batch
from schemas.arrow import arrow_strings
from tests.unit.simulator.town import TOWN, Stream


@pytest.fixture(scope="session")
def stream() -> Stream:
    events, labels, newest = [], [], []
    for number, batch in enumerate(Simulator(TOWN).batches(10_000)):
        frame = pl.from_arrow(arrow_batch(batch, with_truth=True))
        assert isinstance(frame, pl.DataFrame)
        events.append(frame.with_columns(episode=pl.Series(batch.episode)))
        known = batch.labels
        labels.append(
            pl.DataFrame(
                {
                    "transaction_id": pl.Series(arrow_strings(known.transaction_id), dtype=pl.String),
                    "account_id": pl.Series(arrow_strings(known.account_id), dtype=pl.String),
                    "event_time_ms": known.event_time_ms,
                    "label_time_ms": known.label_time_ms,
                    "label": known.is_fraud,
                    "source": known.source,
                    "batch": np.full(len(known), number),
                }
            )
        )
        newest.append(batch.transactions.event_time_ms[-1])
    rates = pl.DataFrame({"currency": CURRENCIES, "minor_per_eur": MINOR_PER_EUR})
    joined = pl.concat(events).join(rates, on="currency", how="left", maintain_order="left")
    return Stream(
        joined.with_columns(eur=pl.col("amount_minor") / pl.col("minor_per_eur")), pl.concat(labels), np.array(newest)
    )


@pytest.fixture(scope="session")
def episodes(stream: Stream) -> dict[str, list[pl.DataFrame]]:
    """Events of every episode that lies wholly inside the stream, by pattern."""
    start, end = TOWN.start_ms + 15 * 86_400_000, TOWN.start_ms + 30 * 86_400_000
    found: dict[str, list[pl.DataFrame]] = {}
    for _, frame in stream.events.filter(pl.col("episode") >= 0).group_by("episode", maintain_order=True):
        if start < frame["event_time_ms"][0] < end:
            found.setdefault(frame["pattern"][0], []).append(frame)
    return found
