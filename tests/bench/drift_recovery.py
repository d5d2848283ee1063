"""A new fraud pattern begins in mid-stream: who finds it, and how soon? ``python -m tests.bench.drift_recovery``.

The simulator's stream without one pattern until a day, and with it from then on; features by the engine, labels with
the simulator's own delays and shares, joined with the features as scored, as in the learner job. One learner goes on
learning; its copy of that day stays as it is. Both may alert on the same share of each six hours' transactions; recall
is the share of the new pattern's transactions among those. The error of the copy is watched for drift (ADWIN and
Page-Hinkley), as the learner job does.

Prints a table, and writes a plot and a JSON file.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from models.features.assemble import assemble, label_touches, make_touches
from models.features.catalogue import FEATURE_NAMES, STORE
from models.features.entity_store import EntityStore
from models.state_map import MemoryState
from models.training.simulator import PATTERNS, SimulatorConfig
from models.training.simulator.config import DAY_MS, HOUR_MS
from models.training.simulator.simulate import Simulator
from online_learning.drift.monitor import DriftMonitor, squared_error
from online_learning.labels.label_join import LabelJoin, LabelJoinSettings, MaturedColumns
from online_learning.learners.contract import Learner
from online_learning.learners.registry import ALL_LEARNERS
from schemas.columns import LabelColumns
from schemas.decision_reader import ScoredColumns
from tests.bench.measures import machine

BATCH = 1_000
BIN_MS = 6 * HOUR_MS
ALERT_SHARE = 0.01


@dataclass(slots=True)
class Run:
    """What was seen on the way; lists of arrays, one a batch."""

    begins_ms: int
    time_ms: list[Any] = field(default_factory=list)
    is_new: list[Any] = field(default_factory=list)
    learning: list[Any] = field(default_factory=list)
    frozen: list[Any] = field(default_factory=list)
    first_label_ms: int | None = None
    detected: dict[str, Any] | None = None
    events_since: int = 0


def run(config: SimulatorConfig, pattern: str, begins_ms: int, name: str, progress: Progress) -> Run:
    """Pass the stream once."""
    store, join = EntityStore(STORE), LabelJoin(LabelJoinSettings(len(FEATURE_NAMES)), MemoryState())
    learning = ALL_LEARNERS[name](FEATURE_NAMES, 0)
    frozen: Learner | None = None
    monitor, new, seen = DriftMonitor(("error:frozen",)), PATTERNS.index(pattern), Run(begins_ms)
    task = progress.add_task(f"{name}, new: {pattern}", total=config.days)
    for batch in Simulator(config).batches(BATCH):
        times = batch.transactions.event_time_ms
        kept = (batch.pattern != new) | (times >= begins_ms)
        columns, times = batch.transactions.take(kept), times[kept]
        X = assemble(columns, [store.apply(make_touches(columns, 1)[0])])
        if frozen is None and int(times[0]) >= begins_ms:
            frozen = ALL_LEARNERS[name].restore(learning.snapshot())
        score = learning.predict_proba_many(X)
        if frozen is not None:
            still = frozen.predict_proba_many(X)
            seen.time_ms.append(times)
            seen.is_new.append(batch.pattern[kept] == new)
            seen.learning.append(score)
            seen.frozen.append(still)
            seen.events_since += len(times)
        scored = ScoredColumns(columns.transaction_id, times, score, score, score, X)
        _learn(learning, frozen, join.take_decisions(scored), monitor, seen)
        if len(batch.labels):
            store.apply(label_touches(batch.labels, 1)[0])
            if seen.first_label_ms is None:
                seen.first_label_ms = _first_label(batch.labels, pattern, begins_ms)
            _learn(learning, frozen, join.take_labels(batch.labels), monitor, seen)
        progress.update(task, completed=(int(times[-1]) - config.start_ms) / DAY_MS)
    return seen


def _first_label(labels: LabelColumns, pattern: str, begins_ms: int) -> int | None:
    for row in np.flatnonzero(labels.event_time_ms >= begins_ms).tolist():
        if labels.pattern.text_at(row) == pattern:
            return int(labels.label_time_ms[row])
    return None


def _learn(
    learning: Learner, frozen: Learner | None, matured: MaturedColumns, monitor: DriftMonitor, seen: Run
) -> None:
    if len(matured) == 0:
        return
    judge = learning if frozen is None else frozen
    errors = squared_error(matured.is_fraud, judge.predict_proba_many(matured.features))
    for event in monitor.update_series("error:frozen", errors, matured.label_time_ms):
        if frozen is not None and event.is_rising and seen.detected is None:
            seen.detected = {**event.as_record(), "events_since_the_pattern_began": seen.events_since}
    learning.learn_many(matured.features, matured.is_fraud)


def recall_by_bin(seen: Run) -> dict[str, Any]:
    """Return hours since the pattern began, and the recall on it of both in each six hours."""
    times, is_new = np.concatenate(seen.time_ms), np.concatenate(seen.is_new)
    bins = (times - seen.begins_ms) // BIN_MS
    both = {"learning": np.concatenate(seen.learning), "frozen": np.concatenate(seen.frozen)}
    result: dict[str, Any] = {"hours": [], "transactions": [], "learning": [], "frozen": []}
    for b in range(int(bins.max())):
        rows = np.flatnonzero(bins == b)
        news = is_new[rows]
        if not news.any():
            continue
        result["hours"].append((b + 1) * BIN_MS / HOUR_MS)
        result["transactions"].append(int(news.sum()))
        for who, scores in both.items():
            found = scores[rows]
            alerted = np.argsort(-found, kind="stable")[: max(1, int(ALERT_SHARE * len(rows)))]
            result[who].append(float(news[alerted].sum() / news.sum()))
    return result


def daily(recall: dict[str, Any], who: str, first: float, last: float) -> float:
    """Return the recall over hours (first, last], weighed by transactions."""
    hours, weight = np.array(recall["hours"]), np.array(recall["transactions"], np.float64)
    rows = (hours > first) & (hours <= last)
    return float(np.average(np.array(recall[who])[rows], weights=weight[rows])) if rows.any() else float("nan")


def plot(runs: dict[str, dict[str, Any]], pattern: str, path: Path) -> None:
    """Draw recall over time, one panel a learner."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(len(runs), 1, figsize=(8, 3.2 * len(runs)), layout="constrained", squeeze=False)
    for axes, (name, result) in zip(panels[:, 0], runs.items(), strict=True):
        recall = result["recall"]
        for who in ("learning", "frozen"):
            axes.plot(recall["hours"], recall[who], marker=".", label=who)
        for key, text in (("first_label_hours", "first label"), ("detected_hours", "drift detected")):
            if result[key] is not None:
                axes.axvline(result[key], linestyle="--" if key == "first_label_hours" else ":", color="grey")
                axes.text(result[key], 1.02, text, fontsize="x-small", ha="center")
        axes.set(
            title=f"{name}: recall on {pattern}", ylabel="recall", ylim=(-0.02, 1.1), xlabel="hours since it began"
        )
        axes.title.set_position((0.5, 1.1))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path.with_suffix(".svg"))
    figure.savefig(path.with_suffix(".png"), dpi=130)


def main() -> None:
    """Run, print, and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pattern", choices=PATTERNS[1:], default="card_testing", help="The new one.")
    parser.add_argument("--learner", dest="learners", nargs="+", default=["logistic-regression", "boosted-trees"])
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--from-day", type=float, default=30.0, help="When the pattern begins.")
    parser.add_argument("--days", type=float, default=40.0, help="Length of the stream.")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--into", type=Path, default=Path("docs/bench/drift-recovery"), help="Files, without suffix.")
    options = parser.parse_args()
    config = SimulatorConfig(
        seed=options.seed, accounts=options.accounts, merchants=max(200, options.accounts // 10), days=options.days
    )
    begins_ms = config.start_ms + int(options.from_day * DAY_MS)
    who = ("learning", "frozen")
    runs: dict[str, dict[str, Any]] = {}
    with Progress(console=Console(stderr=True)) as progress:
        for name in options.learners:
            seen = run(config, options.pattern, begins_ms, name, progress)
            recall = recall_by_bin(seen)

            def hours(ms: int | None) -> float | None:
                return None if ms is None else round((ms - begins_ms) / HOUR_MS, 2)

            first = hours(seen.first_label_ms)
            runs[name] = {
                "first_label_hours": first,
                "detected_hours": hours(seen.detected["detected_ms"]) if seen.detected else None,
                "detected": seen.detected,
                "recall": recall,
                "first_day_after_label": {w: daily(recall, w, first or 0, (first or 0) + 24) for w in who},
                "second_day_after_label": {w: daily(recall, w, (first or 0) + 24, (first or 0) + 48) for w in who},
                "last_two_days": {w: daily(recall, w, recall["hours"][-1] - 48, 1e9) for w in who},
            }
    options.into.parent.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine(), "pattern": options.pattern, "alert_share": ALERT_SHARE, "runs": runs}
    options.into.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    plot(runs, options.pattern, options.into)
    table = Table("learner", "first label", "drift found", "events until then", title=f"new: {options.pattern}")
    periods = ("first_day_after_label", "second_day_after_label", "last_two_days")
    for period in periods:
        table.add_column(f"recall, {period.replace('_', ' ')}: learning / frozen")
    for name, found in runs.items():
        events = found["detected"]["events_since_the_pattern_began"] if found["detected"] else "-"
        shown = [f"{found[p]['learning']:.2f} / {found[p]['frozen']:.2f}" for p in periods]
        table.add_row(name, f"{found['first_label_hours']} h", f"{found['detected_hours']} h", str(events), *shown)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
