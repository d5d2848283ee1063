"""Predict, wait for the label, learn: any number of contestants side by side on one stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from online_learning.evaluate.contestant import Contestant
from online_learning.evaluate.timeline import NEVER, LabelsKnown, Rows, timeline
from schemas.columns import F32, F64, I64, Bool


class FeatureSource(Protocol):
    """Where features come from: computed block by block, as the stream goes."""

    def features(self, start: int, stop: int) -> F32:
        """Return the (stop - start, F) features of consecutive transactions; called once for each, in order."""

    def labels_known(self, rows: Rows) -> None:
        """Take note of labels that features may use from now on."""


class StoredFeatures:
    """Features that are there already: a data set, or what decisions recorded."""

    def __init__(self, X: F32) -> None:
        self._X = X

    def features(self, start: int, stop: int) -> F32:
        """Return rows of the matrix."""
        return self._X[start:stop]

    def labels_known(self, rows: Rows) -> None:
        """Do nothing: the features were stored as they were when scored."""


def prequential_scores(
    source: FeatureSource,
    contestants: Mapping[str, Contestant],
    event_time_ms: I64,
    label_time_ms: I64,
    is_fraud: Bool,
    block_rows: int = 1_000,
    block_ms: int = 60_000,
    advance: Callable[[int], None] = lambda rows: None,
) -> dict[str, F64]:
    """Return (n,) scores of each contestant: what it said of a transaction with the labels known by then.

    Learning sees the features as they were when scored. Features are kept only until their label is known, and not at
    all where none will come in time.

    Parameters
    ----------
    source
        Of the features.
    contestants
        By name; each scores every block and learns every label.
    event_time_ms, label_time_ms, is_fraud
        (n,) of the stream, by event time; see `timeline`. `is_fraud` is read only where a label becomes known.
    block_rows, block_ms
        See `timeline`.
    advance
        Called with the number of transactions scored since the last call.
    """
    n = len(event_time_ms)
    scores = {name: np.full(n, np.nan) for name in contestants}
    last_ms = int(event_time_ms[-1]) if n else 0
    waiting = _WaitingRows((label_time_ms != NEVER) & (label_time_ms <= last_ms))
    for step in timeline(event_time_ms, label_time_ms, block_rows, block_ms):
        if isinstance(step, LabelsKnown):
            source.labels_known(step.rows)
            X = waiting.take(step.rows)
            for contestant in contestants.values():
                contestant.learn_many(X, is_fraud[step.rows])
            continue
        X = source.features(step.start, step.stop)
        for name, contestant in contestants.items():
            scores[name][step.start : step.stop] = contestant.score_many(X)
        waiting.put(step.start, X)
        advance(step.stop - step.start)
    return scores


class _WaitingRows:
    """Features between score and label, in slots that are used again."""

    def __init__(self, has_label: Bool) -> None:
        self._has_label = has_label
        self._slot = np.full(len(has_label), -1, np.int64)
        self._free = np.zeros(0, np.int64)
        self._rows = np.zeros((0, 0), np.float32)

    def put(self, start: int, X: F32) -> None:
        rows = np.flatnonzero(self._has_label[start : start + len(X)])
        if len(rows) == 0:
            return
        if len(rows) > len(self._free):
            size = len(self._rows)
            grown = np.zeros((max(2 * size, size + len(rows)), X.shape[1]), np.float32)
            grown[:size] = self._rows.reshape(size, X.shape[1])
            self._free = np.concatenate([self._free, np.arange(size, len(grown))])
            self._rows = grown
        slots, self._free = self._free[: len(rows)], self._free[len(rows) :]
        self._rows[slots] = X[rows]
        self._slot[start + rows] = slots

    def take(self, rows: Rows) -> F32:
        slots = self._slot[rows]
        self._free = np.concatenate([self._free, slots])
        return np.asarray(self._rows[slots], np.float32)
