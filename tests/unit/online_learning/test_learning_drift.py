"""The learning stage watches scores: the same events, wherever blocks are cut and the state is restored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from models.state_map import MemoryState
from online_learning.drift.event import DriftEvent
from online_learning.learning_stage import DECISIONS, LABELS, LearningSettings, LearningStage
from schemas.encode import encode_decisions, encode_labels
from tests.builders import a_label, label_columns
from tests.ledger import decision_columns

SETTINGS = LearningSettings(FEATURE_SET, FEATURE_NAMES, 1, 1)
START_MS = 1_700_000_000_000
N = 3_000


def told(size: int, restarts: bool, is_shifted: bool) -> tuple[list[DriftEvent], LearningStage]:
    """Feed decisions one a second, whose model score rises fourfold in the middle; return events and stage."""
    rng = np.random.default_rng(5)
    times = START_MS + 1_000 * np.arange(N)
    scores = rng.uniform(0.05, 0.15, N).astype(np.float32)
    if is_shifted:
        scores[N // 2 :] *= 4
    X = rng.normal(size=(N, len(FEATURE_NAMES))).astype(np.float32)
    columns = replace(
        decision_columns([f"t{i}" for i in range(N)], START_MS, X), model_score=scores, event_time_ms=times
    )
    values = encode_decisions(columns)
    state = MemoryState()
    stage = LearningStage(SETTINGS, state)
    events: list[DriftEvent] = []
    last = encode_labels(label_columns([a_label(transaction_id="nobody", label_time_ms=START_MS)]))
    zero = np.zeros(1, np.int32)
    stage.take(LABELS, zero, np.zeros(1, np.int64), np.array([times[-1] + 10]), [*last])
    for start in range(0, N, size):
        n = min(size, N - start)
        stage.take(
            DECISIONS, np.zeros(n, np.int32), np.arange(start, start + n), times[start : start + n],
            [*values[start : start + n]],
        )  # fmt: skip
        events += stage.take_drifts()
        if restarts:
            stage = LearningStage(SETTINGS, state)
    return events, stage


def test_a_score_that_moves_is_told_and_quickens_learning() -> None:
    events, stage = told(N, restarts=False, is_shifted=True)
    first = next(event for event in events if event.name == "model")
    middle = START_MS + 1_000 * (N // 2)
    assert (first.subject, first.severity) == ("score", "major")
    assert middle < first.detected_ms < middle + 300_000
    assert 1.4 < stage.counts.rate_factor <= 1.5


def test_a_score_that_stays_is_not_told() -> None:
    events, stage = told(N, restarts=False, is_shifted=False)
    assert [event for event in events if event.subject == "score" and event.name == "model"] == []
    assert stage.counts.rate_factor == 1.0


@pytest.mark.parametrize("size", [97, 1_000])
def test_cuts_and_restarts_leave_no_trace(size: int) -> None:
    whole, cut = told(N, restarts=False, is_shifted=True), told(size, restarts=True, is_shifted=True)
    assert whole[0] == cut[0]
    assert whole[1].counts == cut[1].counts
    assert whole[1].monitor.snapshot() == cut[1].monitor.snapshot()
