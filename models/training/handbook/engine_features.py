"""What Weir's own feature engine sees in the book's transactions: what our model gets.

The card is the originator, the terminal the beneficiary. Every label reaches the engine as a touch of its own when the
transaction is exactly 7 days old, between the transactions of that time; nothing younger is ever seen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from models.features.assemble import touches_of
from models.features.entity_store import EntityStore
from models.features.store_spec import DAY_MS, Column, Statistic, StoreSpec, Track
from models.features.touches import LABEL, TOUCH
from models.training.handbook.protocol import DAY_SECONDS, Transactions
from schemas.columns import F64, U64

LABEL_DELAY_SECONDS = 7 * DAY_SECONDS
_DELAY_MS = LABEL_DELAY_SECONDS * 1000

CARD_WINDOWS_DAYS = (1, 7, 14, 30)
TERMINAL_WINDOWS_DAYS = (1, 2, 4, 7, 14, 21, 28)
"""A terminal stays compromised for some weeks: short windows say whether it still is, long ones since when."""

_TERMINAL_KEY = 1 << 40  # cards and terminals are numbered from 0, and entities share one space of keys


def store_spec() -> StoreSpec:
    """Return what the engine keeps and reads for the book's transactions."""
    S = Statistic
    card = [
        Column(f"card_{s.name.lower()}_{days}d", Track.OUT, s, days * DAY_MS)
        for days in CARD_WINDOWS_DAYS
        for s in (S.COUNT, S.MEAN, S.MAX, S.STD)
    ]
    card += [
        Column("card_frauds_30d", Track.FRAUD, S.COUNT, 30 * DAY_MS),
        Column("card_seconds_since_fraud", Track.FRAUD, S.SECONDS_SINCE_LAST, 30 * DAY_MS),
    ]
    terminal = [
        Column(f"terminal_{what}_{days}d", track, S.COUNT, days * DAY_MS, _DELAY_MS)
        for days in TERMINAL_WINDOWS_DAYS
        for what, track in (("matured", Track.IN), ("frauds", Track.FRAUD))
    ]
    reach = max(TERMINAL_WINDOWS_DAYS) * DAY_MS + _DELAY_MS
    terminal += [
        Column("terminal_seconds_since_fraud", Track.FRAUD, S.SECONDS_SINCE_LAST, reach),
        Column("terminal_seconds_since_first_fraud", Track.FRAUD, S.SECONDS_SINCE_FIRST, reach),
    ]
    return StoreSpec(originator=tuple(card), beneficiary=tuple(terminal))


def engine_features(
    transactions: Transactions, advance: Callable[[int], None] = lambda events: None
) -> tuple[tuple[str, ...], F64]:
    """Return names and values of our features of every transaction.  # (n, F).

    Parameters
    ----------
    transactions
        In order of time.
    advance
        Called with the number of transactions done since the last call.
    """
    spec = store_spec()
    store = EntityStore(spec)
    card = np.empty((len(transactions), len(spec.originator)))
    terminal = np.empty((len(transactions), len(spec.beneficiary)))
    # A day at a time: the touches of a day, its transactions' and those of the labels that are due, in one block.
    for day in range(int(transactions.day[-1]) + 1):
        rows = _span(transactions, day * DAY_SECONDS, (day + 1) * DAY_SECONDS)
        due = _span(
            transactions, day * DAY_SECONDS - LABEL_DELAY_SECONDS, (day + 1) * DAY_SECONDS - LABEL_DELAY_SECONDS
        )
        partials = store.apply(_touches(transactions, rows, due))
        card[rows.start + partials.originator_event] = partials.originator
        terminal[rows.start + partials.beneficiary_event] = partials.beneficiary
        advance(rows.stop - rows.start)
    return _derive(transactions, spec, card, terminal)


def _span(transactions: Transactions, from_seconds: int, to_seconds: int) -> slice:
    begin, end = np.searchsorted(transactions.seconds, [from_seconds, to_seconds])
    return slice(int(begin), int(end))


def _touches(transactions: Transactions, rows: slice, due: slice) -> npt.NDArray[np.void]:
    """Return the touches of transactions and due labels in the order of their times, labels first."""

    def keys(part: slice) -> tuple[U64, U64]:
        return transactions.card[part].astype(np.uint64), (transactions.terminal[part] + _TERMINAL_KEY).astype(
            np.uint64
        )

    card, terminal = keys(rows)
    nothing = np.zeros(len(card), np.uint64)
    time_ms = transactions.seconds[rows] * 1000
    payments = touches_of(
        card, terminal, nothing, np.zeros(len(card), np.bool_), time_ms, transactions.amount_minor[rows], 1
    )[0]
    labels = np.zeros((due.stop - due.start, 2), TOUCH)
    for side, key in enumerate(keys(due)):
        labels["entity"][:, side] = key
    labels["other"] = np.arange(due.start, due.stop, dtype=np.uint64)[:, None]  # the transaction's number is its id
    labels["time_ms"] = (transactions.seconds[due] * 1000)[:, None]
    labels["event"] = np.arange(len(labels), dtype=np.int32)[:, None]
    labels["role"] = LABEL
    labels["is_fraud"] = transactions.is_fraud[due][:, None]
    labels = labels.reshape(-1)
    touches = np.concatenate([labels, payments])
    known_ms = np.concatenate([labels["time_ms"] + _DELAY_MS, payments["time_ms"]])
    ordered: npt.NDArray[np.void] = touches[np.argsort(known_ms, kind="stable")]
    return ordered


def _derive(transactions: Transactions, spec: StoreSpec, card: F64, terminal: F64) -> tuple[tuple[str, ...], F64]:
    """Add what compares the amount with the card's past, and the terminal's clean transactions."""
    read = {c.name: card[:, i] for i, c in enumerate(spec.originator)}
    read |= {c.name: terminal[:, i] for i, c in enumerate(spec.beneficiary)}
    amount = transactions.amount_minor / 100.0
    hour = transactions.seconds % DAY_SECONDS / 3600.0
    features = {"amount": amount, "hour_of_day": hour, **read}
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, largest = read["card_mean_30d"], read["card_max_30d"]
        features["amount_to_mean_30d"] = amount / mean
        features["amount_to_max_7d"] = amount / read["card_max_7d"]
        features["amount_to_max_30d"] = amount / largest
        features["amount_zscore_30d"] = (amount - mean) / read["card_std_30d"]
        count = read["card_count_30d"]
        # One amount five times the usual pulls the mean up: without the largest it stays what is usual.
        features["amount_to_mean_without_max_30d"] = amount / ((count * mean - largest) / (count - 1))
        features["max_14d_to_mean_30d"] = read["card_max_14d"] / mean
        for days in TERMINAL_WINDOWS_DAYS:
            features[f"terminal_clean_{days}d"] = read[f"terminal_matured_{days}d"] - read[f"terminal_frauds_{days}d"]
            del features[f"terminal_matured_{days}d"]
    values = np.stack(list(features.values()), axis=1)
    values[~np.isfinite(values)] = np.nan
    return tuple(features), values
