"""Features of a file's transactions, computed as the live core computes them, labels arriving in their time."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from models.features.assemble import assemble, label_touches, make_touches
from models.features.catalogue import STORE
from models.features.entity_store import EntityStore
from online_learning.evaluate.timeline import Rows
from schemas.columns import F32, I64, Bool, LabelColumns, StringColumn, TransactionColumns

_OTHER_SOURCE = 0  # symbol `other` of the schema's LabelSource


class TransactionSource(Protocol):
    """Transactions by event time, decoded when asked for."""

    def take(self, rows: Rows) -> TransactionColumns:
        """Return some of the transactions, in the order of `rows`."""


class EngineFeatures:
    """A `FeatureSource` over the engine's entity store, one shard; reference data is unknown.

    Parameters
    ----------
    transactions
        By event time, without duplicates.
    is_fraud
        (n,) truth; read where a label becomes known.
    label_time_ms
        (n,) when.
    """

    def __init__(self, transactions: TransactionSource, is_fraud: Bool, label_time_ms: I64) -> None:
        self._transactions = transactions
        self._is_fraud = is_fraud
        self._label_time_ms = label_time_ms
        self._store = EntityStore(STORE)

    def features(self, start: int, stop: int) -> F32:
        """Return the features of consecutive transactions, which then count for those after them."""
        columns = self._transactions.take(np.arange(start, stop))
        return assemble(columns, [self._store.apply(make_touches(columns, 1)[0])])

    def labels_known(self, rows: Rows) -> None:
        """Let both sides of the transactions know what they were."""
        columns = self._transactions.take(rows)
        no_pattern: list[str | None] = [None] * len(rows)
        labels = LabelColumns(
            transaction_id=columns.transaction_id,
            account_id=columns.account_id,
            counterparty_id=columns.counterparty_id,
            event_time_ms=columns.event_time_ms,
            label_time_ms=self._label_time_ms[rows],
            is_fraud=self._is_fraud[rows],
            source=np.full(len(rows), _OTHER_SOURCE, np.uint8),
            pattern=StringColumn.from_values(no_pattern),
        )
        self._store.apply(label_touches(labels, 1)[0])
