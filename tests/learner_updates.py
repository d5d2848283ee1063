"""Updates of a learner, as the learner job would publish them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from models.features.catalogue import FEATURE_NAMES
from online_learning.combination.mix import ScoreMix
from online_learning.learners.registry import ALL_LEARNERS

NAME = "logistic-regression"
KEY = f"learner/{NAME}".encode()


def an_update(seed: int, is_combined: bool) -> dict[str, Any]:
    """Make an update of a learner that learned some labels, and maybe a mix that trusts it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(300 + seed, len(FEATURE_NAMES))).astype(np.float32)
    is_fraud = X[:, seed] > 1
    learner = ALL_LEARNERS[NAME](FEATURE_NAMES, seed)
    learner.learn_many(X, is_fraud)
    mix = ScoreMix()
    mix.learn_many(np.full(len(X), 0.1, np.float32), learner.predict_proba_many(X), is_fraud)
    parameters, combination = learner.parameters(), mix.parameters() if is_combined else None
    return {
        "name": NAME,
        "version": str(learner.labels_seen),
        "sha256": hashlib.sha256(parameters + (combination or b"")).hexdigest(),
        "parameters": parameters,
        "combination": combination,
        "labels_seen": learner.labels_seen,
    }
