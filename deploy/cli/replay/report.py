"""A difference as a page to look at: tables and plots in one file that needs nothing else."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from deploy.cli.replay.tables import Table
from models.replay.compare import Difference
from schemas.decisions import OUTCOMES

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; }
td, th { padding: .25rem .8rem; border-bottom: 1px solid #dde3ea; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr:hover td { background: #f4f7fa; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } .plots svg { max-width: 30rem; height: auto; }
"""
_COLOURS = ("#4c78a8", "#e45756")


def page(names: tuple[str, str], tables: Iterable[Table], plots: Iterable[str], note: str = "") -> str:
    """Return the page.

    Parameters
    ----------
    names
        Of run A and run B.
    tables
        What the terminal shows too.
    plots
        As SVG.
    note
        A sentence where plots could not be made.
    """
    return document(f"{names[0]} and {names[1]}: the difference", tables, plots, note)


def document(title: str, tables: Iterable[Table], plots: Iterable[str], note: str = "") -> str:
    """Return a page with a title, plots (SVG) and tables in one file that needs nothing else."""
    title = html.escape(title)
    parts = [f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>"]
    parts.append(f"<h1>{title}</h1>")
    if note:
        parts.append(f"<p>{html.escape(note)}</p>")
    parts.append(f"<div class='plots'>{''.join(plots)}</div>")
    for table in tables:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
        )
        parts.append(f"<h2>{html.escape(table.title)}</h2><table><tr>{head}</tr>{rows}</table>")
    return "".join(parts) + "</html>\n"


def plots_of(difference: Difference, names: tuple[str, str]) -> list[str]:
    """Return the plots as SVG.

    Raises
    ------
    MissingPlotLibraryError
        If matplotlib is not installed.
    """
    from online_learning.evaluate.plots import check_library

    check_library()
    drawings: list[Callable[[Any, Difference, tuple[str, str]], None]] = [_outcomes, _scores, _shift, _days]
    return [svg(lambda axes, draw=draw: draw(axes, difference, names)) for draw in drawings]  # type: ignore[misc]


def svg(draw: Callable[[Any], None], width: float = 6, height: float = 3.8) -> str:
    """Return what `draw` draws on a pair of axes, as SVG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    draw(axes)
    written = io.StringIO()
    figure.savefig(written, format="svg")
    plt.close(figure)
    text = written.getvalue()
    return text[text.index("<svg") :]


def _outcomes(axes: Any, d: Difference, names: tuple[str, str]) -> None:
    axes.imshow(np.log1p(d.outcomes), cmap="Blues")
    for i in range(len(OUTCOMES)):
        for k in range(len(OUTCOMES)):
            axes.text(k, i, f"{int(d.outcomes[i, k]):,}", ha="center", va="center",
                      color="white" if i == k == 0 else "black")  # fmt: skip
    axes.set_xticks(range(len(OUTCOMES)), OUTCOMES)
    axes.set_yticks(range(len(OUTCOMES)), OUTCOMES)
    axes.set(title="outcomes", xlabel=names[1], ylabel=names[0])


def _scores(axes: Any, d: Difference, names: tuple[str, str]) -> None:
    rows = np.flatnonzero(~d.is_equal)
    rows = rows[:: max(1, len(rows) // 5_000)]
    axes.scatter(d.a.score[rows], d.b.score[rows], s=6, alpha=0.4, color=_COLOURS[0])
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.set(title="scores of the decisions that differ", xlabel=names[0], ylabel=names[1])


def _shift(axes: Any, d: Difference, names: tuple[str, str]) -> None:
    bins = np.linspace(0, 1, 51)
    for run, name, colour in ((d.a, names[0], _COLOURS[0]), (d.b, names[1], _COLOURS[1])):
        axes.hist(run.score, bins=bins, histtype="step", label=name, color=colour)
    axes.set(title="scores", xlabel="score", ylabel="transactions", yscale="log")
    axes.legend()


def _days(axes: Any, d: Difference, names: tuple[str, str]) -> None:
    times = d.a.event_time_ms
    if not len(times):
        return
    edges = np.linspace(times.min(), times.max() + 1, 41)
    for run, name, colour in ((d.a, names[0], _COLOURS[0]), (d.b, names[1], _COLOURS[1])):
        counts, _ = np.histogram(run.event_time_ms[run.is_alert], edges)
        axes.stairs(counts, edges, label=name, color=colour)
    axes.set(title="alerts over event time", ylabel="alerts", xticks=[])
    axes.set_xlabel(
        f"{np.datetime64(int(times.min()), 'ms')} to {np.datetime64(int(times.max()), 'ms')}", fontsize="small"
    )
    axes.legend()
