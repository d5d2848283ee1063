"""What an event costs as the work grows: entities, windows, rules, trees: `python -m tests.bench.growth [--quick]`.

The pure core on one core, in CPU time, so that what else the machine does hardly counts. Writes `growth.json`
and a plot; `--compare FILE` prints how far each point is from an earlier run's.
"""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # one core; read when polars is imported

import argparse
import datetime
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot
from rich.console import Console
from rich.progress import track
from rich.table import Table

from jobs.settings import DEFAULT_MODEL
from models.features.catalogue import FEATURE_NAMES, STORE
from models.features.paged_store import compressed
from models.features.parted_store import PartedEntityStore
from models.features.store_spec import DAY_MS, Column, StoreSpec
from models.scoring.attribution import Trees
from models.scoring.decider import rule_columns
from models.scoring.rules import RuleSet, default_rules
from models.scoring.tree_scorer import TreeScorer
from models.state_map import MemoryState
from schemas.transactions import TransactionDecoder
from tests.bench.core_profile import record_stream
from tests.bench.features_bench import BATCH, Load, touches_of_load
from tests.bench.measures import REPOSITORY, machine

MEASURED_SHARE = 0.2
"""The last part of a stream, when windows are as full as they get."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement.

    Attributes
    ----------
    what, size
        What grew, and how large it was.
    microseconds
        CPU time an event.
    memory_mib
        Of the feature store; 0 where there is none.
    checkpoint_mib, checkpoint_seconds
        A whole snapshot of the store as compressed pages, and the CPU time to make it.
    """

    what: str
    size: int
    microseconds: float
    memory_mib: float = 0.0
    checkpoint_mib: float = 0.0
    checkpoint_seconds: float = 0.0


def store_point(what: str, size: int, spec: StoreSpec, load: Load) -> Point:
    """Pass a load through a durable store; time the last part of it."""
    touches = touches_of_load(load)
    state = MemoryState()
    store = PartedEntityStore(spec, state, flush_log_bytes=1 << 62)  # the one snapshot is made below
    per_batch = 3 * BATCH
    begins_at = int(len(touches) * (1 - MEASURED_SHARE)) // per_batch * per_batch
    begun = 0.0
    for start in range(0, len(touches), per_batch):
        if start == begins_at:
            begun = time.process_time()
        store.apply(touches[start : start + per_batch])
    took = time.process_time() - begun
    begun = time.process_time()
    written = snapshot_bytes(store)
    return Point(
        what,
        size,
        round(1e6 * took / ((len(touches) - begins_at) / 3), 3),
        round(store.counters["bytes"] / 2**20, 1),
        round(written / 2**20, 1),
        round(time.process_time() - begun, 2),
    )


def snapshot_bytes(store: PartedEntityStore) -> int:
    """Write every page of a store, and return how many bytes that took."""
    return sum(len(compressed(page)) for part in store._parts for page in part.store.dirty_pages().values())


def entities(sizes: tuple[int, ...], events: int) -> Iterator[Callable[[], Point]]:
    """Measure the same stream over more and more accounts: what is kept of each shrinks, the table grows."""
    for size in sizes:
        load = Load("", int(size * 0.4), int(size * 0.2), 30, max(events, 3 * size // 4))
        yield lambda size=size, load=load: store_point("entities", size, STORE, load)


def windows(days: tuple[int, ...], events: int) -> Iterator[Callable[[], Point]]:
    """Measure busy accounts under longer and longer windows: all of the catalogue's, stretched."""
    longest = max(column.window_ms + column.delay_ms for role in range(3) for column in STORE.columns(role))
    for size in days:
        stretch = size * DAY_MS / longest

        def longer(columns: tuple[Column, ...], stretch: float = stretch) -> tuple[Column, ...]:
            return tuple(
                replace(c, window_ms=max(1, int(c.window_ms * stretch)), delay_ms=int(c.delay_ms * stretch))
                for c in columns
            )

        spec = replace(
            STORE,
            originator=longer(STORE.originator),
            beneficiary=longer(STORE.beneficiary),
            device=longer(STORE.device),
        )
        load = Load("", 400, 100, 60, events)
        yield lambda size=size, spec=spec, load=load: store_point("days of the longest window", size, spec, load)


def rules(sizes: tuple[int, ...]) -> Iterator[Callable[[], Point]]:
    """Measure more and more rules: the shipped ones again and again, each with a constant of its own."""
    shipped = default_rules()
    values = [value for _, (_, value) in zip(range(BATCH), record_stream(2_000), strict=False)]
    columns, _, _ = TransactionDecoder(None, ()).decode(list(values))
    X = np.random.default_rng(1).lognormal(1, 2, (len(columns), len(FEATURE_NAMES))).astype(np.float32)

    def point(size: int) -> Point:
        asked = [
            replace(rule, rule_id=f"{rule.rule_id}-{i}", expression=f"({rule.expression}) AND amount >= {i / 100}")
            for i in range(size)
            for rule in (shipped[i % len(shipped)],)
        ]
        rule_set = RuleSet.compile(asked, rule_columns())
        return Point("rules", size, timed(lambda: rule_set.evaluate(columns, X, 90 * DAY_MS), len(columns)))

    for size in sizes:
        yield lambda size=size: point(size)


def trees(copies: tuple[int, ...]) -> Iterator[Callable[[], Point]]:
    """Measure the shipped trees, several times over."""
    shipped = Trees.load(DEFAULT_MODEL / "trees.npz", len(FEATURE_NAMES))
    X = np.random.default_rng(2).lognormal(1, 2, (BATCH, len(FEATURE_NAMES))).astype(np.float32)

    def point(count: int) -> Point:
        nodes = len(shipped.feature)

        def shifted(ids: Any) -> Any:
            return np.concatenate([np.where(ids < 0, ids, ids + i * nodes) for i in range(count)]).astype(np.int32)

        many = Trees(
            np.tile(shipped.feature, count),
            np.tile(shipped.threshold, count),
            shifted(shipped.left),
            shifted(shipped.right),
            np.tile(shipped.value, count),
            np.tile(shipped.default_left, count),
            shifted(shipped.roots),
        )
        scorer = TreeScorer.compile(many)
        assert scorer is not None, "the shipped trees have few leaves"
        return Point("trees", len(many.roots), timed(lambda: scorer.log_odds(X), BATCH))

    for count in copies:
        yield lambda count=count: point(count)


def timed(call: Callable[[], object], events: int, seconds: float = 1.0) -> float:
    """Return µs of CPU time an event, over about so many seconds."""
    call()
    begun, calls = time.process_time(), 0
    while (spent := time.process_time() - begun) < seconds:
        call()
        calls += 1
    return round(1e6 * spent / (calls * events), 3)


def table_of(points: list[Point], earlier: dict[tuple[str, int], float]) -> Table:
    """Return the points as a table, beside an earlier run's."""
    table = Table(title="CPU time of the core as the work grows")
    for name in ("what grows", "size", "µs an event", "store MiB", "snapshot MiB", "snapshot s", "earlier µs"):
        table.add_column(name, justify="left" if name == "what grows" else "right")
    for point in points:
        before = earlier.get((point.what, point.size))
        memory = [f"{v:,.1f}" if point.memory_mib else "" for v in (point.memory_mib, point.checkpoint_mib)]
        seconds = f"{point.checkpoint_seconds:.2f}" if point.memory_mib else ""
        table.add_row(
            point.what, f"{point.size:,}", f"{point.microseconds:.2f}", *memory, seconds,
            "" if before is None else f"{before:.2f} ({point.microseconds / before - 1:+.0%})",
        )  # fmt: skip
    return table


def plot(points: list[Point], file: Path) -> None:
    """Draw µs an event over size, one panel for each thing that grows."""
    kinds = list(dict.fromkeys(point.what for point in points))
    figure, panels = pyplot.subplots(1, len(kinds), figsize=(4 * len(kinds), 3.2), squeeze=False)
    for panel, kind in zip(panels[0], kinds, strict=True):
        of_kind = [point for point in points if point.what == kind]
        panel.plot([p.size for p in of_kind], [p.microseconds for p in of_kind], "o-")
        panel.set(xscale="log", xlabel=kind, ylabel="µs an event", ylim=(0, None))
        panel.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, for a look")
    parser.add_argument("--events", type=int, help="events of each stream, at least (default 1,000,000)")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "bench", help="folder of the results")
    parser.add_argument("--compare", type=Path, help="growth.json of an earlier run (default: the one replaced)")
    options = parser.parse_args()
    events = options.events or (100_000 if options.quick else 1_000_000)
    exponents = (4, 5) if options.quick else (4, 5, 6, 7)
    steps = [
        *entities(tuple(10**e for e in exponents), events),
        *windows((1, 7, 30) if options.quick else (1, 7, 30, 90), events),
        *rules((1, 10, 50) if options.quick else (1, 10, 50, 100, 200, 500)),
        *trees((1, 2) if options.quick else (1, 2, 4, 8)),
    ]
    file = options.out / "growth.json"
    compared = options.compare or file
    earlier = json.loads(compared.read_text())["points"] if compared.exists() else []
    console = Console()
    points = [step() for step in track(steps, "measuring", console=console)]
    console.print(table_of(points, {(p["what"], p["size"]): p["microseconds"] for p in earlier}))
    results = {
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "points": [asdict(point) for point in points],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n")
    plot(points, options.out / "growth.png")
    console.print(f"wrote {file} and growth.png")


if __name__ == "__main__":
    main()
