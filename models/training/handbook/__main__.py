"""`python -m models.training.handbook`: our model against the book's, on the book's data, by the book's protocol."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from models.training.handbook.book_features import NAMES, book_features
from models.training.handbook.engine_features import engine_features
from models.training.handbook.learners import (
    BOOK_GRID,
    OUR_GRID,
    BookSettings,
    baseline_scores,
    our_scores,
)
from models.training.handbook.protocol import (
    CHOICE_WEEKS,
    REPORTED_WEEKS,
    MissingDataError,
    Transactions,
    locate,
    measure,
    read,
    split,
)
from models.training.handbook.report import Result, write_report
from models.training.metrics import Ranking
from schemas.columns import F64, Bool

logger = logging.getLogger(__name__)

S = TypeVar("S")

REPOSITORY = Path(__file__).resolve().parents[3]
REQUIRED_GAIN = 0.03
"""How much more average precision than the baseline's we ask of ourselves."""


@dataclass(frozen=True, slots=True)
class Competitor(Generic[S]):
    """Features with a learner on them, and the hyper-parameters it may choose from."""

    name: str
    features: F64
    grid: tuple[S, ...]
    scores: Callable[[S, F64, Bool, F64], F64]


def run_week(transactions: Transactions, competitor: Competitor[S], settings: S, first_day: date) -> Ranking:
    """Train on one fold and measure on its test week."""
    week = split(transactions, first_day)
    X, y = competitor.features, transactions.is_fraud
    scores = competitor.scores(settings, X[week.train], y[week.train], X[week.test])
    return measure(transactions, week, scores)


def run(
    transactions: Transactions, competitor: Competitor[S], choose: bool, step: Callable[[str], None]
) -> tuple[S, list[Ranking]]:
    """Choose the hyper-parameters by average precision on the earlier weeks, then measure the reported ones."""
    chosen, best = competitor.grid[0], -np.inf
    for settings in competitor.grid if choose and len(competitor.grid) > 1 else ():
        precision = []
        for first_day in CHOICE_WEEKS:
            step(f"{competitor.name}: choosing")
            precision.append(run_week(transactions, competitor, settings, first_day).average_precision)
        logger.info("%s %s: average precision %.4f on the earlier weeks", competitor.name, settings, np.mean(precision))
        if np.mean(precision) > best:
            chosen, best = settings, float(np.mean(precision))
    rankings = []
    for first_day in REPORTED_WEEKS:
        step(f"{competitor.name}: week of {first_day}")
        rankings.append(run_week(transactions, competitor, chosen, first_day))
    return chosen, rankings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison, print it and write it to docs/; 1 if the gain is smaller than asked for."""
    parser = argparse.ArgumentParser(prog="python -m models.training.handbook", description=__doc__)
    parser.add_argument("--docs", type=Path, default=REPOSITORY / "docs", help="folder for accuracy.md, .json and .svg")
    parser.add_argument(
        "--no-choice",
        action="store_true",
        help="skip the choice of hyper-parameters on earlier weeks and take the first of each grid (faster)",
    )
    parser.add_argument(
        "--baseline",
        type=float,
        nargs=2,
        metavar=("DEPTH", "RATE"),
        help="hyper-parameters that an earlier run chose for the baseline: nothing of ours enters that choice, so it "
        "need not be made again with every change of ours, and takes most of a run",
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    console = Console()
    try:
        path = locate(REPOSITORY)
    except MissingDataError as error:
        console.print(str(error), style="red")
        return 1
    started = time.perf_counter()
    columns = (TextColumn("{task.description:36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        transactions = read(path)
        task = progress.add_task("features of the engine", total=len(transactions))
        names, ours = engine_features(transactions, lambda events: progress.advance(task, events))
        engine_seconds = time.perf_counter() - started
        grid = BOOK_GRID
        if arguments.baseline:
            grid = (BookSettings(int(arguments.baseline[0]), arguments.baseline[1]),)
            if grid[0] not in BOOK_GRID:
                parser.error(f"--baseline {grid[0]} is not in the book's grid: {BOOK_GRID}")
        book = Competitor("book's XGBoost", book_features(transactions), grid, baseline_scores)
        weir = Competitor("Weir", ours, OUR_GRID, our_scores)
        choose = not arguments.no_choice
        folds = len(grid) * len(CHOICE_WEEKS) * (choose and len(grid) > 1) + 2 * len(REPORTED_WEEKS)
        task = progress.add_task("training", total=folds)

        def step(description: str) -> None:
            progress.update(task, description=description, advance=1)

        book_settings, baseline = run(transactions, book, choose, step)
        our_settings, rankings = run(transactions, weir, choose, step)
    result = Result(
        transactions=len(transactions),
        feature_names={"baseline": NAMES, "weir": names},
        settings={"baseline": asdict(book_settings), "weir": asdict(our_settings)},
        weeks=REPORTED_WEEKS,
        baseline=baseline,
        weir=rankings,
        chosen_on=CHOICE_WEEKS if choose else (),
        chosen_before=bool(arguments.baseline),
        engine_seconds=engine_seconds,
        seconds=time.perf_counter() - started,
    )
    console.print(_table(result))
    write_report(result, arguments.docs)
    gain = result.gain()
    met = gain.average_precision >= REQUIRED_GAIN and gain.auc_roc >= 0 and gain.card_precision >= 0
    console.print(
        f"Gain over the baseline: AP {gain.average_precision:+.4f} (asked for: +{REQUIRED_GAIN}), "
        f"AUC ROC {gain.auc_roc:+.4f}, CP@100 {gain.card_precision:+.4f}: {'met' if met else 'NOT met'}",
        style="green" if met else "red",
    )
    console.print(f"Written to {arguments.docs / 'accuracy.md'} in {result.seconds:.0f} s")
    return 0 if met else 1


def _table(result: Result) -> Table:
    table = Table(title="Fraud Detection Handbook, test weeks")
    for heading in ("test week", "model", "AUC ROC", "AP", "CP@100"):
        table.add_column(heading, justify="left" if heading in ("test week", "model") else "right")
    for week, model, ranking in result.rows():
        values = (ranking.auc_roc, ranking.average_precision, ranking.card_precision)
        table.add_row(week, model, *(f"{v:.4f}" for v in values), style="bold" if week == "mean" else None)
    return table


if __name__ == "__main__":
    sys.exit(main())
