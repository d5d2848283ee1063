"""A stream in which a fraud pattern begins on a day: the engine's features and the labels, kept on disk.

The simulator's stream without one pattern until a day, and with it from then on. Transactions pass the engine in
batches; labels come with the simulator's own delays and shares, touch the engine's entities when they become known, and
are joined with the features as scored, as in the learner job.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from models.features.assemble import assemble, label_touches, make_touches
from models.features.catalogue import FEATURE_NAMES, FEATURE_SET, STORE
from models.features.entity_store import EntityStore
from models.state_map import MemoryState
from models.training.simulator import PATTERNS, SimulatorConfig
from models.training.simulator.config import DAY_MS
from models.training.simulator.simulate import Simulator
from online_learning.labels.label_join import LabelJoin, LabelJoinSettings, MaturedColumns
from schemas.columns import F32, I64, U8, Bool
from schemas.decision_reader import ScoredColumns

BATCH = 1_000
CACHE = Path(".weir/bench")


@dataclass(frozen=True, slots=True)
class Stream:
    """n transactions in the order of the stream, and m labels in the order in which they were known and joined.

    Attributes
    ----------
    X
        (n, F) features as scored.
    time_ms, pattern
        (n,) event time; index into PATTERNS, the simulator's truth.
    ends
        (b,) end of each batch among the transactions.
    labels_until
        (b,) labels that are known once a batch was scored.
    label_row, label_fraud, label_ms
        (m,) transaction of each label, its verdict, and when it became known.
    """

    X: F32
    time_ms: I64
    pattern: U8
    ends: I64
    labels_until: I64
    label_row: I64
    label_fraud: Bool
    label_ms: I64


def load_or_simulate(config: SimulatorConfig, new: str, begins_ms: int, progress: Progress) -> Stream:
    """Return the stream, from disk where the same one was simulated before."""
    names = ("X", "time_ms", "pattern", "ends", "labels_until", "label_row", "label_fraud", "label_ms")
    asked = json.dumps([asdict(config), new, begins_ms, FEATURE_SET, BATCH], sort_keys=True)
    folder = CACHE / f"drift-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        stream = simulate(config, PATTERNS.index(new), begins_ms, progress)
        for name in names:
            np.save(folder / f"{name}.npy", getattr(stream, name))
        (folder / "done").touch()
    return Stream(**{name: np.load(folder / f"{name}.npy", mmap_mode="r" if name == "X" else None) for name in names})


def simulate(config: SimulatorConfig, new: int, begins_ms: int, progress: Progress) -> Stream:
    """Pass the stream once through engine and join."""
    store, join = EntityStore(STORE), LabelJoin(LabelJoinSettings(len(FEATURE_NAMES)), MemoryState())
    parts: dict[str, list[Any]] = {"X": [], "time_ms": [], "pattern": []}
    matured: list[MaturedColumns] = []
    ends, labels_until, n, m = [], [], 0, 0
    task = progress.add_task("stream through the engine", total=config.days)
    for batch in Simulator(config).batches(BATCH):
        times = batch.transactions.event_time_ms
        kept = (batch.pattern != new) | (times >= begins_ms)
        columns, times = batch.transactions.take(kept), times[kept]
        X = assemble(columns, [store.apply(make_touches(columns, 1)[0])])
        # The score's place carries the row, by which a label finds its transaction again.
        rows = n + np.arange(len(X), dtype=np.int64)
        halves = [(rows >> 16).astype(np.float32), (rows & 0xFFFF).astype(np.float32)]
        nothing = np.zeros((len(X), len(FEATURE_NAMES)), np.float32)
        ids = (columns.transaction_id, columns.account_id, columns.counterparty_id)
        scored = ScoredColumns(*ids, times, halves[0], halves[1], halves[0], nothing)
        found = [join.take_decisions(scored)]
        if len(batch.labels):
            store.apply(label_touches(batch.labels, 1)[0])
            found.append(join.take_labels(batch.labels))
        matured += [labels for labels in found if len(labels)]
        n, m = n + len(X), m + sum(len(labels) for labels in found)
        ends.append(n)
        labels_until.append(m)
        parts["X"].append(X)
        parts["time_ms"].append(times)
        parts["pattern"].append(batch.pattern[kept])
        progress.update(task, completed=(int(times[-1]) - config.start_ms) / DAY_MS)
    row = np.concatenate([(m.score.astype(np.int64) << 16) + m.model_score.astype(np.int64) for m in matured])
    return Stream(
        np.concatenate(parts["X"]),
        np.concatenate(parts["time_ms"]),
        np.concatenate(parts["pattern"]),
        np.array(ends),
        np.array(labels_until),
        row,
        np.concatenate([m.is_fraud for m in matured]),
        np.concatenate([m.label_time_ms for m in matured]),
    )
