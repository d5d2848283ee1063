"""Simulated transactions with their features, computed as the live core computes them.

Transactions touch the entity store batch by batch; labels touch it after the batch in whose time they become known. A
feature therefore never sees a label that the live job would not have had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.features.assemble import assemble, entity_keys, label_touches, make_touches
from models.features.catalogue import FEATURES, STORE
from models.features.entity_store import EntityStore
from models.training.simulator.config import DAY_MS, SimulatorConfig
from models.training.simulator.simulate import Simulator
from schemas.columns import F32, F64, I64, U8, U64, Bool

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Transactions in order of time; every array of length n."""

    X: F32  # (n, features of the catalogue)
    is_fraud: Bool  # fraud or laundering: the simulator's truth
    pattern: U8  # index into the simulator's PATTERNS
    event_time_ms: I64
    account: U64  # hash of the account id
    amount: F64  # EUR
    weight: F32  # transactions that the row stands for

    def __len__(self) -> int:
        return len(self.is_fraud)

    @property
    def day(self) -> I64:
        """Return the day of each transaction, counted from 1970-01-01."""
        return self.event_time_ms // DAY_MS

    def take(self, rows: Rows | Bool | slice) -> Dataset:
        """Return some of the rows."""
        return Dataset(**{name: getattr(self, name)[rows] for name in self.__slots__})


def simulate_dataset(
    config: SimulatorConfig,
    batch_size: int,
    thin_until_ms: int = 0,
    legitimate_share: float = 1.0,
    advance: Callable[[float], None] = lambda days: None,
) -> Dataset:
    """Run the simulator through the feature engine.

    Parameters
    ----------
    config
        The stream; it needs an end.
    batch_size
        Transactions a batch.
    thin_until_ms
        Before this event time only a share of the legitimate transactions is kept. All of them pass the engine.
    legitimate_share
        That share; the rows kept get the weight 1/share.
    advance
        Called with the days of event time done since the last call.
    """
    if config.days is None:
        raise ValueError("the stream has no end: give `days`")
    store = EntityStore(STORE)
    rng = np.random.default_rng([config.seed, 99])
    parts = []
    reached_ms = config.start_ms
    for batch in Simulator(config).batches(batch_size):
        columns = batch.transactions
        partials = store.apply(make_touches(columns, 1)[0])
        X = assemble(columns, [partials])
        if len(batch.labels):
            store.apply(label_touches(batch.labels, 1)[0])
        thinned = (columns.event_time_ms < thin_until_ms) & ~batch.is_fraud
        kept = ~thinned | (rng.random(len(batch)) < legitimate_share)
        weight = np.where(thinned, 1.0 / legitimate_share, 1.0).astype(np.float32)
        part = Dataset(
            X,
            batch.is_fraud,
            batch.pattern,
            columns.event_time_ms,
            entity_keys(columns)[:, 0],
            X[:, _AMOUNT].astype(np.float64),
            weight,
        )
        parts.append(part.take(kept))
        advance((int(columns.event_time_ms[-1]) - reached_ms) / DAY_MS)
        reached_ms = int(columns.event_time_ms[-1])
    return concatenate(parts)


_AMOUNT = next(i for i, f in enumerate(FEATURES) if f.name == "amount")


def concatenate(parts: list[Dataset]) -> Dataset:
    """Return the rows of all parts, one after the other."""
    return Dataset(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in Dataset.__slots__})
