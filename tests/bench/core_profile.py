"""Where the scoring core's time goes, without Flink: `python -m tests.bench.core_profile [--seconds 3]`.

The stages of `ScoringCore` run on simulated transactions on one core. Each line is a stage's own time, without what it
calls and is listed itself; its share a micro-batch and an event, at several batch sizes.
"""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as in the job; read when polars is imported

import argparse
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from jobs.settings import DEFAULT_MODEL
from models.features import assemble as features_assemble
from models.features.entity_store import EntityStore
from models.features.paged_store import PagedStore
from models.features.parted_store import PartedEntityStore
from models.features.partials import Partials
from models.features.placed_touches import PlacedTouches
from models.features.touch_log import TouchLog
from models.scoring import decide_batch, home_stage, pipeline
from models.scoring.core_settings import CoreSettings
from models.scoring.decider import Decider, default_rule_set
from models.scoring.deduplicate import DuplicateFilter
from models.scoring.home_batch import HomeBatch
from models.scoring.model import ScoringModel
from models.scoring.pending import PendingBatches
from models.scoring.rules import RuleSet
from models.scoring.typologies import Typologies
from models.training.simulator import SimulatorConfig, encode_stream
from schemas.columns import RawRecords
from schemas.transactions import TransactionDecoder

TEST_MODEL = Path(__file__).parents[1] / "data" / "scoring-model"
PARTITIONS = 2
WARM_BATCH = 2_000

STAGES: tuple[tuple[str, object, str], ...] = (
    ("decode", TransactionDecoder, "decode"),
    ("validate", home_stage, "validate_transactions"),
    ("dedupe", DuplicateFilter, "accept"),
    ("touches", home_stage, "make_touches"),
    ("touches: entity keys", features_assemble, "entity_keys"),
    ("touches, assemble: currency", features_assemble, "to_reference_minor"),
    ("pack batch", HomeBatch, "to_bytes"),
    ("unpack batch", HomeBatch, "from_bytes"),
    ("parts", PartedEntityStore, "apply"),
    ("place touches", PlacedTouches, "of"),
    ("log touches", TouchLog, "append"),
    ("copy pages", PagedStore, "begin_flush"),
    ("write pages", PagedStore, "go_on"),
    ("store apply", EntityStore, "enter"),
    ("pack partials", Partials, "to_bytes"),
    ("unpack partials", Partials, "from_bytes"),
    ("pending: batch", PendingBatches, "add_batch"),
    ("pending: partials", PendingBatches, "add_partials"),
    ("pending: release", PendingBatches, "release"),
    ("assemble", decide_batch, "assemble"),
    ("assemble: transactions", features_assemble, "enter_transactions"),
    ("assemble: partials", features_assemble, "enter_partials"),
    ("touch sequences", decide_batch, "touch_sequences"),
    ("rules", RuleSet, "evaluate"),
    ("typologies", Typologies, "score"),
    ("model", ScoringModel, "predict"),
    ("contributions", ScoringModel, "contributions"),
    ("reasons", Decider, "_principal_reasons"),
    ("explanations", Decider, "_explanations"),
    ("decide", Decider, "decide"),
    ("encode decisions", decide_batch, "encode_decisions"),
    ("make alerts", Decider, "alerts"),
    ("encode alerts", decide_batch, "encode_alert"),
    ("keys and columns", home_stage.HomeStage, "transactions"),
    ("keys of decisions", pipeline, "decide_batch"),
)
"""Name, owner and attribute of each function that is timed. One that was renamed fails the run, not its numbers."""


class Stopwatch:
    """Times functions by replacing them where they are looked up; nested ones are taken off the outer's time."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.own_ns: dict[str, int] = {}
        self._inner_ns = [0]

    def time(self, name: str, owner: object, attribute: str) -> None:
        """Replace `owner.attribute` by a timed one."""
        original = vars(owner)[attribute]
        is_class_method = isinstance(original, classmethod)
        run: Callable[..., Any] = original.__func__ if is_class_method else original

        @functools.wraps(run)
        def timed(*args: Any, **kwargs: Any) -> Any:
            inner = self._inner_ns
            inner.append(0)
            start = self.clock()
            try:
                return run(*args, **kwargs)
            finally:
                took = self.clock() - start
                self.own_ns[name] = self.own_ns.get(name, 0) + took - inner.pop()
                inner[-1] += took

        setattr(owner, attribute, classmethod(timed) if is_class_method else timed)


def record_stream(accounts: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of an endless simulated stream."""
    for batch in encode_stream(SimulatorConfig(seed=3, accounts=accounts), 10_000):
        yield from zip(batch.keys, batch.values, strict=True)


class Feeder:
    """Hands out micro-batches as the job's home stage sees them: all of one shard."""

    def __init__(self, accounts: int) -> None:
        self._stream = record_stream(accounts)
        self._offset = 0

    def take(self, size: int) -> RawRecords:
        """Return the next `size` records."""
        taken = list(itertools.islice(self._stream, size))
        start, self._offset = self._offset, self._offset + size
        shard = start // max(size, 1) % PARTITIONS
        return RawRecords(
            topic="weir.transactions",
            values=[value for _, value in taken],
            keys=[key for key, _ in taken],
            partition=np.full(size, shard, np.int32),
            offset=np.arange(start, self._offset),
            timestamp_ms=np.full(size, time.time_ns() // 1_000_000),
        )


def measure(
    core: pipeline.ScoringCore, feeder: Feeder, stopwatch: Stopwatch, size: int, seconds: float
) -> tuple[dict[str, float], float, float, int]:
    """Return µs a batch of every stage, of all on the mean and on the median, and the number of batches."""
    for _ in range(20):
        core.transactions(feeder.take(size))
    stopwatch.own_ns.clear()
    took = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(took) < 10:
        records = feeder.take(size)
        start = stopwatch.clock()
        core.transactions(records)
        took.append(stopwatch.clock() - start)
    stages = {name: ns / len(took) / 1000 for name, ns in stopwatch.own_ns.items()}
    total = float(np.mean(took)) / 1000
    stages["everything else"] = total - sum(stages.values())
    return stages, total, float(np.median(took)) / 1000, len(took)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200, 600, 2000], help="events a batch")
    parser.add_argument("--seconds", type=float, default=3.0, help="at each size")
    parser.add_argument("--warm", type=int, default=200_000, help="events scored before")
    parser.add_argument("--accounts", type=int, default=20_000)
    parser.add_argument("--model", type=Path, help="folder of the model; default: the shipped one, else the tests'")
    parser.add_argument("--cpu", action="store_true", help="count CPU time: for a machine that others use as well")
    options = parser.parse_args()
    folder = options.model or (DEFAULT_MODEL if (DEFAULT_MODEL / "card.json").exists() else TEST_MODEL)
    stopwatch = Stopwatch(time.process_time_ns if options.cpu else time.perf_counter_ns)
    for name, owner, attribute in STAGES:
        stopwatch.time(name, owner, attribute)
    feeder = Feeder(options.accounts)
    core = pipeline.ScoringCore(CoreSettings(), Decider(ScoringModel.load(folder), default_rule_set()))
    while feeder._offset < options.warm:
        core.transactions(feeder.take(WARM_BATCH))
    results = {size: measure(core, feeder, stopwatch, size, options.seconds) for size in options.sizes}
    table = Table(
        title=f"scoring core by stage, model {folder.name}, {options.accounts:,} accounts, "
        f"{'CPU' if options.cpu else 'wall'} time"
    )
    table.add_column("stage")
    for size in options.sizes:
        table.add_column(f"{size}\nµs/batch", justify="right")
        table.add_column("\nµs/event", justify="right")
    names = [name for name, _, _ in STAGES] + ["everything else"]
    for name in names:
        cells = []
        for size, (stages, _, _, _) in results.items():
            own = stages.get(name, 0.0)
            cells += [f"{own:,.0f}", f"{own / size:.2f}"]
        table.add_row(name, *cells)
    table.add_section()
    for label, index in (("all, mean", 1), ("all, median", 2)):
        cells = []
        for size, result in results.items():
            whole = float(result[index])  # type: ignore[arg-type]
            cells += [f"{whole:,.0f}", f"{whole / size:.2f}"]
        table.add_row(label, *cells)
    cells = [cell for size, result in results.items() for cell in (f"{size / result[2] * 1e6:,.0f}", "")]
    table.add_row("events/s (median)", *cells)
    Console(width=max(120, 40 + 22 * len(options.sizes))).print(table)


if __name__ == "__main__":
    main()
