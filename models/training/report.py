"""docs/models.md with its tables, plot and numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from rich.console import Console
from rich.table import Table

from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from models.training.config import TrainingConfig
from models.training.sizes import SizeResult
from models.training.train import Split, Trained

matplotlib.use("Agg")
from matplotlib import pyplot as plt

__all__ = ["SizeResult", "print_summary", "write_report"]

_MODELS = {
    "stack": "both, calibrated",
    "gbm": "trees alone",
    "mlp": "network alone",
    "cold": "both, on a stream that has just begun",
}


def print_summary(console: Console, trained: Trained) -> None:
    """Print the main measures."""
    table = Table(title="Test, unseen days")
    for heading in ("model", "AP", "AUC ROC", "CP@100", "alert rate", "alert precision", "recall", "us/event"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for row in _model_rows(trained):
        table.add_row(*row)
    console.print(table)


def _model_rows(trained: Trained) -> list[tuple[str, ...]]:
    cost = {**trained.microseconds, "stack": sum(trained.microseconds.values())}
    rows: list[tuple[str, ...]] = []
    for name, words in _MODELS.items():
        e = trained.evaluation[name]
        alerts = (f"{e.alert_rate:.2%}", f"{e.alert_precision:.1%}", f"{e.recall:.1%}")
        if name in ("gbm", "mlp"):  # thresholds are the stack's
            alerts = ("", "", "")
        r = e.ranking
        us = f"{cost[name]:.2f}" if name in cost else ""
        rows.append((words, f"{r.average_precision:.4f}", f"{r.auc_roc:.4f}", f"{r.card_precision:.3f}", *alerts, us))
    return rows


def write_report(
    docs: Path,
    model: Path,
    trained: Trained,
    config: TrainingConfig,
    data: Split,
    sizes: list[SizeResult],
    simulated_seconds: float,
    seconds: float,
) -> None:
    """Write models.md, models.json and models.svg."""
    docs.mkdir(parents=True, exist_ok=True)
    kilobytes = {path.name: path.stat().st_size / 1000 for path in sorted(model.iterdir())}
    numbers: dict[str, Any] = {
        "feature_set": FEATURE_SET,
        "microseconds_per_event": {name: round(us, 3) for name, us in trained.microseconds.items()},
        "sizes": [asdict(size) for size in sizes],
        "kilobytes": kilobytes,
        "evaluation": {
            name: {**e.summary(), "patterns": {p: asdict(r) for p, r in e.patterns.items()}}
            for name, e in trained.evaluation.items()
        },
        "seconds": {"simulation": round(simulated_seconds), "all": round(seconds)},
        "cpus": os.cpu_count(),
    }
    (docs / "models.json").write_text(json.dumps(numbers, indent=2) + "\n")
    _plot(trained, docs / "models.svg")
    (docs / "models.md").write_text(_page(trained, config, data, sizes, kilobytes, simulated_seconds, seconds))


def _markdown(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _page(
    trained: Trained,
    config: TrainingConfig,
    data: Split,
    sizes: list[SizeResult],
    kilobytes: dict[str, float],
    simulated_seconds: float,
    seconds: float,
) -> str:
    test, cold, agreement, stack = (
        trained.evaluation["stack"], trained.evaluation["cold"], trained.agreement, trained.stack,
    )  # fmt: skip
    models = _markdown(
        ("model", "AP", "AUC ROC", "CP@100", "alert rate", "alert precision", "recall", "µs an event"),
        _model_rows(trained),
    )
    patterns = _markdown(
        ("pattern", "transactions", "reviewed or declined", "declined"),
        [
            (n, f"{p.transactions:,}", f"{p.reviewed_share:.1%}", f"{p.declined_share:.1%}")
            for n, p in test.patterns.items()
        ],
    )
    shipped = (config.trees.trees, config.trees.leaves)
    size_rows = [
        (f"{s.trees} x {s.leaves}{' (shipped)' if (s.trees, s.leaves) == shipped else ''}",
         f"{s.microseconds:.2f}", f"{s.average_precision:.4f}", f"{s.kilobytes:.0f}")
        for s in sizes
    ]  # fmt: skip
    size_table = (
        _markdown(("trees x leaves", "µs an event", "AP", "kB"), size_rows) if sizes else "Not measured in this run."
    )
    rows = _markdown(
        ("slice", "rows", "frauds", "for"),
        [
            (name, f"{len(part):,}", f"{int(part.is_fraud.sum()):,}", use)
            for name, use in (
                ("train", f"both parts; {config.legitimate_share:.0%} of the legitimate rows, weighted"),
                ("calibration", "weights of the stack"),
                ("selection", "thresholds"),
                ("test", "the tables below"),
                ("cold_test", "a population's first day"),
            )
            for part in (getattr(data, name),)
        ],
    )
    files = ", ".join(f"`{name}` {size:.0f} kB" for name, size in kilobytes.items())
    parity = "; ".join(f"{n}: {p.largest_difference:.1e} over {p.rows:,} rows" for n, p in trained.parity.items())
    return f"""# The shipped model

`make models` (= `python -m models.training`) builds the model in `models/shipped/weir-1` and writes this page. It
takes nothing from outside: the data come from the seeded simulator. This run took {seconds:.0f} s on
{os.cpu_count()} cores, {simulated_seconds:.0f} s of them for simulation and features. Equal configurations
(`models/training/config.py`) give equal weights on one machine; another processor may round otherwise.

Files: {files}. Feature set `{FEATURE_SET}`, {len(FEATURE_NAMES)} features. Licence Apache-2.0.

## What it is

- **Trees** (`gbm.onnx`): LightGBM, {config.trees.trees} trees of at most {config.trees.leaves} leaves. The graph is
  written node by node from the trained trees, with one output; thresholds are rounded down to float32, which decides
  every float32 value as LightGBM does, and a missing value takes the side that training gave it.
- **Network** (`mlp.onnx`): torch, hidden layers {config.network.hidden}. The graph holds its preprocessing: logarithm,
  standardisation, clipping, and a flag for each missing value.
- **Score**: sigmoid({stack.gbm:.3f} logit(trees) + {stack.mlp:.3f} logit(network) {stack.intercept:+.3f}), fitted on
  the calibration slice: a calibrated probability.
- **Thresholds**, chosen on the selection slice: review from {trained.review:.4f} ({config.alert_rate:.1%} of the
  transactions), decline from {trained.decline:.4f} (precision {config.decline_precision:.0%}).
- **Drift reference** (`drift_reference.npz`): what the features looked like on days {config.reference_from_day} to
  {config.days - config.test_days} of the main stream, day by day; the learner job compares the features of each day
  with it.
- **Reference data** (watch-lists, device and merchant risk) is unknown in training: rules use it, the score does not
  depend on it.

## Data

{config.accounts:,} accounts for {config.days} days, cut by time; features by the same engine as live, labels reaching
it when they become known. The target is the simulator's truth, also where no label ever arrives.
{config.cold_training_streams + 2} further populations of {config.cold_accounts:,} accounts give their first day only
({config.cold_training_streams} for training, one for calibration, one for the test), because a stream that has just
begun has short histories.

{rows}

## How good it is

{models}

µs an event: ONNX Runtime, batches of 500, one thread, the fastest tenth of the batches. Alerts on unseen days:
{test.alert_rate:.2%} of the transactions, {test.alert_precision:.1%} of them fraud, {test.recall:.1%} of the frauds and
{test.value_detection_rate:.1%} of their money. Declined: {test.decline_rate:.2%}, {test.decline_precision:.1%} of them
fraud. On the first day of a new population: {cold.alert_rate:.2%} alerts, {cold.alert_precision:.1%} of them fraud.

{patterns}

## Calibration

Expected calibration error {test.reliability.expected_calibration_error:.5f} on the test,
{cold.reliability.expected_calibration_error:.5f} on the cold stream.

![Predicted against observed share of fraud](models.svg)

## Size against cost

Trees alone, same rows, same test:

{size_table}

## Checks at export

- Native against ONNX, largest difference of a probability: {parity}. The tolerance is 2e-6: splits compare
  exactly, only float32 sums round. Half of the rows are test transactions; of the other half a quarter has missing
  values and the rest values at and next to the thresholds of splits.
- Reasons come from a path attribution that costs one walk a tree. Against LightGBM's exact contributions, on
  {agreement.alerts:,} alerts of the test: the same first feature in {agreement.same_first:.1%}, the exact first among
  our four in {agreement.exact_first_in_top_four:.1%}, {agreement.overlap_top_four:.1%} of the four principal features
  in common, mean correlation {agreement.correlation:.3f}.
"""


def _plot(trained: Trained, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
    axes.plot([1e-5, 1], [1e-5, 1], color="#9aa5b1", linewidth=1, label="perfect")
    for name, words, colour in (("stack", "test days", "#2563eb"), ("cold", "a population's first day", "#d97706")):
        r = trained.evaluation[name].reliability
        axes.plot(r.mean_score, np.maximum(r.fraud_share, 1e-5), "o-", markersize=4, color=colour, label=words)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("mean score of the bin")
    axes.set_ylabel("share of fraud in the bin")
    axes.set_title("Reliability of the score", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
