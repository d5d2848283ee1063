"""Features and scores of a file, kept so that the next back-test need not compute them again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deploy.cli.transaction_file import TransactionFile
from models.backtest.evaluation import Backtest, Evaluated, ScoredBlock
from models.backtest.ledger import scored
from models.backtest.rule_change import RuleChange
from models.backtest.summary import first_day_ms
from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from models.replay.file_core import FileCore
from models.scoring.core_settings import CoreSettings
from models.scoring.decide_batch import Assembled
from models.scoring.decision import outcome_of_score
from models.scoring.model import ScoringModel
from schemas.arrow import FIELDS, arrow_fields, columns_of
from schemas.columns import F32

LAYOUT = 1
"""Raised when what is kept is written in another way."""

ALWAYS = ("transaction_id", "account_id", "event_time_ms", "amount_minor", "currency", "channel")
"""Fields that every back-test reads."""

ROWS_AT_ONCE = 20_000
_META, _TRANSACTIONS, _FEATURES = "meta.json", "transactions.parquet", "features.f32"
_HISTORY, _EVIDENCE = "history_ms", "evidence_count"

Advance = Callable[[int, float], None]
"""Takes rows done and the share of the file that is done."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file was found to hold.

    Attributes
    ----------
    file_rows, rows
        Rows of the file, and transactions accepted of them.
    dead_letters, duplicates
        The others.
    newest_ms
        Highest event time; 0 without transactions.
    """

    file_rows: int
    rows: int
    dead_letters: int
    duplicates: int
    newest_ms: int


def cache_key(file: TransactionFile, order: str, core: CoreSettings) -> str:
    """Return the name of what is kept: it changes with whatever changes the features."""
    parts: dict[str, Any] = {
        "layout": LAYOUT,
        "file": file.sha256(),
        "kind": file.kind,
        "targets": dict(file.mapping.targets),
        "defaults": dict(file.mapping.defaults),
        "order": order,
        "feature_set": FEATURE_SET,
        "dedupe_horizon": core.dedupe_horizon,
        "max_record_bytes": core.max_record_bytes,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


class FeatureCache:
    """Features of one file in a folder of their own: transactions in Parquet, features as plain float32.

    Parameters
    ----------
    folder
        Of this file's features alone; there once they are complete.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def is_complete(self) -> bool:
        """Whether the features are there."""
        return (self.folder / _META).exists()

    def contents(self) -> Contents:
        """Return what the file was found to hold."""
        return Contents(**json.loads((self.folder / _META).read_text()))

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def fill(
        self,
        file: TransactionFile,
        order: str,
        core: CoreSettings,
        batch_rows: int,
        advance: Advance = lambda r, s: None,
    ) -> None:
        """Compute the features of a file. Half-done work is thrown away."""
        part = self.folder.with_name(f"{self.folder.name}.part-{os.getpid()}")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            contents = _write(part, file, order, core, batch_rows, advance)
            (part / _META).write_text(json.dumps(asdict(contents)))
            part.replace(self.folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def features(self) -> F32:
        """Return the features, mapped from the disk.  # (n, F)."""
        n = self.contents().rows
        if not n:
            return np.zeros((0, len(FEATURE_NAMES)), np.float32)
        return np.memmap(self.folder / _FEATURES, np.float32, "r", shape=(n, len(FEATURE_NAMES)))

    def has_scores(self, model: ScoringModel) -> bool:
        """Whether the scores of a model are there."""
        return self._scores(model).exists()

    def scores(self, model: ScoringModel, batch_rows: int, advance: Advance = lambda r, s: None) -> F32:
        """Return a model's scores, computed where they are not there yet.  # (n,)."""
        path = self._scores(model)
        if not path.exists():
            X = self.features()
            found = np.zeros(len(X), np.float32)
            for start in range(0, len(X), batch_rows):
                end = min(len(X), start + batch_rows)
                found[start:end] = scored(model, X[start:end])
                advance(end, end / len(X))
            part = path.with_suffix(f".part-{os.getpid()}")
            with part.open("wb") as file:
                np.save(file, found)
            part.replace(path)
        kept: F32 = np.load(path)
        return kept

    def _scores(self, model: ScoringModel) -> Path:
        return self.folder / f"score-{model.card_sha256[:24]}.npy"

    def blocks(self, reads: Iterable[str], since_ms: int, score: F32, model: ScoringModel) -> Iterator[ScoredBlock]:
        """Yield the transactions from an event time on.

        Parameters
        ----------
        reads
            Columns that rules read; of the transactions' own nothing else is read from the disk.
        since_ms
            Blocks that hold earlier transactions alone are passed over; in a block they are left out.
        score
            (n,) of the model.
        model
            For its thresholds.
        """
        names = [*ALWAYS, *(name for name in reads if name in FIELDS and name not in ALWAYS)]
        others = [_HISTORY, *(name for name in reads if name == _EVIDENCE)]
        X = self.features()
        if not len(X):
            return
        start = 0
        with pq.ParquetFile(self.folder / _TRANSACTIONS) as parquet:
            for batch in _groups(parquet, [*names, *others], since_ms):
                end = start + batch.num_rows
                if batch.num_columns:
                    yield _block(batch, X[start:end], score[start:end], model, since_ms)
                start = end


def _groups(parquet: Any, names: list[str], since_ms: int) -> Iterator[Any]:
    """Yield the row groups with some columns; without any where all of a group is too old."""
    at = parquet.schema_arrow.names.index("event_time_ms")
    for group in range(parquet.num_row_groups):
        described = parquet.metadata.row_group(group)
        statistics = described.column(at).statistics
        if statistics is not None and statistics.has_min_max and statistics.max < since_ms:
            yield _Skipped(described.num_rows)
            continue
        yield parquet.read_row_group(group, columns=names, use_threads=False).combine_chunks().to_batches()[0]


@dataclass(frozen=True, slots=True)
class _Skipped:
    num_rows: int
    num_columns: int = 0


def _block(batch: Any, X: F32, score: F32, model: ScoringModel, since_ms: int) -> ScoredBlock:
    columns = columns_of(batch)
    history = batch.column(_HISTORY).to_numpy(zero_copy_only=False)
    if _EVIDENCE in batch.schema.names:
        columns.evidence_count[:] = batch.column(_EVIDENCE).to_numpy(zero_copy_only=False)
    is_in = columns.event_time_ms >= since_ms
    if not is_in.all():
        columns, X, history, score = columns.take(is_in), X[is_in], history[is_in], score[is_in]
    return ScoredBlock(columns, X, history, score, outcome_of_score(score, model.thresholds))


def _write(
    folder: Path, file: TransactionFile, order: str, core: CoreSettings, batch_rows: int, advance: Advance
) -> Contents:
    stages = FileCore(core)
    file_rows = rows = dead_letters = duplicates = newest_ms = 0
    waiting: list[pa.RecordBatch] = []
    held = 0
    writer: Any = None
    with (folder / _FEATURES).open("wb") as features:
        for block in file.blocks(batch_rows, order):
            taken = stages.take(block.records)
            file_rows += len(block.records) + len(block.bad)
            dead_letters += len(block.bad) + len(taken.rejected)
            duplicates += len(taken.duplicates)
            if taken.assembled is not None:
                assembled = taken.assembled
                features.write(assembled.X.tobytes())
                waiting.append(_transactions(assembled))
                held += len(assembled.batch)
                rows += len(assembled.batch)
                newest_ms = max(newest_ms, int(assembled.batch.columns.event_time_ms.max()))
            if waiting and held >= ROWS_AT_ONCE:
                writer = _flush(folder, writer, waiting)
                waiting, held = [], 0
            advance(file_rows, block.share)
    if waiting:
        writer = _flush(folder, writer, waiting)
    if writer is not None:
        writer.close()
    return Contents(file_rows, rows, dead_letters, duplicates, newest_ms)


def _flush(folder: Path, writer: Any, waiting: list[pa.RecordBatch]) -> Any:
    table = pa.Table.from_batches(waiting)
    if writer is None:
        # Ids hardly repeat: a dictionary of them would only cost time.
        writer = pq.ParquetWriter(
            folder / _TRANSACTIONS, table.schema, compression="lz4", use_dictionary=["currency", "channel"]
        )
    writer.write_table(table, row_group_size=max(1, table.num_rows))
    return writer


def _transactions(assembled: Assembled) -> pa.RecordBatch:
    columns = assembled.batch.columns
    history = np.maximum(columns.event_time_ms - assembled.batch.history_start_ms, 0)
    arrays = {**arrow_fields(columns), _HISTORY: pa.array(history), _EVIDENCE: pa.array(columns.evidence_count)}
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def evaluate_kept(cache: FeatureCache, score: F32, model: ScoringModel, change: RuleChange, days: int) -> Evaluated:
    """Decide by two rule sets on the last days of what is kept."""
    since_ms = first_day_ms(cache.contents().newest_ms, days)
    rules = (*change.current.reads, *change.proposed.reads)
    backtest = Backtest(change)
    for block in cache.blocks(dict.fromkeys(name for names in rules for name in names), since_ms, score, model):
        backtest.add(block)
    return backtest.result()
