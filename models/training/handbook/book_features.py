"""The book's own 14 features, under the book's definitions: what the baseline sees.

Unlike the engine's, the book's windows (t - w, t] include the transaction itself.
"""

from __future__ import annotations

import numpy as np

from models.training.handbook.protocol import DAY_SECONDS, FIRST_DAY, Transactions
from schemas.columns import F64, I64

WINDOWS_DAYS = (1, 7, 30)
DELAY_SECONDS = 7 * DAY_SECONDS

NAMES = (
    "amount", "during_weekend", "during_night",
    *(f"card_{what}_{days}d" for days in WINDOWS_DAYS for what in ("count", "mean_amount")),
    *(f"terminal_{what}_{days}d" for days in WINDOWS_DAYS for what in ("count", "risk")),
)  # fmt: skip


def window_sums(key: I64, seconds: I64, value: F64, window_seconds: int) -> tuple[I64, F64]:
    """Return count and sum of `value` over each row's window (t - w, t] of its key; rows must be in time order.

    Rows of the same key and second count for one another only in their order, as in the book's rolling windows.
    """
    order = np.argsort(key, kind="stable")
    keys, times = key[order], seconds[order]
    # One sorted axis for all keys, with a gap of a window between two of them.
    span = int(seconds.max()) + window_seconds + 1
    axis = keys * span + times
    begin = np.searchsorted(axis, axis - window_seconds, side="right")
    end = np.arange(1, len(key) + 1)
    cumulated = np.concatenate([[0.0], np.cumsum(value[order])])
    count, total = np.empty(len(key), np.int64), np.empty(len(key))
    count[order] = end - begin
    total[order] = cumulated[end] - cumulated[begin]
    return count, total


def book_features(transactions: Transactions) -> F64:
    """Return the 14 features of every transaction.  # (n, 14)."""
    t = transactions
    amount = t.amount_minor / 100.0
    weekday = (t.day + FIRST_DAY.weekday()) % 7
    hour = t.seconds % DAY_SECONDS // 3600
    columns = [amount, (weekday >= 5).astype(np.float64), (hour <= 6).astype(np.float64)]
    for days in WINDOWS_DAYS:
        count, total = window_sums(t.card, t.seconds, t.amount_minor.astype(np.float64), days * DAY_SECONDS)
        columns += [count.astype(np.float64), total / count / 100.0]
    fraud = t.is_fraud.astype(np.float64)
    young_count, young_frauds = window_sums(t.terminal, t.seconds, fraud, DELAY_SECONDS)
    for days in WINDOWS_DAYS:
        count, frauds = window_sums(t.terminal, t.seconds, fraud, days * DAY_SECONDS + DELAY_SECONDS)
        matured = count - young_count
        columns += [matured.astype(np.float64), (frauds - young_frauds) / np.maximum(matured, 1)]
    return np.stack(columns, axis=1)
