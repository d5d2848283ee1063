"""Labels as a bank gets them: late, from several sources, some never, a few wrong."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from models.training.simulator.config import DAY_MS, FRAUD_PATTERNS, HOUR_MS, PATTERNS, LabelDelays
from models.training.simulator.events import MINOR_PER_EUR, Events
from schemas.columns import CHANNELS, F64, Bool

LABEL = np.dtype(
    [
        ("label_time_ms", "i8"),
        ("event_time_ms", "i8"),
        ("sequence", "i8"),  # position of the transaction in the stream
        ("originator", "i8"),
        ("counterparty", "i8"),
        ("is_fraud", "?"),
        ("source", "u1"),  # index into SOURCES
        ("pattern", "u1"),  # index into PATTERNS; 0 where the source names none
    ]
)
Labels = npt.NDArray[Any]  # of dtype LABEL

_SCHEMA = json.loads((resources.files("schemas") / "label.avsc").read_text())
SOURCES: tuple[str, ...] = tuple(
    next(field["type"]["symbols"] for field in _SCHEMA["fields"] if field["name"] == "source")
)
_CHARGEBACK, _ANALYST, _REPORT = (SOURCES.index(name) for name in ("chargeback", "analyst", "sar"))
_NONE = 255

_LARGE_EUR = 1_500.0


def draw_labels(delays: LabelDelays, rng: np.random.Generator, events: Events, first_sequence: int) -> Labels:
    """Return the labels that these events will ever get, ordered by the time they become known.

    `events` stand in the order of the stream; `first_sequence` is the position of the first of them in it.
    """
    n = len(events)
    pattern = events["pattern"]
    is_fraud = (pattern > 0) & (pattern <= len(FRAUD_PATTERNS))
    is_laundering = pattern > len(FRAUD_PATTERNS)
    source = _choose_sources(delays, rng.random(n), events, is_fraud, is_laundering)
    rows = np.flatnonzero(source != _NONE)
    chosen = source[rows]

    disputed = DAY_MS * _log_normal(rng, len(rows), delays.chargeback_median_days, delays.chargeback_spread)
    analysed = HOUR_MS * _log_normal(rng, len(rows), delays.analyst_median_hours, delays.analyst_spread)
    reported = DAY_MS * _log_normal(rng, len(rows), delays.report_median_days, delays.report_spread)
    delay = np.where(chosen == _CHARGEBACK, disputed, np.where(chosen == _ANALYST, analysed, reported))
    labels = np.zeros(len(rows), LABEL)
    labels["event_time_ms"] = events["time_ms"][rows]
    labels["label_time_ms"] = labels["event_time_ms"] + delay.astype(np.int64) + 60_000
    labels["sequence"] = first_sequence + rows
    labels["originator"] = events["originator"][rows]
    labels["counterparty"] = events["counterparty"][rows]
    # A dispute is a claim of fraud, even where the customer only forgot the purchase.
    labels["is_fraud"] = (pattern[rows] > 0) | (chosen == _CHARGEBACK)
    labels["source"] = chosen
    labels["pattern"] = np.where(chosen == _CHARGEBACK, 0, pattern[rows])  # customers name no pattern
    return labels[np.argsort(labels["label_time_ms"], kind="stable")]


def _choose_sources(delays: LabelDelays, draw: F64, events: Events, is_fraud: Bool, is_laundering: Bool) -> F64:
    """Return for each event the source of its label, or _NONE."""
    eur = events["amount_minor"] / MINOR_PER_EUR[events["currency"]]
    is_card_online = events["channel"] == CHANNELS.index("card_not_present")
    is_large = (events["merchant_category"] < 0) & (eur > _LARGE_EUR)
    reviewed = np.where(is_large, delays.reviewed_large_share, delays.reviewed_legitimate_share)
    disputed = np.where(is_card_online, delays.disputed_legitimate_share, 0.0)
    # Shares of [0, 1) one after the other: chargeback, analyst, report, nobody.
    chargeback = np.where(is_fraud, delays.chargeback_share, np.where(is_laundering, 0.0, disputed))
    analyst = chargeback + np.where(
        is_fraud, delays.fraud_analyst_share, np.where(is_laundering, delays.laundering_analyst_share, reviewed)
    )
    report = analyst + np.where(is_laundering, delays.report_share, 0.0)
    return np.select([draw < chargeback, draw < analyst, draw < report], [_CHARGEBACK, _ANALYST, _REPORT], _NONE)


def _log_normal(rng: np.random.Generator, count: int, median: float, spread: float) -> F64:
    return rng.lognormal(np.log(median), spread, count)


__all__ = ["LABEL", "PATTERNS", "SOURCES", "Labels", "draw_labels"]
