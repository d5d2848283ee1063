"""Learners on a labelled file, predict then learn: `python -m tests.bench.learners_bench creditcard.csv`.

The file is ULB's `creditcard.csv` (columns Time, V1-V28, Amount, Class) in its own order. Prints ROC AUC, average
precision and rows a second of each learner, and the linear learner's labels a second beside River's `learn_one`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table
from river import linear_model, optim, preprocessing

from online_learning.learners.logistic import LogisticRegression
from online_learning.learners.registry import ALL_DETECTORS, ALL_LEARNERS
from schemas.columns import F32, U8

BLOCK = 100
RIVER_ROWS = 10_000


def average_precision(y: U8, scores: F32) -> float:
    """Return the area under the precision-recall curve by steps; equal scores are one step."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(y) - 1)
    frauds = np.cumsum(y[order], dtype=np.int64)[ends]
    return float(np.sum(np.diff(frauds, prepend=0) * frauds / (ends + 1)) / frauds[-1])


def roc_auc(y: U8, scores: F32) -> float:
    """Return the probability that a fraud scores above a legitimate row; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    frauds = int(y.sum())
    return float((ranks[y == 1].sum() - frauds * (frauds + 1) / 2) / (frauds * (len(y) - frauds)))


def predict_then_learn(learner: Any, X: F32, y: U8) -> tuple[F32, float]:
    """Return scores, each made before the row's block was learned, and the seconds it took."""
    scores = np.empty(len(X), np.float32)
    is_detector = hasattr(learner, "score_many")
    start = time.perf_counter()
    for at in range(0, len(X), BLOCK):
        rows = X[at : at + BLOCK]
        if is_detector:
            scores[at : at + BLOCK] = learner.score_many(rows)
            learner.learn_many(rows)
        else:
            scores[at : at + BLOCK] = learner.predict_proba_many(rows)
            learner.learn_many(rows, y[at : at + BLOCK])
    return scores, time.perf_counter() - start


def linear_rates() -> tuple[float, float]:
    """Return labels a second, 100 features, of the linear learner in blocks and of River's pipeline one by one."""
    random = np.random.default_rng(0)
    X = random.standard_normal((200_000, 100)).astype(np.float32)
    y = (random.random(len(X)) < 0.01).astype(np.uint8)
    names = tuple(f"f{j}" for j in range(100))
    learner = LogisticRegression(names)
    learner.learn_many(X[:BLOCK], y[:BLOCK])  # compiled before the clock starts
    start = time.perf_counter()
    for at in range(BLOCK, len(X), BLOCK):
        learner.learn_many(X[at : at + BLOCK], y[at : at + BLOCK])
    ours = (len(X) - BLOCK) / (time.perf_counter() - start)
    river = preprocessing.StandardScaler() | linear_model.LogisticRegression(optim.AdaGrad(0.1))
    records = [dict(zip(names, row, strict=True)) for row in X[:RIVER_ROWS].tolist()]
    labels = y[:RIVER_ROWS].astype(bool).tolist()
    start = time.perf_counter()
    for x, label in zip(records, labels, strict=True):
        river.learn_one(x, label)
    return ours, RIVER_ROWS / (time.perf_counter() - start)


def main(argv: list[str]) -> int:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.learners_bench", description=__doc__)
    parser.add_argument("file", type=Path, help="creditcard.csv")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args(argv)
    frame = pl.read_csv(options.file, schema_overrides={"Class": pl.String}, infer_schema_length=None)
    y = (frame["Class"].str.strip_chars('"') == "1").to_numpy().astype(np.uint8)
    frame = frame.drop("Class")
    names = tuple(frame.columns)
    X = frame.to_numpy().astype(np.float32)
    table = Table("learner", "seed", "ROC AUC", "average precision", "rows/s, predict and learn")
    logits = {seed: np.zeros(len(X)) for seed in options.seeds}
    for name, factory in {**ALL_LEARNERS, **ALL_DETECTORS}.items():
        for seed in options.seeds:
            predict_then_learn(factory(names, seed), X[:2000], y[:2000])  # compiled before the clock starts
            scores, seconds = predict_then_learn(factory(names, seed), X, y)
            table.add_row(
                name, str(seed), f"{roc_auc(y, scores):.4f}", f"{average_precision(y, scores):.4f}",
                f"{len(X) / seconds:,.0f}",
            )  # fmt: skip
            if name in ("logistic-regression", "online-forest"):
                clipped = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
                logits[seed] += np.log(clipped / (1 - clipped))
    for seed, sums in logits.items():
        both = sums.astype(np.float32)
        name = "mean logit of regression and forest"
        table.add_row(name, str(seed), f"{roc_auc(y, both):.4f}", f"{average_precision(y, both):.4f}", "")
    console = Console(width=100)
    console.print(table)
    ours, river = linear_rates()
    console.print(
        f"linear learner, 100 features: {ours:,.0f} labels/s; River: {river:,.0f}; ratio {ours / river:,.0f}",
        soft_wrap=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
