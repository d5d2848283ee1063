"""Last stage of a replay: every transaction is decided on by the versions, and with the reference data, on record."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.replay.deciders import Deciders
from models.scoring.decide_batch import Run, Scored, decide_rows, features_of
from models.scoring.home_batch import HomeBatch
from models.scoring.pending import Complete
from models.scoring.recorded_rows import ENTITIES_MISSING, IS_EMITTED, REFERENCE_MISSING, RecordedRows
from schemas.columns import F32, Bool


@dataclass(frozen=True, slots=True)
class RecordedReference:
    """Reference features of a batch as they were scored."""

    account_on_watchlist: F32
    counterparty_on_watchlist: F32
    device_risk: F32
    merchant_risk: F32

    @classmethod
    def of(cls, recorded: RecordedRows) -> RecordedReference:
        """Return the columns of recorded rows."""
        return cls(*(recorded.reference[:, i] for i in range(4)))


def decide_recorded(
    deciders: Deciders, complete: Complete, run: Run, account: bytes | None = None, decision_time_ms: int = 0
) -> Iterator[Scored]:
    """Decide on the transactions of a batch that the replay is to decide on.

    Parameters
    ----------
    deciders
        Of each version.
    complete
        The batch, which says what is on record of its transactions.
    run
        Kind and name of the replay.
    account
        Decide on the transactions of this originator alone; None on all.
    decision_time_ms
        For the record alone. 0: a replay's decisions are the same whenever it runs.

    Yields
    ------
    Scored
        One for each stretch of rows that have the same versions and the same parts missing.
    """
    recorded = complete.batch.recorded
    assert recorded is not None, "a replay's batches say what is on record"
    is_wanted = recorded.has(IS_EMITTED) & is_of_account(account, complete.batch)
    if not is_wanted.any():
        return
    assembled = features_of(complete, RecordedReference.of(recorded))
    missing = recorded.status & np.uint8(REFERENCE_MISSING | ENTITIES_MISSING)
    group = (recorded.version.astype(np.int64) << 4) | (missing.astype(np.int64) << 1) | is_wanted
    edges = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(group)]
    for start, end in itertools.pairwise(edges):
        if not is_wanted[start]:
            continue
        version = int(recorded.version[start])
        decider = deciders.of(recorded.versions[version] if version >= 0 else None)
        has_reference = not int(recorded.status[start]) & REFERENCE_MISSING
        yield decide_rows(decider, assembled.take(slice(start, end)), has_reference, decision_time_ms, run)


def is_of_account(account: bytes | None, batch: HomeBatch) -> Bool:
    """Return which transactions are of this originator; None is all.  # (n,)."""
    if account is None:
        return np.ones(len(batch), np.bool_)
    ids = batch.columns.account_id
    is_equal: Bool = ids.lengths == len(account)
    for row in np.flatnonzero(is_equal).tolist():
        is_equal[row] = ids.bytes_at(row) == account
    return is_equal
