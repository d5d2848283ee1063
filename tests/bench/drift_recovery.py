"""A new fraud pattern begins in mid-stream: who finds it, and how soon? ``python -m tests.bench.drift_recovery``.

The simulator's stream without one pattern until a day, and with it from then on (`drift_stream`). Each contestant
alerts on what it scores above a threshold, which is set anew each hour so that a share of its last 24 hours' scores
lies above. Labels come with the simulator's own delays and shares, the same for all; besides, analysts label the alerts
of whoever learns, after the simulator's delay of analysts (median 9 h). They do not touch the engine's entities:
features are the same for all contestants.

Contestants: learners, each with the copy of it that stays as it was when the pattern began; and a batch model, a
logistic regression that is trained from nothing each midnight on every label known by then. Recall is the share of the
new pattern's transactions that were alerted. The copies' errors on frauds alone are watched for drift.

Prints a table, and writes a plot and a JSON file. `--again` takes numbers from the JSON file and draws.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from models.features.catalogue import FEATURE_NAMES
from models.training.simulator import PATTERNS, SimulatorConfig
from models.training.simulator.config import DAY_MS, HOUR_MS
from online_learning.drift.monitor import FRAUDS_ALONE, DriftMonitor, squared_error
from online_learning.learners.contract import Learner
from online_learning.learners.registry import ALL_LEARNERS
from schemas.columns import F32, I64, Bool
from tests.bench.drift_batch import NightlyBatch
from tests.bench.drift_plot import draw
from tests.bench.drift_stream import Stream, load_or_simulate
from tests.bench.measures import machine

ALERT_SHARE = 0.01
LOOP_HOURS = 96
"""So long before the pattern begins analysts already work on alerts."""
BIN_HOURS = 6
BATCH_MODEL = "batch model"


@dataclass(slots=True)
class Outcome:
    """What one contestant did from the pattern's beginning on; arrays over the transactions since."""

    alerted: Bool
    frozen_alerted: Bool | None
    labels_of_pattern_ms: list[int] = field(default_factory=list)  # when frauds of the new pattern became known
    detected: dict[str, Any] | None = None


class Loop:
    """One contestant's way along the stream: alerts hour by hour, labels as they become known to it."""

    def __init__(self, stream: Stream, begins_ms: int, new: int, seed: int) -> None:
        self.stream, self.begins_ms, self.new = stream, begins_ms, new
        self.starts_ms = begins_ms - LOOP_HOURS * HOUR_MS
        delays = SimulatorConfig().labels
        draws = np.random.default_rng([seed, 17])
        hours = draws.lognormal(np.log(delays.analyst_median_hours), delays.analyst_spread, len(stream.time_ms))
        self.analysed_ms: I64 = stream.time_ms + (hours * HOUR_MS).astype(np.int64) + 60_000

    def run(self, learner: Learner | NightlyBatch, progress: Progress, name: str) -> Outcome:
        """Pass the stream once."""
        stream, begins_ms = self.stream, self.begins_ms
        since = int(np.searchsorted(stream.time_ms, begins_ms))
        outcome = Outcome(np.zeros(len(stream.time_ms), np.bool_), None)
        frozen: Learner | None = None
        monitor = DriftMonitor(("error:copy",), settings=FRAUDS_ALONE)
        known = int(np.searchsorted(stream.label_ms, self.starts_ms))
        for start in range(0, known, 2_000):
            some = slice(start, min(start + 2_000, known))
            self._teach(learner, stream.label_row[some], stream.label_fraud[some])
        waiting: list[tuple[int, int, bool]] = []  # labels to come: time, row, verdict
        told: dict[int, bool] = {}
        frauds_told = 0
        threshold = frozen_threshold = Threshold()
        end_ms = int(stream.time_ms[-1])
        task = progress.add_task(name, total=(end_ms - self.starts_ms) // HOUR_MS)
        for hour_ms in range(self.starts_ms, end_ms - HOUR_MS + 1, HOUR_MS):
            first, last = np.searchsorted(stream.time_ms, [hour_ms, hour_ms + HOUR_MS]).tolist()
            if hour_ms == begins_ms and not isinstance(learner, NightlyBatch):
                frozen = type(learner).restore(learner.snapshot())
                frozen_threshold = Threshold(threshold.hours)
                outcome.frozen_alerted = np.zeros(len(stream.time_ms), np.bool_)
            if isinstance(learner, NightlyBatch) and hour_ms % DAY_MS == 0:
                learner.train()
            X = np.ascontiguousarray(stream.X[first:last])
            alerts = first + threshold.alerts(learner.predict_proba_many(X))
            outcome.alerted[alerts] = True
            if frozen is not None and outcome.frozen_alerted is not None:
                outcome.frozen_alerted[first + frozen_threshold.alerts(frozen.predict_proba_many(X))] = True
            for row in alerts.tolist():
                heapq.heappush(waiting, (int(self.analysed_ms[row]), row, bool(stream.pattern[row] > 0)))
            until = int(np.searchsorted(stream.label_ms, hour_ms + HOUR_MS))
            some = slice(known, until)
            new_labels = (stream.label_ms[some], stream.label_row[some], stream.label_fraud[some])
            for label in zip(*(column.tolist() for column in new_labels), strict=True):
                heapq.heappush(waiting, label)
            known = until
            rows, verdicts, times = _due(waiting, told, hour_ms + HOUR_MS)
            if rows:
                self._note(outcome, rows, verdicts, times)
                if frozen is not None:
                    frauds_told += sum(verdicts)
                    self._watch(outcome, monitor, frozen, rows, verdicts, times, frauds_told, last - since)
                else:
                    self._watch(outcome, monitor, learner, rows, verdicts, times, 0, 0)
                self._teach(learner, np.array(rows), np.array(verdicts))
            progress.advance(task)
        outcome.alerted = outcome.alerted[since:]
        if outcome.frozen_alerted is not None:
            outcome.frozen_alerted = outcome.frozen_alerted[since:]
        return outcome

    def _teach(self, learner: Learner | NightlyBatch, rows: I64, verdicts: Bool) -> None:
        learner.learn_many(np.stack([self.stream.X[row] for row in rows.tolist()]), verdicts)

    def _note(self, outcome: Outcome, rows: list[int], verdicts: list[bool], times: list[int]) -> None:
        outcome.labels_of_pattern_ms += [
            time
            for row, is_fraud, time in zip(rows, verdicts, times, strict=True)
            if is_fraud and self.stream.pattern[row] == self.new
        ]

    def _watch(
        self, outcome: Outcome, monitor: DriftMonitor, judge: Learner | NightlyBatch, rows: list[int],
        verdicts: list[bool], times: list[int], labels: int, events: int,
    ) -> None:  # fmt: skip
        """Watch the errors on frauds alone: a new pattern is among them at once, and among all labels a drop."""
        frauds = np.array(verdicts)
        if not frauds.any() or isinstance(judge, NightlyBatch):
            return
        X = np.stack([self.stream.X[row] for row in rows])[frauds]
        errors = squared_error(frauds[frauds], judge.predict_proba_many(X))
        for event in monitor.update_series("error:copy", errors, np.array(times)[frauds]):
            if events and event.is_rising and outcome.detected is None:
                outcome.detected = {
                    **event.as_record(),
                    "transactions_since_the_pattern_began": events,
                    "fraud_labels_since_the_pattern_began": labels,
                    "labels_of_the_pattern": len(outcome.labels_of_pattern_ms),
                }


def _due(
    waiting: list[tuple[int, int, bool]], told: dict[int, bool], until_ms: int
) -> tuple[list[int], list[bool], list[int]]:
    """Take the labels that are known by then; return rows, verdicts and times of those that say something new."""
    rows, verdicts, times = [], [], []
    while waiting and waiting[0][0] < until_ms:
        time_ms, row, is_fraud = heapq.heappop(waiting)
        if told.get(row) != is_fraud:
            told[row] = is_fraud
            rows.append(row)
            verdicts.append(is_fraud)
            times.append(time_ms)
    return rows, verdicts, times


class Threshold:
    """Alerts on what scores above ALERT_SHARE of the last 24 hours: nights and days share one budget."""

    def __init__(self, hours: Iterable[F32] = ()) -> None:
        self.hours = deque(hours, maxlen=24)

    def alerts(self, score: F32) -> I64:
        """Return the rows of an hour that are alerted."""
        known = np.concatenate(self.hours) if self.hours else score
        self.hours.append(score)
        return np.flatnonzero(score > np.quantile(known, 1.0 - ALERT_SHARE))


def recall_by_bin(alerted: Bool, time_ms: I64, is_new: Bool, begins_ms: int) -> dict[str, list[Any]]:
    """Return recall on the pattern in each six hours, with the hours at which they end and how many there were."""
    bins = (time_ms - begins_ms) // (BIN_HOURS * HOUR_MS)
    found: dict[str, list[Any]] = {"hours": [], "transactions": [], "recall": []}
    for b in range(int(bins.max())):
        rows = is_new & (bins == b)
        if rows.any():
            found["hours"].append((b + 1) * BIN_HOURS)
            found["transactions"].append(int(rows.sum()))
            found["recall"].append(round(float(alerted[rows].mean()), 4))
    return found


def share(alerted: Bool | None, rows: Bool) -> float | None:
    """Return the share of rows that were alerted; None where there is none."""
    return None if alerted is None or not rows.any() else round(float(alerted[rows].mean()), 4)


def summary(outcome: Outcome, stream: Stream, begins_ms: int, new: int) -> dict[str, Any]:
    """Return what is printed, plotted and written of one contestant."""
    since = int(np.searchsorted(stream.time_ms, begins_ms))
    times, pattern = stream.time_ms[since:], stream.pattern[since:]
    is_new = pattern == new
    if not outcome.labels_of_pattern_ms:
        raise SystemExit("no label of the pattern came: ask for more accounts or days")
    first = min(outcome.labels_of_pattern_ms)
    after = (times - first) / HOUR_MS
    both = {"learning": outcome.alerted, "frozen": outcome.frozen_alerted}
    days = {f"hours_{h}_to_{h + 24}_after": is_new & (after >= h) & (after < h + 24) for h in (0, 24, 48, 72)}
    known = np.array(outcome.labels_of_pattern_ms)
    return {
        "first_label_hours": round((first - begins_ms) / HOUR_MS, 2),
        "labels_of_pattern_after": {f"{h} h": int((known <= first + h * HOUR_MS).sum()) for h in (6, 12, 24, 48)},
        "detected_hours": hours_of(outcome.detected, begins_ms),
        "detected": outcome.detected,
        "by_day": {
            name: {"transactions": int(rows.sum()), **{w: share(a, rows) for w, a in both.items()}}
            for name, rows in days.items()
        },
        "alert_share": {w: None if a is None else round(float(a.mean()), 5) for w, a in both.items()},
        "other_frauds": {w: share(a, (pattern > 0) & ~is_new) for w, a in both.items()},
        "by_six_hours": {w: recall_by_bin(a, times, is_new, begins_ms) for w, a in both.items() if a is not None},
    }


def hours_of(detected: dict[str, Any] | None, begins_ms: int) -> float | None:
    """Return hours from the pattern's beginning to its detection."""
    return None if detected is None else round((detected["detected_ms"] - begins_ms) / HOUR_MS, 2)


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    days = ("hours_0_to_24_after", "hours_24_to_48_after", "hours_48_to_72_after")
    table = Table(title=f"new: {result['pattern']}; recall learning / frozen, after the first label")
    for title in ("contestant", "first label", "labels in 24 h", "drift found: transactions, labels of frauds"):
        table.add_column(title)
    for day in (*days, "other frauds"):
        table.add_column(day.replace("hours_", "").replace("_after", " h").replace("_", " "))

    def text(found: dict[str, Any]) -> str:
        return " / ".join("-" if found[w] is None else f"{found[w]:.2f}" for w in ("learning", "frozen"))

    for name, run in result["runs"].items():
        found = run["detected"]
        when = "-"
        if found:
            when = f"{found['transactions_since_the_pattern_began']:,}, {found['fraud_labels_since_the_pattern_began']}"
        shown = [text(run["by_day"][day]) for day in days]
        labels = str(run["labels_of_pattern_after"]["24 h"])
        table.add_row(name, f"{run['first_label_hours']} h", labels, when, *shown, text(run["other_frauds"]))
    Console(width=170).print(table)


def main() -> None:
    """Run, print, and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pattern", choices=PATTERNS[1:], default="card_testing", help="The new one.")
    names = ["exemplar-trees", "boosted-trees", "logistic-regression"]
    parser.add_argument("--learner", dest="learners", nargs="+", default=names)
    parser.add_argument("--accounts", type=int, default=40_000)
    parser.add_argument("--from-day", type=int, default=20, help="When the pattern begins.")
    parser.add_argument("--days", type=float, default=26.0, help="Length of the stream.")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--into", type=Path, default=Path("docs/bench/drift-recovery"), help="Files, without suffix.")
    parser.add_argument("--again", action="store_true", help="Only draw and print what the JSON file holds.")
    options = parser.parse_args()
    file = options.into.with_suffix(".json")
    if not options.again:
        options.into.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(measure(options), indent=2) + "\n")
    result = json.loads(file.read_text())
    options.into.with_suffix(".svg").write_text(draw(result))
    show(result)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run all contestants."""
    config = SimulatorConfig(
        seed=options.seed, accounts=options.accounts, merchants=max(200, options.accounts // 10), days=options.days
    )
    begins_ms, new = config.start_ms + options.from_day * DAY_MS, PATTERNS.index(options.pattern)
    runs: dict[str, Any] = {}
    with Progress(console=Console(stderr=True)) as progress:
        stream = load_or_simulate(config, options.pattern, begins_ms, progress)
        loop = Loop(stream, begins_ms, new, options.seed)
        for name in (*options.learners, BATCH_MODEL):
            contestant = NightlyBatch() if name == BATCH_MODEL else ALL_LEARNERS[name](FEATURE_NAMES, 0)
            runs[name] = summary(loop.run(contestant, progress, name), stream, begins_ms, new)
    settings = {"accounts": config.accounts, "days": config.days, "from_day": options.from_day, "seed": config.seed}
    return {
        "machine": machine(), **settings, "pattern": options.pattern, "alert_share": ALERT_SHARE,
        "transactions": len(stream.time_ms), "runs": runs,
    }  # fmt: skip


if __name__ == "__main__":
    main()
