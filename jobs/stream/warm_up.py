"""Make a process ready before its first event: compiled functions loaded, garbage of the start out of the way."""

from __future__ import annotations

import gc
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.features.catalogue import STORE
from models.features.entity_store import EntityStore
from models.scoring.core_settings import CoreSettings
from models.scoring.decider import Decider, default_rule_set
from models.scoring.model import ScoringModel
from models.scoring.pipeline import ScoringCore
from schemas.columns import LabelColumns, RawRecords, StringColumn, TransactionColumns
from schemas.encode import encode_labels, encode_transactions

ROWS = 32
REPEATS = 3
_START_MS = 1_700_000_000_000

# A full collection walks every object that the imports made (about 300,000, tens of milliseconds). They live as long as
# the process: frozen, they are not walked. What scoring makes dies young and has few cycles.
_THRESHOLDS = (50_000, 20, 50)

SWITCH_SECONDS = 0.0005
"""A stage that comes back from compiled code waits at most so long for the other two of its process; 5 ms by default,
which is longer than what the stage has to do."""

_lock = threading.Lock()
_done = False


def warm_up(models_dir: Path) -> None:
    """Score a few made-up transactions with a core of their own; once per process, however many tasks call it.

    Without it the first batch would wait for every compiled function to be loaded, or compiled where the cache on disk
    is empty.
    """
    global _done
    with _lock:
        if _done:
            return
        core = ScoringCore(
            CoreSettings(dedupe_horizon=4096), Decider(ScoringModel.load(models_dir), default_rule_set())
        )
        for i in range(REPEATS):
            core.transactions(_records("transactions", encode_transactions(_transactions(i))))
        core.labels(_records("labels", encode_labels(_labels())))
        _change_windows()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_THRESHOLDS)
        sys.setswitchinterval(SWITCH_SECONDS)
        _done = True


def _change_windows() -> None:
    """Make a store over, as the first touch of a shard does whose state has other windows."""
    store = EntityStore(STORE)
    EntityStore.restore(replace(STORE, promote_above=STORE.promote_above // 2), store.meta(), store.dirty_pages())


def _records(topic: str, values: list[bytes]) -> RawRecords:
    n = len(values)
    return RawRecords(
        topic=topic,
        values=[*values],
        keys=[None] * n,
        partition=np.arange(n, dtype=np.int32) % 2,
        offset=np.arange(n, dtype=np.int64),
        timestamp_ms=np.full(n, _START_MS + 86_400_000, np.int64),
    )


def _ids(prefix: str, count: int, modulo: int) -> StringColumn:
    return StringColumn.from_values([f"{prefix}{i % modulo}" for i in range(count)])


def _nulls() -> StringColumn:
    values: list[str | None] = [None] * ROWS
    return StringColumn.from_values(values)


def _transactions(batch: int) -> TransactionColumns:
    nothing = _nulls()
    return TransactionColumns(
        transaction_id=StringColumn.from_values([f"T{batch}-{i}" for i in range(ROWS)]),
        event_time_ms=_START_MS + 1000 * (np.arange(ROWS, dtype=np.int64) + batch * ROWS),
        account_id=_ids("A", ROWS, 7),
        counterparty_id=_ids("M", ROWS, 5),
        amount_minor=np.arange(1, ROWS + 1, dtype=np.int64) * 995,
        currency=StringColumn.from_values(["EUR"] * ROWS),
        channel=np.full(ROWS, 1, np.uint8),
        account_country=StringColumn.from_values(["DE"] * ROWS),
        counterparty_country=StringColumn.from_values(["FR"] * ROWS),
        merchant_category=np.full(ROWS, 5411, np.int32),
        device_id=_ids("D", ROWS, 6),
        ip_address=nothing,
        memo=nothing,
        evidence_count=np.zeros(ROWS, np.int32),
        attributes=np.zeros((ROWS, 0)),
        attribute_names=(),
        schema_version=np.ones(ROWS, np.int16),
    )


def _labels() -> LabelColumns:
    return LabelColumns(
        transaction_id=StringColumn.from_values([f"T0-{i}" for i in range(ROWS)]),
        account_id=_ids("A", ROWS, 7),
        counterparty_id=_ids("M", ROWS, 5),
        event_time_ms=_START_MS + 1000 * np.arange(ROWS, dtype=np.int64),
        label_time_ms=np.full(ROWS, _START_MS + 3_600_000, np.int64),
        is_fraud=np.arange(ROWS) % 4 == 0,
        source=np.ones(ROWS, np.uint8),
        pattern=_nulls(),
    )
