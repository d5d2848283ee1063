"""Learning label by label against retraining in full, on the Handbook's weeks: `python -m tests.bench.online_handbook`.

Every learner passes the book's transactions once, in order of time; a label reaches it, and the features, exactly
7 days after its transaction. On the test weeks its scores stand beside two others: batch models that are trained from
nothing, at the start of each week, on all labels known by then; and XGBoost on the book's features with its 7 days.
Who is measured, and on which transactions, is the book's protocol (`models.training.handbook.protocol`).

The combination is what the scoring job decides by: a batch model that was trained once, four weeks before the first
test week, mixed with the first learner named.

Status 0 if the bars are met: the best learner and the combination within 0.01 of the best batch model in average
precision, the learner at least 0.04 above the book's, for at most a tenth of that batch model's CPU seconds. Those of
learning are all that were spent on the stream since its first label; those of training, the test weeks' trainings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import xgboost
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from models.training.calibrate import sigmoid
from models.training.handbook import engine_features as engine
from models.training.handbook.book_features import book_features
from models.training.handbook.learners import BookSettings, baseline_scores
from models.training.handbook.protocol import (
    CHOICE_WEEKS,
    FIRST_DAY,
    REPORTED_WEEKS,
    MissingDataError,
    Transactions,
    locate,
    measure,
    read,
    split,
)
from models.training.metrics import Ranking
from online_learning.evaluate.contestant import Clocked, Contestant, Learning
from online_learning.evaluate.prequential import StoredFeatures, prequential_scores
from online_learning.learners.contract import Learner
from online_learning.learners.registry import ALL_LEARNERS
from schemas.columns import F32, F64, Bool
from tests.bench.combined import Combined

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".weir" / "bench"

LARGEST_LOSS = 0.01
LEAST_GAIN = 0.04
LARGEST_COST = 0.1
BLOCK_MS = 600_000
"""Event time that is scored at once: a label is learned at most so much after it became known."""

_COMMON = {"subsample": 0.8, "tree_method": "hist", "random_state": 0, "n_jobs": 2}
BATCH_MODELS = {
    "XGBoost, 150 trees": {
        "max_depth": 6, "n_estimators": 150, "learning_rate": 0.1, "colsample_bytree": 0.6, "reg_lambda": 3.0,
    },
    "XGBoost, 300 trees": {
        "max_depth": 6, "n_estimators": 300, "learning_rate": 0.05, "colsample_bytree": 0.5, "reg_lambda": 5.0,
        "min_child_weight": 5.0,
    },
}  # fmt: skip
BOTH = "both XGBoosts"
COMBINATION = "combination"
BATCH_DAYS = 28
"""The combination's batch model was trained so long before the first test week, and never again."""
BOOK = "book's XGBoost, 7 days"


@dataclass(slots=True)
class Outcome:
    """What one competitor reached.

    Attributes
    ----------
    rankings
        One for each test week.
    cpu_seconds
        Of learning or training, scoring left out.
    """

    kind: str
    rankings: list[Ranking] = field(default_factory=list)
    cpu_seconds: float = 0.0

    @property
    def average_precision(self) -> float:
        """Return the mean over the weeks."""
        return float(np.mean([ranking.average_precision for ranking in self.rankings]))


def cached_features(transactions: Transactions, path: Path, say: Callable[[str], None]) -> tuple[tuple[str, ...], F32]:
    """Return names and values (n, F) of the engine's features, kept in a file as long as source and data are the same.

    The features stand for the engine's sources: what computes them is part of the file's name.
    """
    digest = hashlib.sha256(repr((path.stat().st_size, engine.store_spec())).encode())
    for module in (*sorted((REPOSITORY / "models" / "features").rglob("*.py")), Path(engine.__file__)):
        digest.update(module.read_bytes())
    stored = CACHE / f"handbook-{digest.hexdigest()[:16]}"
    names_file, values_file = stored.with_suffix(".json"), stored.with_suffix(".npy")
    if not names_file.exists():
        say("computing the engine's features (once)")
        names, values = engine.engine_features(transactions)
        CACHE.mkdir(parents=True, exist_ok=True)
        np.save(values_file, values.astype(np.float32))
        names_file.write_text(json.dumps(names))
    return tuple(json.loads(names_file.read_text())), np.load(values_file)


def learn_online(
    transactions: Transactions,
    contestants: dict[str, Contestant],
    X: F32,
    weeks: tuple[date, ...],
    advance: Callable[[int], None],
) -> dict[str, Outcome]:
    """Pass the stream once; every contestant scores each block and learns each label when it is 7 days old."""
    clocked = {name: Clocked(contestant, time.process_time) for name, contestant in contestants.items()}
    event_ms = transactions.seconds * 1_000
    label_ms = event_ms + engine.LABEL_DELAY_SECONDS * 1_000
    scores = prequential_scores(
        StoredFeatures(X), clocked, event_ms, label_ms, transactions.is_fraud, block_ms=BLOCK_MS, advance=advance
    )
    outcomes = {name: Outcome("learner", cpu_seconds=clocked[name].learning_seconds) for name in contestants}
    for first_day in weeks:
        week = split(transactions, first_day)
        for name, outcome in outcomes.items():
            outcome.rankings.append(measure(transactions, week, scores[name][week.test]))
    return outcomes


def retrain(
    transactions: Transactions, X: F32, weeks: tuple[date, ...], say: Callable[[str], None]
) -> dict[str, Outcome]:
    """Train every batch model anew at the start of each week, on all transactions that are 7 days old by then."""
    outcomes = {name: Outcome("batch") for name in (*BATCH_MODELS, BOTH)}
    for first_day in weeks:
        week = split(transactions, first_day)
        start = (first_day - FIRST_DAY).days * 86_400
        known = int(np.searchsorted(transactions.seconds, start - engine.LABEL_DELAY_SECONDS))
        both = np.zeros(len(week.test))
        for name, settings in BATCH_MODELS.items():
            say(f"{name}: training on {known:,} labels for the week of {first_day}")
            begun = time.process_time()
            model = xgboost.XGBClassifier(**settings, **_COMMON)
            model.fit(X[:known], transactions.is_fraud[:known])
            seconds = time.process_time() - begun
            log_odds = np.asarray(model.predict(X[week.test], output_margin=True), np.float64)
            both += log_odds / len(BATCH_MODELS)
            _add(outcomes[name], measure(transactions, week, sigmoid(log_odds)), seconds)
            outcomes[BOTH].cpu_seconds += seconds
        _add(outcomes[BOTH], measure(transactions, week, sigmoid(both)), 0.0)
    return outcomes


def book_weeks(transactions: Transactions, weeks: tuple[date, ...], say: Callable[[str], None]) -> Outcome:
    """Train the book's model on the book's features of its 7 days, for each week."""
    outcome = Outcome("book")
    book: F64 = book_features(transactions)
    for first_day in weeks:
        say(f"{BOOK}: week of {first_day}")
        week = split(transactions, first_day)
        begun = time.process_time()
        scores = baseline_scores(BookSettings(), book[week.train], transactions.is_fraud[week.train], book[week.test])
        _add(outcome, measure(transactions, week, scores), time.process_time() - begun)
    return outcome


def _add(outcome: Outcome, ranking: Ranking, seconds: float) -> None:
    outcome.rankings.append(ranking)
    outcome.cpu_seconds += seconds


def contestants_of(names: list[str], features: tuple[str, ...], seed: int, X: F32, y: Bool) -> dict[str, Contestant]:
    """Return the learners that take part, compiled before any clock starts."""
    contestants: dict[str, Contestant] = {}
    for name in names:
        warm = ALL_LEARNERS[name](features, seed)
        warm.learn_many(X, y)
        warm.predict_proba_many(X[:10])
        contestants[name] = Learning(ALL_LEARNERS[name](features, seed))
    return contestants


def combination_of(
    transactions: Transactions, X: F32, learner: Learner, weeks: tuple[date, ...], say: Callable[[str], None]
) -> Combined:
    """Return the mix of a learner with a batch model that was trained once, on what was known 28 days before."""
    start = ((weeks[0] - FIRST_DAY).days - BATCH_DAYS) * 86_400
    known = int(np.searchsorted(transactions.seconds, start - engine.LABEL_DELAY_SECONDS))
    name, settings = next(iter(BATCH_MODELS.items()))
    say(f"{COMBINATION}: {name}, trained once on {known:,} labels")
    model = xgboost.XGBClassifier(**settings, **_COMMON)
    model.fit(X[:known], transactions.is_fraud[:known])

    def batch(rows: F32) -> F32:
        return np.asarray(model.predict_proba(rows)[:, 1], np.float32)

    # What it was trained on, and what was scored before it was there.
    return Combined(batch, int(np.searchsorted(transactions.seconds, start)), learner)


def verdicts(outcomes: dict[str, Outcome]) -> list[tuple[str, bool]]:
    """Return each bar as a sentence, and whether it is met."""
    learner = max(
        (o for o in outcomes.items() if o[1].kind == "learner" and o[0] != COMBINATION),
        key=lambda o: o[1].average_precision,
    )
    batch = max((o for o in outcomes.items() if o[1].kind == "batch"), key=lambda o: o[1].average_precision)
    loss = batch[1].average_precision - learner[1].average_precision
    gain = learner[1].average_precision - outcomes[BOOK].average_precision
    cost = learner[1].cpu_seconds / batch[1].cpu_seconds
    combined = batch[1].average_precision - outcomes[COMBINATION].average_precision
    cheapest = min(o.cpu_seconds for o in outcomes.values() if o.kind == "batch")
    return [
        (f"{learner[0]} loses {loss:+.4f} AP against {batch[0]} (at most {LARGEST_LOSS})", loss <= LARGEST_LOSS),
        (f"the {COMBINATION} loses {combined:+.4f} AP (at most {LARGEST_LOSS})", combined <= LARGEST_LOSS),
        (f"{learner[0]} gains {gain:+.4f} AP over the {BOOK} (at least {LEAST_GAIN})", gain >= LEAST_GAIN),
        (
            f"learning took {cost:.3f} of that batch model's CPU seconds (at most {LARGEST_COST}), "
            f"{learner[1].cpu_seconds / cheapest:.3f} of the cheapest one's",
            cost <= LARGEST_COST,
        ),
    ]


def _table(outcomes: dict[str, Outcome], weeks: tuple[date, ...]) -> Table:
    table = Table("competitor", title="Average precision by test week, labels 7 days late")
    for heading in (*(str(week) for week in weeks), "mean AP", "AUC ROC", "CP@100", "CPU s"):
        table.add_column(heading, justify="right")
    for name, outcome in sorted(outcomes.items(), key=lambda item: -item[1].average_precision):
        table.add_row(
            name,
            *(f"{ranking.average_precision:.4f}" for ranking in outcome.rankings),
            f"{outcome.average_precision:.4f}",
            f"{np.mean([r.auc_roc for r in outcome.rankings]):.4f}",
            f"{np.mean([r.card_precision for r in outcome.rankings]):.4f}",
            f"{outcome.cpu_seconds:.1f}",
        )
    return table


def main(argv: list[str]) -> int:
    """Run the comparison and print it; 1 if a bar is not met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.online_handbook", description=__doc__)
    parser.add_argument(
        "--learner", dest="learners", nargs="+", choices=sorted(ALL_LEARNERS),
        default=["boosted-trees", "online-forest", "logistic-regression"],
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--choice-weeks", action="store_true", help="the earlier weeks, on which settings are chosen")
    parser.add_argument("--learners-only", action="store_true", help="no batch model and no bars")
    parser.add_argument("--out", type=Path, help="file for the results, JSON")
    options = parser.parse_args(argv)
    weeks = CHOICE_WEEKS if options.choice_weeks else REPORTED_WEEKS
    console = Console(width=max(140, Console().width) if not sys.stdout.isatty() else None)
    try:
        path = locate(REPOSITORY)
    except MissingDataError as error:
        console.print(str(error), style="red")
        return 1
    bar = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*bar, console=Console(stderr=True)) as progress:

        def say(line: str) -> None:
            progress.console.print(line, highlight=False)

        transactions = read(path)
        names, X = cached_features(transactions, path, say)
        few = slice(0, 3_000)
        contestants = contestants_of(options.learners, names, options.seed, X[few], transactions.is_fraud[few])
        best = ALL_LEARNERS[options.learners[0]](names, options.seed)
        contestants[COMBINATION] = combination_of(transactions, X, best, weeks, say)
        task = progress.add_task("learning", total=len(transactions))
        outcomes = learn_online(transactions, contestants, X, weeks, lambda rows: progress.advance(task, rows))
        if not options.learners_only:
            outcomes |= retrain(transactions, X, weeks, say)
            outcomes[BOOK] = book_weeks(transactions, weeks, say)
    console.print(_table(outcomes, weeks))
    if options.out is not None:
        shown = {name: asdict(outcome) for name, outcome in outcomes.items()}
        options.out.write_text(json.dumps({"weeks": [str(week) for week in weeks], "outcomes": shown}, indent=1) + "\n")
    if options.learners_only:
        return 0
    bars = verdicts(outcomes)
    for sentence, met in bars:
        console.print(f"{sentence}: {'met' if met else 'NOT met'}", style="green" if met else "red", soft_wrap=True)
    return 0 if all(met for _, met in bars) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
