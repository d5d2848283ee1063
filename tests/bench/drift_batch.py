"""A batch model, trained from nothing each night on every label known by then: what drift recovery compares with."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from schemas.columns import F32, F64, U8, Bool

_RIDGE = 1e-4
_STEPS = 80


class NightlyBatch:
    """A ridge logistic regression on squashed, standardised features, classes balanced."""

    def __init__(self) -> None:
        self._rows: list[F32] = []
        self._labels: list[Bool | U8] = []
        self._mean = self._scale = self._weights = np.zeros(0)

    def learn_many(self, X: F32, y: Bool | U8) -> None:
        """Keep rows for the next night."""
        self._rows.append(_squashed(X))
        self._labels.append(y)
        if not len(self._weights):
            self.train()

    def train(self) -> None:
        """Train on all rows kept."""
        squashed, y = np.concatenate(self._rows), np.concatenate(self._labels).astype(np.float64)
        is_value = np.isfinite(squashed)
        count = np.maximum(is_value.sum(axis=0), 1)
        self._mean = np.where(is_value, squashed, 0.0).sum(axis=0) / count
        deviation = np.sqrt(np.where(is_value, (squashed - self._mean) ** 2, 0.0).sum(axis=0) / count)
        self._scale = np.where(deviation > 1e-6, 1.0 / np.maximum(deviation, 1e-6), 0.0)
        Z = self._standardised(squashed)
        balance = np.where(y == 1, 0.5 / max(y.mean(), 1e-9), 0.5 / max(1 - y.mean(), 1e-9)) / len(y)

        def loss(weights: F64) -> tuple[float, F64]:
            logit = Z @ weights[:-1] + weights[-1]
            gradient = balance * (1.0 / (1.0 + np.exp(-np.clip(logit, -30, 30))) - y)
            value = (balance * (np.logaddexp(0.0, logit) - y * logit)).sum() + _RIDGE * (weights[:-1] ** 2).sum()
            return float(value), np.append(Z.T @ gradient + 2 * _RIDGE * weights[:-1], gradient.sum())

        start = self._weights if len(self._weights) else np.zeros(Z.shape[1] + 1)
        self._weights = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x

    def predict_proba_many(self, X: F32) -> F32:
        """Return (n,) scores, on the odds of balanced classes: their order is what counts."""
        logit = self._standardised(_squashed(X)) @ self._weights[:-1] + self._weights[-1]
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit, -30, 30))), np.float32)

    def _standardised(self, squashed: F32) -> F64:
        Z = (squashed - self._mean) * self._scale
        return np.where(np.isfinite(Z), np.clip(Z, -6.0, 6.0), 0.0)


def _squashed(X: F32) -> F32:
    return np.asarray(np.sign(X) * np.log1p(np.abs(X)), np.float32)
