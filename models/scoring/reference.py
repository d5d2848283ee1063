"""Reference data that changes outside the stream: watch-lists, device and merchant risk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from schemas.columns import F32, TransactionColumns


@dataclass(frozen=True, slots=True)
class ReferenceColumns:
    """What is known of n transactions' parties; every array of length n."""

    account_on_watchlist: F32  # 1 on the list, 0 not on it, NaN unknown
    counterparty_on_watchlist: F32  # likewise
    device_risk: F32  # 0 to 1; NaN unknown, or no device
    merchant_risk: F32  # 0 to 1; NaN unknown

    def __len__(self) -> int:
        return len(self.account_on_watchlist)

    @classmethod
    def unknown(cls, rows: int) -> ReferenceColumns:
        """Return columns that know nothing."""
        return cls(*(np.full(rows, np.nan, np.float32) for _ in range(4)))


class ReferenceLookup(Protocol):
    """Where reference data comes from. Scoring asks once a batch."""

    def lookup(self, columns: TransactionColumns) -> ReferenceColumns | None:
        """Return what is known of a batch, or None without an answer in time.

        Never raises for the source's sake. On None the batch is scored with unknown values and says `degraded`:
        `reference`.
        """
        ...
