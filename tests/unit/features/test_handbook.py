"""The engine reproduces the 14 features of the Fraud Detection Handbook from its transactions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.features.assemble import touches_of
from models.features.entity_store import EntityStore
from models.features.store_spec import DAY_MS, Column, Statistic, StoreSpec, Track
from models.features.touches import LABEL, TOUCH

FOLDER = Path(os.environ.get("WEIR_HANDBOOK_DIR", Path(__file__).parents[4] / "shared" / "data"))
NEEDED = ("handbook_transactions.parquet", "handbook_features.parquet")

pytestmark = pytest.mark.skipif(
    not all((FOLDER / name).exists() for name in NEEDED),
    reason=f"needs {' and '.join(NEEDED)} in {FOLDER}; name their folder in WEIR_HANDBOOK_DIR",
)

DAYS = (1, 7, 30)
DELAY_MS = 7 * DAY_MS
TERMINALS_FROM = 1 << 40  # customers and terminals are numbered alike; entities share one space of keys


def book_spec() -> StoreSpec:
    """The book's windows are (t - w, t] with the event itself inside: at times in whole seconds that is the last
    w - 1 ms before it, and the event added. Its risk looks at (t - 7 d - w, t - 7 d].
    """
    customer = [
        Column(f"{s.name}_{d}", Track.OUT, s, d * DAY_MS - 1) for d in DAYS for s in (Statistic.COUNT, Statistic.SUM)
    ]
    terminal = [
        Column(f"{track.name}_{d}", track, Statistic.COUNT, d * DAY_MS, DELAY_MS - 1)
        for d in DAYS
        for track in (Track.IN, Track.FRAUD)
    ]
    return StoreSpec(originator=tuple(customer), beneficiary=tuple(terminal))


def test_the_fourteen_features_of_the_book_are_reproduced() -> None:
    expected = pl.read_parquet(FOLDER / NEEDED[1])
    until = expected["TX_TIME_SECONDS"].max()
    since = expected["TX_TIME_SECONDS"].min() - 38 * 86_400  # all that 30 days, shifted by 7, can see
    rows = (
        pl.read_parquet(FOLDER / NEEDED[0])
        .filter(pl.col("TX_TIME_SECONDS").is_between(since, until))
        .sort("TX_TIME_SECONDS", "TRANSACTION_ID")
    )
    amount = np.rint(rows["TX_AMOUNT"].to_numpy() * 100).astype(np.int64)
    time_ms = rows["TX_TIME_SECONDS"].to_numpy() * 1000
    customer = rows["CUSTOMER_ID"].to_numpy().astype(np.uint64)
    terminal = rows["TERMINAL_ID"].to_numpy().astype(np.uint64) + np.uint64(TERMINALS_FROM)
    n = len(rows)
    payments = touches_of(customer, terminal, customer, np.zeros(n, np.bool_), time_ms, amount, 1)[0]
    frauds = np.flatnonzero(rows["TX_FRAUD"].to_numpy())
    labels = np.zeros(len(frauds), TOUCH)
    labels["entity"], labels["other"], labels["time_ms"] = terminal[frauds], frauds, time_ms[frauds]
    labels["role"], labels["is_fraud"] = LABEL, 1
    # A label becomes known 7 days after its transaction, before the transactions of that second.
    known_ms = np.concatenate([labels["time_ms"] + DELAY_MS, payments["time_ms"]])
    touches = np.concatenate([labels, payments])[np.argsort(known_ms, kind="stable")]

    partials = EntityStore(book_spec()).apply(touches)

    by_event_o, by_event_b = np.empty((n, 6)), np.empty((n, 6))
    by_event_o[partials.originator_event] = partials.originator
    by_event_b[partials.beneficiary_event] = partials.beneficiary
    at = np.searchsorted(rows["TRANSACTION_ID"].to_numpy(), expected["TRANSACTION_ID"].to_numpy())
    assert (rows["TRANSACTION_ID"].to_numpy()[at] == expected["TRANSACTION_ID"].to_numpy()).all()
    found = {
        "TX_DURING_WEEKEND": ((time_ms // DAY_MS + 6) % 7 >= 5)[at],  # 2018-04-01 was a Sunday
        "TX_DURING_NIGHT": (time_ms % DAY_MS // 3_600_000 <= 6)[at],
    }
    for i, d in enumerate(DAYS):
        count, total = by_event_o[at, 2 * i] + 1, by_event_o[at, 2 * i + 1] + amount[at] / 100
        found[f"CUSTOMER_ID_NB_TX_{d}DAY_WINDOW"] = count
        found[f"CUSTOMER_ID_AVG_AMOUNT_{d}DAY_WINDOW"] = total / count
        count, fraud = by_event_b[at, 2 * i], by_event_b[at, 2 * i + 1]
        found[f"TERMINAL_ID_NB_TX_{d}DAY_WINDOW"] = count
        found[f"TERMINAL_ID_RISK_{d}DAY_WINDOW"] = np.divide(fraud, count, out=np.zeros(len(at)), where=count > 0)
    assert len(found) == 14
    for name, values in found.items():
        off = np.abs(values - expected[name].to_numpy())
        assert off.max() <= 1e-6, f"{name}: {np.count_nonzero(off > 1e-6)} of {len(off)} differ by up to {off.max()}"
