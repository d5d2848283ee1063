"""What other sizes of the trees would cost and bring: the table behind the shipped one."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from models.training.config import TrainingConfig
from models.training.export import microseconds_per_event, probability, session
from models.training.metrics import rank
from models.training.train import Split
from models.training.trees import fit_trees, flatten, trees_to_onnx

logger = logging.getLogger(__name__)

SIZES = ((30, 15), (60, 15), (80, 24), (120, 31), (200, 31))
"""Trees and leaves."""


@dataclass(frozen=True, slots=True)
class SizeResult:
    """One size."""

    trees: int
    leaves: int
    microseconds: float  # per event, ONNX Runtime, batches of 500, one thread
    average_precision: float
    kilobytes: float


def measure_sizes(config: TrainingConfig, data: Split) -> list[SizeResult]:
    """Train each size on the same rows and measure its cost beside its average precision on the test."""
    results = []
    for count, leaves in SIZES:
        booster = fit_trees(
            replace(config.trees, trees=count, leaves=leaves), data.train.X, data.train.is_fraud, data.train.weight
        )
        graph = trees_to_onnx(flatten(booster), data.train.X.shape[1])
        loaded = session(graph)
        score = probability(loaded, data.test.X)
        ranking = rank(data.test.is_fraud, score, data.test.account.astype("int64"), data.test.day)
        result = SizeResult(
            count,
            leaves,
            microseconds_per_event(loaded, data.test.X),
            ranking.average_precision,
            graph.ByteSize() / 1000,
        )
        logger.info(
            "%d trees of %d leaves: %.2f us, AP %.4f", count, leaves, result.microseconds, result.average_precision
        )
        results.append(result)
    return results
