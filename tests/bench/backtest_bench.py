"""Events a second of replays and back-tests of a file, by stage: `python -m tests.bench.backtest_bench [--rows N]`.

A simulated file is replayed, then back-tested along each path: features computed, features kept, and decisions as a
ledger holds them. Times are CPU time of the whole process, so that what else the machine does hardly counts.
"""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # one core; read when polars is imported

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from deploy.cli.backtest.feature_cache import FeatureCache, evaluate_kept
from deploy.cli.replay.file_run import DECISIONS, RunFiles, Selection, replay_file
from deploy.cli.transaction_file import BLOCK_ROWS, TransactionFile
from jobs.settings import DEFAULT_MODEL
from models.backtest.evaluation import Backtest, Evaluated, ScoredBlock
from models.backtest.ledger import LedgerBlocks, scored
from models.backtest.rule_change import RuleChange, proposed_rules
from models.features.entity_store import EntityStore
from models.scoring.core_settings import CoreSettings
from models.scoring.decide_batch import Run, features_of
from models.scoring.decider import Decider, default_rule_set, rule_columns
from models.scoring.decision import outcome_of_score
from models.scoring.home_stage import HomeStage
from models.scoring.model import ScoringModel
from models.scoring.pending import Complete
from models.scoring.rules import Rule, default_rules
from models.state_map import MemoryState
from models.training.simulator import SimulatorConfig
from models.training.simulator.files import write_file
from schemas.container import decisions_in
from schemas.ledger_reader import LedgerReader

DAYS = 100_000
CORE = CoreSettings()


class Stages:
    """Adds up CPU time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count what runs inside."""
        begun = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - begun

    def show(self, title: str, rows: int) -> None:
        """Print a table."""
        total = sum(self.seconds.values())
        print(f"\n| {title} | s | µs an event | events/s |\n| --- | ---: | ---: | ---: |")
        for name, seconds in {**self.seconds, "all": total}.items():
            print(
                f"| {name} | {seconds:.2f} | {1e6 * seconds / rows:.2f} | {rows / max(seconds, 1e-9):,.0f} |",
                flush=True,
            )


def a_change() -> RuleChange:
    """Return the shipped rules with one added and one replaced."""
    added = Rule("large-transfer", 1, "", "channel IN ('transfer', 'wire') AND amount >= 2000", "large", 0.5)
    shipped = default_rules()[0]
    replaced = Rule(shipped.rule_id, 9, "", shipped.expression, shipped.typology, min(1.0, shipped.weight + 0.1))
    return RuleChange(default_rules(), proposed_rules(default_rules(), (added, replaced), False), rule_columns())


def features_computed(path: Path, model: ScoringModel, change: RuleChange) -> tuple[Stages, Evaluated]:
    """Back-test a file without keeping anything, stage by stage."""
    stages, backtest = Stages(), Backtest(change)
    home = HomeStage(CORE, MemoryState())
    stores = [EntityStore(CORE.store, asks_ahead=False) for _ in range(CORE.shards)]
    blocks = TransactionFile(path).blocks()
    while True:
        with stages.of("read the file"):
            block = next(blocks, None)
        if block is None:
            return stages, backtest.result()
        with stages.of("decode, check, dedupe, touches"):
            output = home.transactions(block.records, 0)
        if output.batch is None:
            continue
        with stages.of("entity store"):
            partials = [s.apply(t) for s, t in zip(stores, output.touches, strict=True) if len(t)]
        with stages.of("assemble"):
            assembled = features_of(Complete(output.batch, partials, 0), None)
        with stages.of("model"):
            score = scored(model, assembled.X)
        with stages.of("rules and outcomes"):
            columns = output.batch.columns
            history = np.maximum(columns.event_time_ms - output.batch.history_start_ms, 0)
            asked = outcome_of_score(score, model.thresholds)
            backtest.add(ScoredBlock(columns, assembled.X, history, score, asked))


def ledger(path: Path, model: ScoringModel, change: RuleChange) -> tuple[Stages, Evaluated]:
    """Back-test a file of decisions, stage by stage."""
    stages, backtest = Stages(), Backtest(change)
    blocks, reader = LedgerBlocks({model.card_sha256: model.thresholds}), LedgerReader(len(model.feature_names))
    parts = decisions_in(path)
    while True:
        with stages.of("read the file"):
            values = next(parts, None)
        if values is None:
            return stages, backtest.result()
        with stages.of("decode"):
            columns = reader.decode(values)
            block = blocks.block(columns)
        with stages.of("rules and outcomes"):
            backtest.add(block)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=50_000)
    options = parser.parse_args()
    model, change = ScoringModel.load(DEFAULT_MODEL), a_change()
    with tempfile.TemporaryDirectory() as folder:
        small, path = Path(folder) / "small.parquet", Path(folder) / "rows.parquet"
        config = SimulatorConfig(seed=3, accounts=options.accounts)
        write_file(config, 5_000, small)
        run(small, model, change, Path(folder) / "warm", 5_000, quiet=True)  # compiles what is not compiled yet
        rows = write_file(config, options.rows, path)
        run(path, model, change, Path(folder) / "run", rows)


def run(path: Path, model: ScoringModel, change: RuleChange, folder: Path, rows: int, quiet: bool = False) -> None:
    """Measure every path on a file, and make sure that all give the same."""
    replay = Stages()
    decider = Decider(model, default_rule_set())
    with replay.of("replay: decisions with reasons, written"), RunFiles(folder / "replay") as files:
        replay_file(TransactionFile(path), CORE, decider, Run("replay", "bench"), Selection(), files)
    computed, one = features_computed(path, model, change)
    keeping, kept = Stages(), FeatureCache(folder / "features")
    with keeping.of("features computed and kept"):
        kept.fill(TransactionFile(path), "file", CORE, BLOCK_ROWS)
    other_model = Stages()
    with other_model.of("model, on features as kept"):
        score = kept.scores(model, BLOCK_ROWS)
    with other_model.of("rules and outcomes"):
        evaluate_kept(kept, score, model, change, DAYS)
    again = Stages()
    with again.of("rules and outcomes, on features and scores as kept"):
        two = evaluate_kept(kept, kept.scores(model, BLOCK_ROWS), model, change, DAYS)
    recorded, three = ledger(folder / "replay" / DECISIONS, model, change)
    for other in (two, three):
        if not (np.array_equal(one.after, other.after) and np.array_equal(one.before, other.before)):
            raise SystemExit("two paths differ")
    if not quiet and not (one.before != one.after).any():
        raise SystemExit("the rules change nothing: the measurement would leave out what a change costs")
    if quiet:
        return
    print(
        f"{rows:,} transactions, {len(change.rules)} rules, {int((one.before != one.after).sum()):,} decided otherwise"
    )
    replay.show("file replay", rows)
    computed.show("file back-test, features computed", rows)
    keeping.show("first back-test of a file: what is kept", rows)
    other_model.show("next back-test of that file, another model", rows)
    again.show("next back-test of that file, the same model", rows)
    recorded.show("ledger back-test, features as recorded", rows)


if __name__ == "__main__":
    main()
