"""The difference of two runs over the same transactions, on columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from models.features.catalogue import FEATURE_NAMES
from models.features.currency import to_reference_minor
from models.scoring.typologies import APPROVE
from schemas.columns import F32, I64, U8, U64, Bool
from schemas.hashing import hash_strings
from schemas.ledger_reader import LedgerColumns, explanation_of

OUTCOME_COUNT = 3
QUANTILES = (0.0, 0.01, 0.05, 0.5, 0.95, 0.99, 1.0)
_OFFSET_BITS = 48


@dataclass(frozen=True, slots=True)
class AlertText:
    """What an analyst reads of an alert."""

    transaction_id: str
    account_id: str
    reasons: tuple[str, ...]  # codes, strongest first; those of rules as RULE:id


@dataclass(frozen=True, slots=True)
class RunColumns:
    """n decisions of a run, by place.

    Attributes
    ----------
    place
        (n,) partition and offset of the transaction in one number, ascending.
    body
        (n,) hash of the decision but for `processing`.
    transaction, account
        (n,) hashes of the ids.
    amount
        (n,) in minor units of the reference currency.
    features
        (n, F) as scored.
    alerts
        By place, of the transactions that were not approved.
    """

    place: I64
    body: U64
    transaction: U64
    account: U64
    event_time_ms: I64
    amount: I64
    outcome: U8
    score: F32
    features: F32
    alerts: Mapping[int, AlertText]

    def __len__(self) -> int:
        return len(self.place)

    def take(self, rows: Bool | I64) -> RunColumns:
        """Return some of the decisions."""
        return RunColumns(
            self.place[rows], self.body[rows], self.transaction[rows], self.account[rows], self.event_time_ms[rows],
            self.amount[rows], self.outcome[rows], self.score[rows], self.features[rows], self.alerts,
        )  # fmt: skip

    @property
    def is_alert(self) -> Bool:
        """Which were not approved."""
        found: Bool = self.outcome != APPROVE
        return found


@dataclass(slots=True)
class RunBuilder:
    """Gathers the decisions of a run; about 320 bytes for each."""

    _parts: list[RunColumns] = field(default_factory=list)
    unread: int = 0

    def add(self, columns: LedgerColumns) -> None:
        """Take in decisions; those that cannot be read are counted."""
        rows = np.flatnonzero(columns.is_read)
        self.unread += len(columns) - len(rows)
        place = (columns.source_partition.astype(np.int64) << _OFFSET_BITS) | columns.source_offset
        alerts = {}
        for row in np.flatnonzero(columns.is_read & (columns.outcome != APPROVE)).tolist():
            explanation = explanation_of(columns, row)
            codes = [reason["code"] for reason in explanation["reasons"]]
            codes += [f"RULE:{hit['rule_id']}" for hit in explanation["rule_hits"]]
            alerts[int(place[row])] = AlertText(
                columns.transaction_id.text_at(row) or "", columns.account_id.text_at(row) or "",
                tuple(dict.fromkeys(codes)),
            )  # fmt: skip
        self._parts.append(
            RunColumns(
                place[rows], columns.body_hashes()[rows], hash_strings(columns.transaction_id)[rows],
                hash_strings(columns.account_id)[rows], columns.event_time_ms[rows],
                to_reference_minor(columns.amount_minor[rows], columns.currency.take(rows)), columns.outcome[rows],
                columns.score[rows], columns.features[rows], alerts,
            )
        )  # fmt: skip

    def build(self) -> RunColumns:
        """Return the run, by place; of several decisions on one transaction the last one counts."""
        parts = self._parts

        def joined(name: str, empty: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
            return np.concatenate([empty, *(getattr(part, name) for part in parts)])

        place = joined("place", np.zeros(0, np.int64))
        order = np.argsort(place, kind="stable")
        is_last = np.append(np.diff(place[order]) != 0, True)[: len(order)]
        alerts: dict[int, AlertText] = {}
        for part in parts:
            alerts.update(part.alerts)
        numbers = np.zeros(0, np.uint64)
        whole = RunColumns(
            place, joined("body", numbers), joined("transaction", numbers), joined("account", numbers),
            joined("event_time_ms", np.zeros(0, np.int64)), joined("amount", np.zeros(0, np.int64)),
            joined("outcome", np.zeros(0, np.uint8)), joined("score", np.zeros(0, np.float32)),
            joined("features", np.zeros((0, len(FEATURE_NAMES)), np.float32)), alerts,
        )  # fmt: skip
        return whole.take(order[is_last])


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between run A and run B.

    Attributes
    ----------
    a, b
        The decisions on the transactions that both have, row by row.
    only_a, only_b
        How many transactions one run alone has.
    is_equal
        (n,) whether the decisions are equal byte for byte but for `processing`.
    outcomes
        (3, 3) transactions by outcome in A (rows) and B.
    new, lost, changed
        Rows: alerts of B alone, of A alone, and of both with another outcome or other reasons.
    shift
        Quantiles of the score in B less that in A, as `QUANTILES`; NaN without transactions.
    fields
        How many decisions differ in the outcome, the score, and each feature.
    reasons
        For new, lost and changed alerts: how many name each reason code (the changed: in one run alone).
    """

    a: RunColumns
    b: RunColumns
    only_a: int
    only_b: int
    is_equal: Bool
    outcomes: I64
    new: I64
    lost: I64
    changed: I64
    shift: tuple[float, ...]
    fields: Mapping[str, int]
    reasons: Mapping[str, Counter[str]]

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return bool(self.is_equal.all()) and not self.only_a and not self.only_b


def compare(a: RunColumns, b: RunColumns) -> Difference:
    """Compare two runs, transaction by transaction."""
    _, in_a, in_b = np.intersect1d(a.place, b.place, assume_unique=True, return_indices=True)
    only_a, only_b = len(a) - len(in_a), len(b) - len(in_b)
    a, b = a.take(in_a), b.take(in_b)
    is_equal: Bool = a.body == b.body
    outcomes = np.bincount(a.outcome.astype(np.int64) * OUTCOME_COUNT + b.outcome, minlength=OUTCOME_COUNT**2)
    new = np.flatnonzero(~a.is_alert & b.is_alert)
    lost = np.flatnonzero(a.is_alert & ~b.is_alert)
    both = np.flatnonzero(a.is_alert & b.is_alert & ~is_equal)
    changed = np.array([row for row in both.tolist() if _is_changed(a, b, row)], np.int64)
    reasons: dict[str, Counter[str]] = {"new": Counter(), "lost": Counter(), "changed": Counter()}
    for name, rows, run in (("new", new, b), ("lost", lost, a)):
        for row in rows.tolist():
            reasons[name].update(run.alerts[int(run.place[row])].reasons)
    for row in changed.tolist():
        place = int(a.place[row])
        reasons["changed"].update(set(a.alerts[place].reasons) ^ set(b.alerts[place].reasons))
    shift = (b.score - a.score).astype(np.float64)
    return Difference(
        a, b, only_a, only_b, is_equal, outcomes.reshape(OUTCOME_COUNT, OUTCOME_COUNT), new, lost, changed,
        tuple(np.quantile(shift, QUANTILES).tolist()) if len(shift) else (np.nan,) * len(QUANTILES),
        _fields(a, b, ~is_equal), reasons,
    )  # fmt: skip


def _is_changed(a: RunColumns, b: RunColumns, row: int) -> bool:
    place = int(a.place[row])
    return a.outcome[row] != b.outcome[row] or set(a.alerts[place].reasons) != set(b.alerts[place].reasons)


def _fields(a: RunColumns, b: RunColumns, differs: Bool) -> dict[str, int]:
    left, right = a.take(differs), b.take(differs)
    counts = {
        "outcome": int((left.outcome != right.outcome).sum()),
        "score": int((left.score != right.score).sum()),
    }
    is_other = (left.features != right.features) & ~(np.isnan(left.features) & np.isnan(right.features))
    counts |= dict(zip(FEATURE_NAMES, is_other.sum(axis=0).tolist(), strict=True))
    named = (left.outcome != right.outcome) | (left.score != right.score) | is_other.any(axis=1)
    counts["only reasons, rules or versions"] = int((~named).sum())
    return {name: count for name, count in counts.items() if count}
