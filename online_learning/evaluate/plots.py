"""Plots of an evaluation: average precision by week, precision against recall, calibration. Needs matplotlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from online_learning.evaluate.measures import Judged, by_week, calibration
from schemas.columns import F64, Bool

FORMATS = ("png", "svg")
_MOST_POINTS = 2_000  # of a curve: more than a plot has pixels


class MissingPlotLibraryError(Exception):
    """matplotlib is not installed."""


def check_library() -> None:
    """Raise `MissingPlotLibraryError` where nothing can be plotted."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingPlotLibraryError("plots need matplotlib, which is not installed: pip install 'weir[plots]'")


def precision_recall(is_fraud: Bool, score: F64) -> tuple[F64, F64]:
    """Return precision and recall at each distinct score, from the highest score on.

    >>> [part.tolist() for part in precision_recall(np.array([True, False]), np.array([0.9, 0.1]))]
    [[1.0, 0.5], [1.0, 1.0]]
    """
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.diff(score[order], append=-np.inf) != 0)
    found = np.cumsum(is_fraud[order])[ends]
    return found / (ends + 1), found / max(int(is_fraud.sum()), 1)


def write_plots(judged: Judged, scores: Mapping[str, F64], folder: Path, by_weeks: bool = True) -> list[Path]:
    """Write the plots as PNG and SVG and return the files.

    Raises
    ------
    MissingPlotLibraryError
        If matplotlib is not installed.
    """
    check_library()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    drawings = {"precision-recall": _precision_recall, "calibration": _calibration}
    if by_weeks:
        drawings["weeks"] = _weeks
    written = []
    for name, draw in drawings.items():
        figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
        for contestant, score in scores.items():
            draw(axes, contestant, judged, score)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        for suffix in FORMATS:
            path = folder / f"{name}.{suffix}"
            figure.savefig(path, dpi=130)
            written.append(path)
        plt.close(figure)
    return written


def _weeks(axes: Any, contestant: str, judged: Judged, score: F64) -> None:
    weeks = by_week(judged, score)
    days = [datetime.fromtimestamp(start / 1_000, UTC) for start in weeks]
    axes.plot(days, [found.average_precision for found in weeks.values()], "o-", label=contestant)
    axes.set(title="Average precision by week", xlabel="week from", ylabel="average precision", ylim=(0, 1))
    axes.tick_params(axis="x", rotation=45)


def _precision_recall(axes: Any, contestant: str, judged: Judged, score: F64) -> None:
    precision, recall = precision_recall(judged.is_fraud, score)
    # Evenly by recall: the many thresholds behind the last fraud would take all points.
    shown = np.unique(np.searchsorted(recall, np.linspace(0, recall[-1], _MOST_POINTS))) if len(recall) else slice(0)
    axes.plot(recall[shown], precision[shown], label=contestant)
    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))


def _calibration(axes: Any, contestant: str, judged: Judged, score: F64) -> None:
    bins = calibration(judged, score)
    axes.plot(bins.mean_score, np.maximum(bins.fraud_share, 1e-5), "o-", label=contestant)
    axes.plot([1e-5, 1], [1e-5, 1], color="grey", linewidth=0.8)
    axes.set(
        title="Calibration", xlabel="mean score", ylabel="share of fraud", xscale="log", yscale="log",
        xlim=(1e-5, 1), ylim=(1e-5, 1),
    )  # fmt: skip
