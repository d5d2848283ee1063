"""Logistic regression by AdaGrad, one pass: standardised features, missing values, rare positives.

Each label is one step of the gradient. Legitimate rows are under-sampled by a hash of their number in the stream, and
frauds may weigh more; the logit is shifted by the logarithm of both while learning, so that scores stay probabilities
of the stream as it is and not of the sample.

References
----------
Duchi, Hazan, Singer: Adaptive subgradient methods, JMLR 2011, https://jmlr.org/papers/v12/duchi11a.html
King, Zeng: Logistic regression in rare events data, 2001, https://doi.org/10.1093/oxfordjournals.pan.a004868
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numba import njit

from online_learning.learners.counter_random import random_unit
from online_learning.learners.packed import pack, unpack
from online_learning.learners.rows import as_labels, as_rows, as_weights, row_of
from online_learning.learners.scaling import LIMIT, inverse_deviation, inverse_deviations, observe, standardised
from schemas.columns import F32, F64, I64, U8, Bool

VERSION = 1
"""Of snapshot and parameters. Raised when the meaning of a field changes; other versions are refused."""
KIND = "logistic-regression"
PARAMETERS_KIND = "logistic-regression-parameters"


@dataclass(frozen=True, slots=True)
class LogisticSettings:
    """How the regression learns.

    Parameters
    ----------
    learning_rate
        Of AdaGrad: about the first step of a weight.
    l2
        Pull of every weight but the bias towards zero, in units of the gradient.
    gradient_memory
        Learned rows after which a squared gradient has faded to 1/e, so that steps do not shrink for ever; 0 = never
        (AdaGrad).
    fraud_share
        Of the sample that is learned from: legitimate rows are left out at random until frauds have this share.
        0 learns from every row.
    fraud_weight
        What a fraud weighs beside a legitimate row of the sample.
    largest_error
        Bound of |probability - label| * weight, and so of each step.
    scaling_memory
        Rows over which mean and variance of a feature are taken, once so many were seen.
    """

    learning_rate: float = 0.1
    l2: float = 1e-5
    gradient_memory: float = 0.0
    fraud_share: float = 0.01
    fraud_weight: float = 5.0
    largest_error: float = 10.0
    scaling_memory: float = 1_000_000.0


class LogisticRegression:
    """An online logistic regression.

    Scores are worth trusting after some tens of frauds. Memory: 56 bytes a feature.

    Parameters
    ----------
    feature_names
        The F columns, in their order.
    seed
        Of the under-sampling.
    settings
        How it learns.

    Examples
    --------
    >>> learner = LogisticRegression(("amount",))
    >>> for i in range(2000):
    ...     learner.learn_one({"amount": float(i % 10)}, y=i % 10 >= 8)
    >>> learner.predict_proba_one({"amount": 9.0})[True] > 0.6 > 0.3 > learner.predict_proba_one({"amount": 2.0})[True]
    True
    """

    name = KIND

    def __init__(self, feature_names: tuple[str, ...], seed: int = 0, settings: LogisticSettings | None = None) -> None:
        self.feature_names = feature_names
        self.settings = settings or LogisticSettings()
        self._seed = seed
        features = len(feature_names)
        # A weight for each standardised value, one for each value's absence, and the bias.
        self._weights = np.zeros(2 * features + 1)
        self._squares = np.zeros(2 * features + 1)
        self._scaling = np.zeros((3, features))  # count, mean, variance
        self._counts = np.zeros(3, np.int64)  # labels of weight: legitimate, fraud; labels of any weight

    @property
    def labels_seen(self) -> int:
        """How many labels were learned."""
        return int(self._counts[2])

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays held."""
        return sum(array.nbytes for array in self._arrays().values())

    def learn_many(self, X: F32, y: U8 | Bool, weight: F32 | None = None) -> None:
        """Learn rows in their order; see `Learner.learn_many`. Equal to a loop of `learn_one`, bit for bit."""
        rows = as_rows(X, len(self.feature_names))
        s = self.settings
        _learn(
            rows, as_labels(y, len(rows)), as_weights(weight, len(rows)), self._seed,
            self._weights, self._squares, self._scaling, self._counts,
            s.learning_rate, s.l2, 1.0 / s.gradient_memory if s.gradient_memory else 0.0, s.fraud_share, s.fraud_weight,
            s.largest_error, s.scaling_memory, LIMIT,
        )  # fmt: skip

    def learn_one(self, x: Mapping[str, float], y: bool) -> None:
        """Learn one row."""
        self.learn_many(row_of(x, self.feature_names), np.array([y], np.bool_))

    def predict_proba_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud."""
        return self._scorer().score_many(X)

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        """Return the probabilities of False and True."""
        fraud = float(self.predict_proba_many(row_of(x, self.feature_names))[0])
        return {False: 1.0 - fraud, True: fraud}

    def parameters(self) -> bytes:
        """Return weights and scaling: 32 bytes a feature."""
        return self._scorer().pack()

    def snapshot(self) -> bytes:
        """Return the whole state."""
        fields = {"feature_names": list(self.feature_names), "seed": self._seed, "settings": asdict(self.settings)}
        return pack(KIND, VERSION, fields, self._arrays())

    @classmethod
    def restore(cls, snapshot: bytes) -> Self:
        """Return the learner that the snapshot was taken of."""
        packed = unpack(snapshot, KIND, VERSION)
        fields = packed.fields
        learner = cls(tuple(fields["feature_names"]), fields["seed"], LogisticSettings(**fields["settings"]))
        for name, array in learner._arrays().items():
            array[...] = packed.arrays[name]
        return learner

    def _arrays(self) -> dict[str, F64 | I64]:
        return {
            "weights": self._weights,
            "squares": self._squares,
            "scaling": self._scaling,
            "counts": self._counts,
        }

    def _scorer(self) -> LogisticScorer:
        _, mean, variance = self._scaling
        return LogisticScorer(
            self.feature_names, self.labels_seen, self._weights.copy(), mean.copy(), inverse_deviations(variance)
        )


@dataclass(frozen=True, slots=True)
class LogisticScorer:
    """Weights and scaling, ready to score.

    Parameters
    ----------
    weights
        (2F + 1,): of standardised values, of absences, bias.
    mean, scale
        (F,) each: a value x is standardised to (x - mean) * scale.
    """

    feature_names: tuple[str, ...]
    labels_seen: int
    weights: F64
    mean: F64
    scale: F64

    def score_many(self, X: F32) -> F32:
        """Return (n,) probabilities of fraud."""
        rows = as_rows(X, len(self.feature_names))
        scores = np.empty(len(rows), np.float32)
        _score(rows, self.weights, self.mean, self.scale, LIMIT, scores)
        return scores

    def pack(self) -> bytes:
        """Return the scorer as bytes."""
        fields: dict[str, Any] = {"feature_names": list(self.feature_names), "labels_seen": self.labels_seen}
        arrays = {"weights": self.weights, "mean": self.mean, "scale": self.scale}
        return pack(PARAMETERS_KIND, VERSION, fields, arrays)

    @classmethod
    def unpack(cls, parameters: bytes) -> Self:
        """Return the scorer that `pack` was called on."""
        packed = unpack(parameters, PARAMETERS_KIND, VERSION)
        return cls(tuple(packed.fields["feature_names"]), packed.fields["labels_seen"], **packed.arrays)


@njit(cache=True, nogil=True, inline="always")
def _probability(logit):  # type: ignore[no-untyped-def]
    return 1.0 / (1.0 + np.exp(-min(max(logit, -30.0), 30.0)))


@njit(cache=True, nogil=True)
def _score(X, weights, mean, scale, limit, scores):  # type: ignore[no-untyped-def]
    features = X.shape[1]
    for i in range(len(X)):
        logit = weights[2 * features]
        for j in range(features):
            value = np.float64(X[i, j])
            if np.isfinite(value):
                logit += weights[j] * standardised(value, mean[j], scale[j], limit)
            else:
                logit += weights[features + j]
        scores[i] = _probability(logit)


@njit(cache=True, nogil=True)
def _learn(  # type: ignore[no-untyped-def]
    X, y, weight, seed, weights, squares, scaling, counts,
    learning_rate, l2, fading, fraud_share, fraud_weight, largest_error, scaling_memory, limit,
):  # fmt: skip
    features = X.shape[1]
    bias = 2 * features
    count, mean, variance = scaling[0], scaling[1], scaling[2]
    inputs = np.empty(features)
    for i in range(len(X)):
        row = X[i]
        observe(row, scaling_memory, count, mean, variance)
        number = counts[2]
        counts[2] += 1
        if weight[i] == 0.0:
            continue
        kept_share = 1.0
        if fraud_share > 0.0:
            # Of the legitimate rows seen so far, so many would give frauds their share; one is added to each
            # class, so that the first rows are learned.
            kept_share = min(1.0, (counts[1] + 1.0) * (1.0 - fraud_share) / (fraud_share * (counts[0] + 1.0)))
        counts[y[i]] += 1
        if y[i] == 0 and random_unit(seed, number) >= kept_share:
            continue
        logit = weights[bias]
        for j in range(features):
            value = np.float64(row[j])
            if np.isfinite(value):
                inputs[j] = standardised(value, mean[j], inverse_deviation(variance[j]), limit)
                logit += weights[j] * inputs[j]
            else:
                inputs[j] = np.nan
                logit += weights[features + j]
        sample_weight = weight[i] * (fraud_weight if y[i] == 1 else 1.0)
        error = (_probability(logit + np.log(fraud_weight / kept_share)) - y[i]) * sample_weight
        error = min(max(error, -largest_error), largest_error)
        for j in range(features):
            if np.isnan(inputs[j]):
                _step(features + j, error, l2, weights, squares, learning_rate, fading)
            else:
                _step(j, error * inputs[j], l2, weights, squares, learning_rate, fading)
        _step(bias, error, 0.0, weights, squares, learning_rate, fading)


@njit(cache=True, nogil=True, inline="always")
def _step(j, gradient, l2, weights, squares, learning_rate, fading):  # type: ignore[no-untyped-def]
    gradient += l2 * weights[j]
    squares[j] += gradient * gradient - fading * squares[j]
    weights[j] -= learning_rate * gradient / np.sqrt(squares[j] + 1e-8)
