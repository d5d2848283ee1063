"""One score of two: the batch model's, and that of a stack of both which is calibrated label by label.

The stack is a logistic regression over the two log-odds, begun at the batch model alone. The mix then weighs the batch
model against the stack by their log loss on the labels as they come (exponential weights with a fixed share). So a
learner that gets worse loses its weight by itself, twice: in the stack, and with the stack; and after T labels the
mix's log loss is at most that of the batch model alone plus `regret_bound(T)`, whatever the learner says.

References
----------
Herbster, Warmuth: Tracking the best expert, Machine Learning 1998, https://doi.org/10.1023/A:1007424614876
Vovk: A game of prediction with expert advice, JCSS 1998, https://doi.org/10.1006/jcss.1997.1556
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numba import njit

from online_learning.learners.errors import InputError
from online_learning.learners.packed import pack, unpack
from schemas.columns import F32, F64, Bool

KIND, PARAMETERS_KIND, VERSION = "score-mix", "score-mix-parameters", 1

_LOWEST = 1e-6
"""Scores are taken to be between this and 1 - this: no single label may cost more than 14 nats."""
_LARGEST_WEIGHT, _LARGEST_BIAS = 4.0, 5.0


@dataclass(frozen=True, slots=True)
class MixSettings:
    """How fast the mix follows.

    Parameters
    ----------
    learning_rate
        Of the stack's AdaGrad: about the first step of a weight.
    share
        What the two exchange of their weights at each label: the mix forgets after about 1 / share labels.
    """

    learning_rate: float = 0.05
    share: float = 1e-4


def regret_bound(labels: int, settings: MixSettings | None = None) -> float:
    """Return how much more log loss (nats, in sum) than the batch model's the mix can have after so many labels."""
    share = (settings or MixSettings()).share
    return math.log(2.0) - labels * math.log1p(-share / 2)


class ScoreMix:
    """Learns the mix from labels with both scores as they were before the label was known.

    Learned row by row: how a stream was cut into blocks leaves no trace.

    Parameters
    ----------
    settings
        How fast it follows.
    """

    def __init__(self, settings: MixSettings | None = None) -> None:
        self.settings = settings or MixSettings()
        # weights of the two log-odds and the bias; their sums of squared gradients; weights of batch model and stack
        self._state: F64 = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5])
        self.labels_seen = 0
        self.log_loss: F64 = np.zeros(3)
        """Sums of batch model, stack and mix, nats."""

    @property
    def batch_weight(self) -> float:
        """Weight of the batch model alone, 0 to 1."""
        return float(self._state[6])

    @property
    def learner_weight(self) -> float:
        """What the learner's log-odds weigh in the end, 0 to 4: its weight in the stack, times the stack's."""
        return float(self._state[7] * self._state[1])

    def learn_many(self, batch_score: F32, learner_score: F32, is_fraud: Bool, prior_shift: float = 0.0) -> None:
        """Learn n labels in their order.

        Parameters
        ----------
        batch_score, learner_score
            (n,) scores in [0, 1]; where the learner's is NaN, it had none, and the batch model's stands for it.
        is_fraud
            (n,) labels.
        prior_shift
            Log-odds of fraud among the labels, less that among all transactions: frauds are labelled more often. The
            batch model is judged, and the stack learns, at the odds of the labels; scoring is at those of the stream.

        Raises
        ------
        InputError
            If lengths differ, or a batch score is no number; nothing is learned then.
        """
        batch, learner = _checked(batch_score, learner_score)
        labels = np.ascontiguousarray(is_fraud, np.bool_)
        if len(labels) != len(batch):
            raise InputError(f"{len(batch)} scores and {len(labels)} labels")
        _learn(
            batch, learner, labels, self._state, self.log_loss, self.settings.learning_rate, self.settings.share,
            prior_shift,
        )  # fmt: skip
        self.labels_seen += len(labels)

    def parameters(self) -> bytes:
        """Return what scoring needs, for `MixScorer`."""
        return pack(PARAMETERS_KIND, VERSION, {"labels_seen": self.labels_seen}, {"weights": self._state[[0, 1, 2, 6]]})

    def snapshot(self) -> bytes:
        """Return the whole state; equal states give equal bytes."""
        fields = {"settings": asdict(self.settings), "labels_seen": self.labels_seen}
        return pack(KIND, VERSION, fields, {"state": self._state, "log_loss": self.log_loss})

    @classmethod
    def restore(cls, snapshot: bytes) -> Self:
        """Return the mix that `snapshot` was taken of.

        Raises
        ------
        SnapshotError
            If it is damaged, or of another version.
        """
        packed = unpack(snapshot, KIND, VERSION)
        mix = cls(MixSettings(**packed.fields["settings"]))
        mix._state, mix.log_loss = packed.arrays["state"], packed.arrays["log_loss"]
        mix.labels_seen = int(packed.fields["labels_seen"])
        return mix


class MixScorer:
    """Applies the parameters of a mix."""

    def __init__(self, parameters: bytes) -> None:
        packed = unpack(parameters, PARAMETERS_KIND, VERSION)
        self._weights: F64 = packed.arrays["weights"]
        self.labels_seen = int(packed.fields["labels_seen"])

    def score_many(self, batch_score: F32, learner_score: F32) -> F32:
        """Return (n,) scores in [0, 1].

        Raises
        ------
        InputError
            If lengths differ, or a batch score is no number.
        """
        batch, learner = _checked(batch_score, learner_score)
        out = np.empty(len(batch), np.float32)
        _score(batch, learner, self._weights, out)
        return out


def _checked(batch_score: npt.NDArray[Any], learner_score: npt.NDArray[Any]) -> tuple[F32, F32]:
    batch = np.ascontiguousarray(batch_score, np.float32)
    learner = np.ascontiguousarray(learner_score, np.float32)
    if batch.ndim != 1 or batch.shape != learner.shape:
        raise InputError(f"expected two columns of scores of one length, found {batch.shape} and {learner.shape}")
    if np.isnan(batch).any():
        raise InputError("a batch score is no number: without one there is nothing to fall back on")
    return batch, learner


@njit(cache=True, nogil=True)
def _bounded(score):  # type: ignore[no-untyped-def]
    return min(max(np.float64(score), _LOWEST), 1.0 - _LOWEST)


@njit(cache=True, nogil=True)
def _log_odds(probability):  # type: ignore[no-untyped-def]
    return np.log(probability / (1.0 - probability))


@njit(cache=True, nogil=True)
def _stacked(own, other, first, second, bias):  # type: ignore[no-untyped-def]
    return _bounded(1.0 / (1.0 + np.exp(-(first * own + second * other + bias))))


@njit(cache=True, nogil=True)
def _learn(batch_scores, learner_scores, labels, state, log_loss, learning_rate, share, prior_shift):  # type: ignore[no-untyped-def]
    for i in range(len(labels)):
        own = _log_odds(_bounded(batch_scores[i]))
        other = own + prior_shift if np.isnan(learner_scores[i]) else _log_odds(_bounded(learner_scores[i]))
        batch = _bounded(1.0 / (1.0 + np.exp(-(own + prior_shift))))
        stack = _stacked(own, other, state[0], state[1], state[2] + prior_shift)
        mix = state[6] * batch + state[7] * stack
        label = 1.0 if labels[i] else 0.0
        likely = batch if labels[i] else 1.0 - batch
        stack_likely = stack if labels[i] else 1.0 - stack
        log_loss[0] -= np.log(likely)
        log_loss[1] -= np.log(stack_likely)
        log_loss[2] -= np.log(mix if labels[i] else 1.0 - mix)
        total = state[6] * likely + state[7] * stack_likely
        state[6] = (1.0 - share) * state[6] * likely / total + share / 2
        state[7] = 1.0 - state[6]
        for k, value in enumerate((own, other, 1.0)):
            gradient = (stack - label) * value
            state[3 + k] += gradient * gradient
            if state[3 + k] > 0.0:
                state[k] -= learning_rate * gradient / np.sqrt(state[3 + k])
        state[0] = min(max(state[0], 0.0), _LARGEST_WEIGHT)
        state[1] = min(max(state[1], 0.0), _LARGEST_WEIGHT)
        state[2] = min(max(state[2], -_LARGEST_BIAS), _LARGEST_BIAS)


@njit(cache=True, nogil=True)
def _score(batch_scores, learner_scores, weights, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        batch = _bounded(batch_scores[i])
        own = _log_odds(batch)
        other = own if np.isnan(learner_scores[i]) else _log_odds(_bounded(learner_scores[i]))
        stack = _stacked(own, other, weights[0], weights[1], weights[2])
        out[i] = weights[3] * batch + (1.0 - weights[3]) * stack
