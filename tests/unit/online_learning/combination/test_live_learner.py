"""A published learner scores as it did when it was published, and decides no more than it may."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from jobs.stream.control import Control, ControlError, ControlRecord
from models.features.catalogue import FEATURE_INDEX, FEATURE_NAMES
from models.scoring.decider import Decider, default_rule_set
from models.scoring.online import NO_SCORE
from online_learning.combination.live_learner import LiveLearner, UpdateError
from online_learning.combination.mix import MixScorer, ScoreMix
from online_learning.learners.registry import ALL_LEARNERS
from schemas.records import encode_record
from tests.recorded import a_decider, ledger_of, plain_loop, record_stream

RNG = np.random.default_rng(3)
X = RNG.normal(size=(500, len(FEATURE_NAMES))).astype(np.float32)
IS_FRAUD = X[:, 0] > 1
MODEL_SCORE = RNG.uniform(0.001, 0.2, 500).astype(np.float32)


def learned(names: tuple[str, ...] = FEATURE_NAMES) -> Any:
    learner = ALL_LEARNERS["logistic-regression"](names, 0)
    learner.learn_many(X[:, [FEATURE_INDEX[name] for name in names]], IS_FRAUD)
    return learner


def mixed(learner: Any) -> ScoreMix:
    mix = ScoreMix()
    for _ in range(5):
        mix.learn_many(MODEL_SCORE, learner.predict_proba_many(X), IS_FRAUD)
    return mix


def an_update(learner: Any, combination: bytes | None = None, **overrides: Any) -> dict[str, Any]:
    parameters = learner.parameters()
    return {
        "name": learner.name,
        "version": str(learner.labels_seen),
        "sha256": hashlib.sha256(parameters + (combination or b"")).hexdigest(),
        "parameters": parameters,
        "combination": combination,
        "labels_seen": learner.labels_seen,
        **overrides,
    }


def test_scores_are_the_learners_and_the_mixs() -> None:
    learner = learned()
    mix = mixed(learner)
    live = LiveLearner.of_update(an_update(learner, mix.parameters()), FEATURE_NAMES)
    own, decided = live.score(X, MODEL_SCORE)
    np.testing.assert_array_equal(own, learner.predict_proba_many(X))
    np.testing.assert_array_equal(decided, MixScorer(mix.parameters()).score_many(MODEL_SCORE, own))
    assert np.mean(decided[IS_FRAUD]) > 2 * np.mean(MODEL_SCORE)


def test_columns_are_found_by_name() -> None:
    names = tuple(FEATURE_NAMES[i] for i in (7, 2, 0))
    learner = learned(names)
    own, _ = LiveLearner.of_update(an_update(learner), FEATURE_NAMES).score(X, MODEL_SCORE)
    np.testing.assert_array_equal(own, learner.predict_proba_many(np.ascontiguousarray(X[:, [7, 2, 0]])))


@pytest.mark.parametrize("is_shadow", [True, False])
def test_without_a_combination_the_model_decides_alone(is_shadow: bool) -> None:
    learner = learned()
    combination = mixed(learner).parameters() if is_shadow else None
    live = LiveLearner.of_update(an_update(learner, combination), FEATURE_NAMES, is_shadow=is_shadow)
    np.testing.assert_array_equal(live.score(X, MODEL_SCORE)[1], MODEL_SCORE)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"parameters": None}, "no parameters"),
        ({"sha256": "0" * 64}, "sha256"),
        ({"parameters": b"junk", "sha256": hashlib.sha256(b"junk").hexdigest()}, "cannot be read"),
    ],
)
def test_a_broken_update_is_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UpdateError, match=message):
        LiveLearner.of_update(an_update(learned(), **overrides), FEATURE_NAMES)


def test_an_update_of_unknown_features_is_refused() -> None:
    with pytest.raises(UpdateError, match="nothing computes"):
        LiveLearner.of_update(an_update(learned()), FEATURE_NAMES[1:])


def a_record(value: bytes, offset: int, name: str = "logistic-regression") -> ControlRecord:
    return ControlRecord(f"learner/{name}".encode(), value, offset)


def test_control_swaps_the_named_learner_and_only_that() -> None:
    first, second = learned(), learned()
    second.learn_many(X, ~IS_FRAUD)
    newest = encode_record("model_update", an_update(second))
    control = Control(Decider(None, default_rule_set()), learner="logistic-regression")
    control.apply(a_record(newest, 5, name="forest"))
    assert control.decider.learner is None
    control.apply(a_record(newest, 5))
    control.apply(a_record(encode_record("model_update", an_update(first)), 3))  # older
    assert control.decider.learner is not None
    assert control.decider.learner.version == "1000"
    with pytest.raises(ControlError, match="learner/logistic-regression"):
        control.apply(a_record(b"\xfe", 6))
    assert control.decider.learner.version == "1000"
    control.apply(a_record(b"", 7))
    assert control.decider.learner is None


def test_control_without_a_learner_leaves_them_alone() -> None:
    control = Control(Decider(None, default_rule_set()))
    control.apply(a_record(encode_record("model_update", an_update(learned())), 5))
    assert control.decider.learner is None


def test_decisions_name_the_learner_and_depend_on_no_batch() -> None:
    recorded = record_stream(600, seed=3)
    learner = learned()
    live = LiveLearner.of_update(an_update(learner, mixed(learner).parameters()), FEATURE_NAMES)
    alone = plain_loop(recorded, (200,))
    by_batches = [plain_loop(recorded, sizes, decider=a_decider().with_learner(live)) for sizes in ((200,), (7, 50))]
    found = [ledger_of(run.decisions) for run in (alone, *by_batches)]
    without, first, second = found
    assert first == second
    assert len(first) > 400
    moved = 0
    for name, decision in first.items():
        before = without[name]
        assert (before["learner_name"], before["learner_score"]) == ("", NO_SCORE)
        assert before["score"] == before["model_score"] == decision["model_score"]
        assert (decision["learner_name"], decision["learner_version"]) == (learner.name, "500")
        assert 0 <= decision["learner_score"] <= 1
        moved += decision["score"] != decision["model_score"]
    assert moved > 400
