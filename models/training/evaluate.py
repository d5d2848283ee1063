"""What a model is worth on transactions it has not seen, and how far its reasons can be trusted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import lightgbm
import numpy as np

from models.scoring.attribution import Trees
from models.training.dataset import Dataset
from models.training.metrics import Ranking, Reliability, rank, reliability
from models.training.simulator.config import PATTERNS
from schemas.columns import F32, F64, Bool


@dataclass(frozen=True, slots=True)
class PatternResult:
    """How much of one pattern is found."""

    transactions: int
    reviewed_share: float  # reviewed or declined
    declined_share: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures on one data set at given thresholds."""

    ranking: Ranking
    alert_rate: float  # share of all transactions that are reviewed or declined
    alert_precision: float
    recall: float
    value_detection_rate: float  # share of the fraud's money that is reviewed or declined
    decline_rate: float
    decline_precision: float
    patterns: dict[str, PatternResult]
    reliability: Reliability

    def summary(self) -> dict[str, Any]:
        """Return the measures for a card, rounded."""
        values: dict[str, Any] = {
            **self.ranking.as_dict(),
            "alert_rate": self.alert_rate,
            "alert_precision": self.alert_precision,
            "recall": self.recall,
            "value_detection_rate": self.value_detection_rate,
            "decline_rate": self.decline_rate,
            "decline_precision": self.decline_precision,
            "expected_calibration_error": self.reliability.expected_calibration_error,
        }
        return {name: round(v, 5) for name, v in values.items()}


def evaluate(data: Dataset, score: F64, review: float, decline: float) -> Evaluation:
    """Measure scores against the truth; rows count by their weight, rankings row by row."""
    fraud, weight = data.is_fraud, data.weight.astype(np.float64)
    alerted, declined = score >= review, score >= decline
    patterns = {}
    for code in np.unique(data.pattern[fraud]):
        rows = data.pattern == code
        patterns[PATTERNS[code]] = PatternResult(
            int(rows.sum()), float(alerted[rows].mean()), float(declined[rows].mean())
        )
    money = data.amount * fraud
    return Evaluation(
        ranking=rank(fraud, score, data.account.astype(np.int64), data.day),
        alert_rate=float(np.average(alerted, weights=weight)),
        alert_precision=_share(fraud & alerted, alerted, weight),
        recall=_share(fraud & alerted, fraud, weight),
        value_detection_rate=float(money[alerted].sum() / max(money.sum(), 1e-9)),
        decline_rate=float(np.average(declined, weights=weight)),
        decline_precision=_share(fraud & declined, declined, weight),
        patterns=patterns,
        reliability=reliability(fraud, score),
    )


def _share(part: Bool, whole: Bool, weight: F64) -> float:
    total = float(weight[whole].sum())
    return float(weight[part].sum()) / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the compiled path attribution compares with LightGBM's exact contributions (SHAP values) on alerts."""

    alerts: int
    same_first: float  # share of alerts with the same feature first
    exact_first_in_top_four: float  # share whose exact first is among our first four
    overlap_top_four: float  # mean share of the four principal features in common
    correlation: float  # mean correlation of all contributions, within an alert

    def as_dict(self) -> dict[str, Any]:
        """Return the values for a card, rounded."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def attribution_agreement(booster: lightgbm.Booster, trees: Trees, X: F32) -> Agreement:
    """Compare both attributions on the given rows."""
    if len(X) == 0:
        return Agreement(0, 0.0, 0.0, 0.0, 0.0)
    exact = np.asarray(booster.predict(X.astype(np.float64), pred_contrib=True))[:, :-1]
    fast = np.asarray(trees.contributions(X), np.float64)
    first = np.argsort(-exact, axis=1, kind="stable")[:, :4]
    ours = np.argsort(-fast, axis=1, kind="stable")[:, :4]
    common = [len(set(a) & set(b)) / 4 for a, b in zip(first, ours, strict=True)]
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(exact, fast, strict=True)]
    return Agreement(
        len(X),
        float(np.mean(first[:, 0] == ours[:, 0])),
        float(np.mean([f in set(o) for f, o in zip(first[:, 0], ours, strict=True)])),
        float(np.mean(common)),
        float(np.nanmean(correlation)),
    )
