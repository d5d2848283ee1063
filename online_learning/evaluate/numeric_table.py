"""A plain table of numbers with a label, row after row: predict a block, then learn it; and how fast learning is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from online_learning.evaluate.contestant import Contestant
from online_learning.evaluate.measures import Judged
from online_learning.evaluate.prequential import StoredFeatures, prequential_scores
from online_learning.learners.logistic import LogisticRegression
from schemas.columns import F32, F64, Bool

BLOCK_ROWS = 100
RIVER_ROWS = 10_000
_LEAST_LABELS = 200_000


@dataclass(frozen=True, slots=True)
class NumericTable:
    """Rows in their order.

    Attributes
    ----------
    names
        Of the F columns of X.
    X
        (n, F); a missing value is NaN.
    is_fraud
        (n,) labels.
    """

    names: tuple[str, ...]
    X: F32
    is_fraud: Bool

    def judged(self) -> Judged:
        """Return what scores are measured against: neither weeks nor accounts, since the table knows none."""
        return Judged(self.is_fraud, None, np.zeros(len(self.is_fraud), np.int64))


def table_scores(
    table: NumericTable,
    contestants: Mapping[str, Contestant],
    block_rows: int = BLOCK_ROWS,
    advance: Callable[[int], None] = lambda rows: None,
) -> dict[str, F64]:
    """Return (n,) scores of each contestant; each block is learned once it was scored."""
    row = np.arange(len(table.X), dtype=np.int64)  # time goes by rows; a label is known when its block was scored
    return prequential_scores(
        StoredFeatures(table.X), contestants, row, row, table.is_fraud, block_rows, max(1, len(row)), advance
    )


@dataclass(frozen=True, slots=True)
class Throughput:
    """Labels a second: our linear learner by blocks, and River's pipeline of scaling and regression one by one."""

    ours: float
    river: float

    @property
    def ratio(self) -> float:
        """Return how many times faster ours is."""
        return self.ours / self.river


def linear_throughput(table: NumericTable, clock: Callable[[], float], block_rows: int = BLOCK_ROWS) -> Throughput:
    """Measure both on the table's rows by a clock of seconds, ours over them again until 200,000 labels were learned.

    River gets 0 for a missing value: it knows none.
    """
    from river import linear_model, optim, preprocessing  # here: it takes a second to load

    X, y = table.X, table.is_fraud
    learner = LogisticRegression(table.names)
    learner.learn_many(X[:block_rows], y[:block_rows])  # compiled before the clock starts
    learned = 0
    begun = clock()
    while learned < _LEAST_LABELS:
        for at in range(0, len(X), block_rows):
            learner.learn_many(X[at : at + block_rows], y[at : at + block_rows])
        learned += len(X)
    ours = learned / (clock() - begun)
    pipeline = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.AdaGrad(0.1))
    some = X[:RIVER_ROWS]
    records = [dict(zip(table.names, row, strict=True)) for row in np.nan_to_num(some).tolist()]
    labels = y[:RIVER_ROWS].tolist()
    begun = clock()
    for x, label in zip(records, labels, strict=True):
        pipeline.learn_one(x, label)
    return Throughput(ours, len(records) / (clock() - begun))
