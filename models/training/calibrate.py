"""From two models' log-odds to one calibrated probability, and from probabilities to thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from schemas.columns import F32, F64, Bool

PROBABILITY_FLOOR = 1e-7
"""As in scoring: log-odds stay within about +-16."""


@dataclass(frozen=True, slots=True)
class Stack:
    """score = sigmoid(gbm * logit(p_gbm) + mlp * logit(p_mlp) + intercept)."""

    gbm: float
    mlp: float
    intercept: float

    def score(self, gbm: F32, mlp: F32) -> F64:
        """Combine the parts' probabilities."""
        return sigmoid(self.gbm * logit(gbm) + self.mlp * logit(mlp) + self.intercept)


def logit(probability: F32 | F64) -> F64:
    """Return log-odds, the probability kept off 0 and 1 by the floor."""
    p = np.clip(probability.astype(np.float64), PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
    result: F64 = np.log(p / (1.0 - p))
    return result


def sigmoid(log_odds: F64) -> F64:
    """Return probabilities of log-odds."""
    result: F64 = 1.0 / (1.0 + np.exp(-log_odds))
    return result


def fit_stack(gbm: F32, mlp: F32, is_fraud: Bool, weight: F32) -> Stack:
    """Fit the stack by logistic regression on the parts' log-odds; neither part may count negatively."""
    z = np.stack([logit(gbm), logit(mlp), np.ones(len(gbm))], axis=1)
    target, rows = is_fraud.astype(np.float64), weight.astype(np.float64)

    def loss(w: F64) -> tuple[float, F64]:
        u = z @ w
        value = float(np.sum(rows * (np.logaddexp(0.0, u) - target * u)))
        return value / rows.sum(), z.T @ (rows * (sigmoid(u) - target)) / rows.sum()

    bounds = [(0.0, None), (0.0, None), (None, None)]
    fitted = minimize(loss, np.array([0.8, 0.2, 0.0]), jac=True, bounds=bounds, method="L-BFGS-B", tol=1e-10)
    return Stack(*(float(w) for w in fitted.x))


def review_threshold(score: F64, weight: F32, alert_rate: float) -> float:
    """Return the score that `alert_rate` of the transactions reach."""
    order = np.argsort(-score, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    return float(score[order][min(int(np.searchsorted(share, alert_rate)), len(score) - 1)])


def decline_threshold(score: F64, is_fraud: Bool, weight: F32, precision: float) -> float:
    """Return the lowest score from which on at least `precision` of the transactions are fraud."""
    order = np.argsort(-score, kind="stable")
    frauds = np.cumsum(weight[order] * is_fraud[order])
    reached = np.flatnonzero(frauds / np.cumsum(weight[order]) >= precision)
    # A handful of rows would make the precision a matter of luck.
    reached = reached[reached >= min(50, len(score) - 1)]
    return float(score[order][reached[-1]]) if len(reached) else float(score.max())
