from __future__ import annotations

import numpy as np
import pytest

from models.training.calibrate import decline_threshold, fit_stack, logit, review_threshold, sigmoid

RNG = np.random.default_rng(5)


def test_a_stack_of_calibrated_parts_keeps_them_calibrated() -> None:
    truth = RNG.normal(-3.0, 1.5, 60_000)
    fraud = RNG.random(len(truth)) < sigmoid(truth)
    probability = sigmoid(truth).astype(np.float32)
    noise = sigmoid(RNG.normal(-3.0, 1.0, len(truth))).astype(np.float32)
    stack = fit_stack(probability, noise, fraud, np.ones(len(truth), np.float32))
    assert stack.gbm == pytest.approx(1.0, abs=0.08)
    assert stack.mlp == pytest.approx(0.0, abs=0.08)
    assert stack.score(probability, noise).mean() == pytest.approx(fraud.mean(), rel=0.02)


def test_a_part_that_only_misleads_gets_no_weight() -> None:
    truth = RNG.normal(-2.0, 1.5, 20_000)
    fraud = RNG.random(len(truth)) < sigmoid(truth)
    stack = fit_stack(
        sigmoid(truth).astype(np.float32),
        sigmoid(-truth - 4).astype(np.float32),
        fraud,
        np.ones(len(truth), np.float32),
    )
    assert stack.mlp == 0.0


def test_certain_probabilities_have_finite_log_odds() -> None:
    assert np.all(np.isfinite(logit(np.array([0.0, 1.0], np.float32))))


def test_the_review_threshold_is_reached_by_the_asked_share() -> None:
    score = RNG.random(10_000)
    weight = np.ones(10_000, np.float32)
    assert (score >= review_threshold(score, weight, 0.01)).mean() == pytest.approx(0.01, abs=0.001)


def test_from_the_decline_threshold_on_the_precision_is_the_asked_one() -> None:
    score = RNG.random(50_000)
    fraud = RNG.random(50_000) < score**4
    threshold = decline_threshold(score, fraud, np.ones(50_000, np.float32), 0.9)
    assert fraud[score >= threshold].mean() >= 0.9
    assert fraud[score >= threshold - 0.1].mean() < 0.9


def test_without_any_precise_region_only_the_highest_score_is_declined() -> None:
    score = RNG.random(1_000)
    assert decline_threshold(score, np.zeros(1_000, np.bool_), np.ones(1_000, np.float32), 0.9) == score.max()
