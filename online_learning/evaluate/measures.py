"""How good scores were: over the whole stream, by week, and by pattern."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.training.metrics import Reliability, area_under_roc, average_precision, card_precision_at, reliability
from schemas.columns import F64, I64, Bool

DAY_MS = 86_400_000
WEEK_DAYS = 7


@dataclass(frozen=True, slots=True)
class Measures:
    """One scorer on some transactions. NaN where a measure needs frauds, legitimate ones or accounts, and there
    are none.

    Attributes
    ----------
    transactions, frauds
        How many there are.
    auc_roc, average_precision
        Of the ranking, 0 to 1.
    card_precision
        CP@100: mean over the days of the share of the 100 highest accounts that are compromised.
    brier
        Mean squared difference of score and truth.
    calibration_error
        Mean distance of score and share of fraud over the bins of `metrics.reliability`, weighted by their counts.
    """

    transactions: int
    frauds: int
    auc_roc: float
    average_precision: float
    card_precision: float
    brier: float
    calibration_error: float


@dataclass(frozen=True, slots=True)
class Judged:
    """Scored transactions whose truth is known; every array of length n."""

    is_fraud: Bool
    account: I64 | None  # any number that tells accounts apart; None where a table knows no accounts
    event_time_ms: I64
    pattern: tuple[str, ...] | None = None  # pattern of each; None where the file names none

    def week_starts(self) -> I64:
        """Return the start of each one's week, ms since 1970: weeks of 7 days from the first transaction's day, UTC."""
        day = self.event_time_ms // DAY_MS
        first = int(day.min()) if len(day) else 0
        return np.asarray((first + (day - first) // WEEK_DAYS * WEEK_DAYS) * DAY_MS, np.int64)


def measure(judged: Judged, score: F64, rows: Bool | None = None) -> Measures:
    """Measure (n,) scores, on the rows that are true in `rows` or on all."""
    chosen = np.ones(len(score), np.bool_) if rows is None else rows
    fraud, s = judged.is_fraud[chosen], score[chosen]
    frauds = int(fraud.sum())
    has_both = 0 < frauds < len(s)
    return Measures(
        transactions=len(s),
        frauds=frauds,
        auc_roc=area_under_roc(fraud, s) if has_both else math.nan,
        average_precision=average_precision(fraud, s) if frauds else math.nan,
        card_precision=(
            card_precision_at(fraud, s, judged.account[chosen], judged.event_time_ms[chosen] // DAY_MS)
            if frauds and judged.account is not None
            else math.nan
        ),
        brier=float(np.mean((s - fraud) ** 2)) if len(s) else math.nan,
        calibration_error=reliability(fraud, s).expected_calibration_error if len(s) else math.nan,
    )


def by_week(judged: Judged, score: F64) -> dict[int, Measures]:
    """Return the measures of each week by its start, ms since 1970."""
    starts = judged.week_starts()
    return {int(start): measure(judged, score, starts == start) for start in np.unique(starts)}


def by_pattern(judged: Judged, score: F64) -> dict[str, Measures]:
    """Return the measures of each pattern of fraud: its frauds against all legitimate transactions."""
    if judged.pattern is None:
        return {}
    pattern = np.array(judged.pattern, object)
    names = sorted({str(name) for name in pattern[judged.is_fraud]})
    return {name: measure(judged, score, ~judged.is_fraud | (judged.is_fraud & (pattern == name))) for name in names}


def calibration(judged: Judged, score: F64) -> Reliability:
    """Return the reliability bins of the scores."""
    return reliability(judged.is_fraud, score)
