"""What the ledger has on record of a range of transactions, by partition and offset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple

import numpy as np

from models.features.catalogue import FEATURE_INDEX
from models.scoring.recorded_rows import (
    ENTITIES_MISSING,
    IN_LEDGER,
    NOT_RECORDED,
    REFERENCE_COLUMNS,
    REFERENCE_MISSING,
    RecordedRows,
)
from schemas.columns import F32, I32, I64, U8
from schemas.ledger_reader import IS_ENTITIES_MISSING, IS_REFERENCE_MISSING, LedgerColumns, Versions

_REFERENCE = (
    "account_on_watchlist", "counterparty_on_watchlist", "device_reference_risk", "merchant_reference_risk",
)  # fmt: skip


class RecordedLedger:
    """Decisions on the transactions of some offset ranges; 45 bytes for each offset.

    Parameters
    ----------
    ranges
        First offset, and the one after the last, of each partition.
    """

    def __init__(self, ranges: Mapping[int, tuple[int, int]]) -> None:
        self._ranges = dict(ranges)
        self.versions: tuple[Versions, ...] = ()
        sizes = {partition: max(0, end - begin) for partition, (begin, end) in self._ranges.items()}
        self._status: dict[int, U8] = {p: np.zeros(n, np.uint8) for p, n in sizes.items()}
        self._version: dict[int, I32] = {p: np.full(n, NOT_RECORDED, np.int32) for p, n in sizes.items()}
        self._reference: dict[int, F32] = {
            p: np.full((n, REFERENCE_COLUMNS), np.nan, np.float32) for p, n in sizes.items()
        }
        self._sequences: dict[int, I64] = {p: np.full((n, 3), -1, np.int64) for p, n in sizes.items()}
        self.decisions = 0

    def add(self, columns: LedgerColumns) -> None:
        """Take in decisions; those outside the ranges are passed over.

        Of two decisions on one transaction the later one counts; an exactly-once ledger has one.
        """
        self.versions = columns.known_versions
        status = np.full(len(columns), IN_LEDGER, np.uint8)
        status[(columns.degraded & IS_REFERENCE_MISSING) != 0] |= REFERENCE_MISSING
        status[(columns.degraded & IS_ENTITIES_MISSING) != 0] |= ENTITIES_MISSING
        reference = columns.features[:, [FEATURE_INDEX[name] for name in _REFERENCE]]
        for partition, (begin, end) in self._ranges.items():
            rows = np.flatnonzero(
                columns.is_read
                & (columns.source_partition == partition)
                & (columns.source_offset >= begin)
                & (columns.source_offset < end)
            )
            at = columns.source_offset[rows] - begin
            self._status[partition][at] = status[rows]
            self._version[partition][at] = columns.versions[rows]
            self._reference[partition][at] = reference[rows]
            self._sequences[partition][at] = columns.touch_sequences[rows]
            self.decisions += len(rows)

    def sequences(self, partition: int, offsets: I64) -> I64:
        """Return the recorded touch sequences of transactions.  # (n, 3); -1 none."""
        found: I64 = self._sequences[partition][offsets - self._ranges[partition][0]]
        return found

    def has(self, partition: int, offsets: I64) -> U8:
        """Return which transactions have a decision.  # (n,) 1 or 0."""
        found: U8 = self._status[partition][offsets - self._ranges[partition][0]] & np.uint8(IN_LEDGER)
        return found

    def rows(self, partition: I32, offset: I64) -> RecordedRows:
        """Return what is on record of transactions, (n,); without any decision, the reference data are missing too."""
        n = len(offset)
        status, version = np.zeros(n, np.uint8), np.full(n, NOT_RECORDED, np.int32)
        reference = np.full((n, REFERENCE_COLUMNS), np.nan, np.float32)
        for number in np.unique(partition).tolist():
            if number not in self._ranges:
                continue
            of_partition = np.flatnonzero(partition == number)
            at = offset[of_partition] - self._ranges[number][0]
            status[of_partition] = self._status[number][at]
            version[of_partition] = self._version[number][at]
            reference[of_partition] = self._reference[number][at]
        status[(status & IN_LEDGER) == 0] |= REFERENCE_MISSING
        # Only the versions that these rows name travel with them.
        used, renumbered = np.unique(version, return_inverse=True)
        named = used[used >= 0]
        texts = tuple(tuple(str(text) for text in astuple(self.versions[i])) for i in named.tolist())
        return RecordedRows(status, (renumbered - (len(used) - len(named))).astype(np.int32), reference, texts)
