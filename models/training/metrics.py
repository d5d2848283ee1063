"""How good a ranking of transactions is, and how honest its probabilities are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from schemas.columns import F64, I64, Bool

Scores = npt.NDArray[np.float32] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The three measures of the Fraud Detection Handbook."""

    auc_roc: float
    average_precision: float
    card_precision: float  # at the k of `card_precision_at`

    def as_dict(self) -> dict[str, float]:
        """Return the measures by name."""
        return {"auc_roc": self.auc_roc, "average_precision": self.average_precision, "cp_at_100": self.card_precision}


def rank(is_fraud: Bool, score: Scores, card: I64, day: I64, k: int = 100) -> Ranking:
    """Measure a ranking: area under the ROC curve, average precision, card precision at k."""
    return Ranking(
        area_under_roc(is_fraud, score),
        average_precision(is_fraud, score),
        card_precision_at(is_fraud, score, card, day, k),
    )


def area_under_roc(is_fraud: Bool, score: Scores) -> float:
    """Return the probability that a fraud scores above a legitimate transaction, ties counting half.

    Examples
    --------
    >>> area_under_roc(np.array([False, True, True]), np.array([0.2, 0.2, 0.9]))
    0.75
    """
    frauds = int(is_fraud.sum())
    ranks = float(rankdata(score)[is_fraud].sum())
    return (ranks - frauds * (frauds + 1) / 2) / (frauds * (len(score) - frauds))


def average_precision(is_fraud: Bool, score: Scores) -> float:
    """Return the precision at each distinct score, averaged over the frauds that it adds.

    Examples
    --------
    >>> average_precision(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]))
    0.8333333333333333
    """
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.diff(score[order], append=-np.inf) != 0)
    found = np.cumsum(is_fraud[order])[ends]
    return float(np.sum(np.diff(found, prepend=0) / found[-1] * found / (ends + 1)))


def card_precision_at(is_fraud: Bool, score: Scores, card: I64, day: I64, k: int = 100) -> float:
    """Return the mean over the days of the share of the k cards with the highest score that are compromised.

    A card's score of a day is the highest of its transactions; a card found on one day is out of the next days' lists,
    since nobody would look at it again.

    Examples
    --------
    >>> card_precision_at(np.array([True, False]), np.array([0.9, 0.1]), np.array([1, 2]), np.array([0, 0]), k=2)
    0.5
    """
    found: set[int] = set()
    shares = []
    for d in np.unique(day):
        rows = np.flatnonzero((day == d) & ~np.isin(card, list(found)))
        cards, inverse = np.unique(card[rows], return_inverse=True)
        highest = np.full(len(cards), -np.inf)
        np.maximum.at(highest, inverse, score[rows])
        compromised = np.zeros(len(cards), np.bool_)
        np.logical_or.at(compromised, inverse, is_fraud[rows])
        listed = np.argsort(-highest, kind="stable")[:k]
        detected = cards[listed[compromised[listed]]]
        shares.append(len(detected) / k)
        found.update(int(c) for c in detected)
    return float(np.mean(shares))


@dataclass(frozen=True, slots=True)
class Reliability:
    """Predicted against observed fraud shares, in bins of about equal width on the log-odds scale."""

    mean_score: F64
    fraud_share: F64
    count: I64
    expected_calibration_error: float  # mean |share - score| over the bins, weighted by their counts


def reliability(is_fraud: Bool, score: Scores, bins: int = 12) -> Reliability:
    """Compare predicted probabilities with the shares observed.

    Fraud is rare, so bins of equal width on the probability scale would put nearly all transactions in the first one;
    the edges are spaced evenly in log-odds from 0.01% to 99.99%.
    """
    edges = 1.0 / (1.0 + np.exp(-np.linspace(np.log(1e-4), -np.log(1e-4), bins - 1)))
    at = np.searchsorted(edges, score)
    count = np.bincount(at, minlength=bins)
    kept = count > 0
    mean_score = np.bincount(at, score, bins)[kept] / count[kept]
    fraud_share = np.bincount(at, is_fraud, bins)[kept] / count[kept]
    error = float(np.sum(np.abs(mean_score - fraud_share) * count[kept]) / len(score))
    return Reliability(mean_score, fraud_share, count[kept].astype(np.int64), error)
