"""Who takes part in an evaluation, and how its outcome looks in a terminal."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping

from rich.box import SIMPLE
from rich.table import Table

from online_learning.evaluate.contestant import Clocked, Detecting, Learning
from online_learning.evaluate.measures import Measures
from online_learning.evaluate.numeric_table import Throughput
from online_learning.evaluate.report import Row
from online_learning.learners.network import ReplayNetwork
from online_learning.learners.registry import ALL_DETECTORS, ALL_LEARNERS

_HEADINGS = ("ROC AUC", "AP", "CP@100", "Brier", "ECE")


def unknown_learner(names: tuple[str, ...]) -> str:
    """Return what to say of a name that no learner has; empty if there is none."""
    known = (*ALL_LEARNERS, *ALL_DETECTORS)
    wrong = [name for name in names if name not in known]
    return f"there is no learner {wrong[0]!r}; there are {', '.join(known)}" if wrong else ""


def missing_library(names: tuple[str, ...]) -> str:
    """Return what to say of a learner that is left out for want of torch; empty if none is."""
    wanted = not names or ReplayNetwork.name in names
    if not wanted or importlib.util.find_spec("torch") is not None:
        return ""
    return f"{ReplayNetwork.name} is left out: it needs torch, which is not installed: pip install 'weir[train]'"


def contestants_of(
    names: tuple[str, ...], features: tuple[str, ...], seed: int, clock: Callable[[], float]
) -> dict[str, Clocked]:
    """Return new learners and detectors by name, all of them where none is named, with their seconds counted."""
    left_out = ReplayNetwork.name if missing_library(names) else None
    chosen = [name for name in names or (*ALL_LEARNERS, *ALL_DETECTORS) if name != left_out]
    return {
        name: Clocked(
            Learning(ALL_LEARNERS[name](features, seed))
            if name in ALL_LEARNERS
            else Detecting(ALL_DETECTORS[name](features, seed)),
            clock,
        )
        for name in chosen
    }


def measure_tables(rows: list[Row], clocked: Mapping[str, Clocked]) -> Iterator[Table]:
    """Yield tables no wider than 80 columns: measures of all transactions, then by group; and how fast each was."""
    overall = [row for row in rows if row.grouping == "all"]
    table = _measures_table(f"All: {_counts(overall[0].measures)}", "contestant")
    for row in overall:
        table.add_row(row.contestant, *_values(row.measures))
    yield table
    for grouping in dict.fromkeys(row.grouping for row in rows if row.grouping != "all"):
        table = _measures_table(f"By {grouping}", grouping, "contestant")
        of_grouping = [row for row in rows if row.grouping == grouping]
        for group in sorted({row.group for row in of_grouping}):
            of_group = [row for row in of_grouping if row.group == group]
            for place, row in enumerate(of_group):
                shown = (group, f"{row.measures.frauds:,} frauds")[place] if place < 2 else ""
                table.add_row(shown, row.contestant, *_values(row.measures), end_section=row is of_group[-1])
        yield table
    table = Table("contestant", title="Rows a second of CPU time")
    for heading in ("scored", "learned"):
        table.add_column(heading, justify="right")
    for name, took in clocked.items():
        table.add_row(
            name, _rate(took.rows_scored, took.scoring_seconds), _rate(took.labels_learned, took.learning_seconds)
        )
    yield table


def _measures_table(title: str, *names: str) -> Table:
    table = Table(title=title, box=SIMPLE)
    for name in names:
        table.add_column(name, no_wrap=name == "contestant", overflow="fold", min_width=10)  # room for a date
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def throughput_table(found: Throughput) -> Table:
    """Return a table of the linear learner's rate beside River's."""
    table = Table("learning", title="Labels a second")
    table.add_column("labels/s", justify="right")
    table.add_row("logistic-regression, learn_many", f"{found.ours:,.0f}")
    table.add_row("River, learn_one", f"{found.river:,.0f}")
    table.add_row("ratio", f"{found.ratio:,.1f}")
    return table


def _counts(found: Measures) -> str:
    return f"{found.transactions:,} transactions, {found.frauds:,} frauds"


def _values(found: Measures) -> tuple[str, ...]:
    shares = (found.auc_roc, found.average_precision, found.card_precision, found.brier, found.calibration_error)
    return tuple("–" if math.isnan(value) else f"{value:.4f}" for value in shares)


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds:,.0f}" if count and seconds else "–"
