"""Decide on blocks of transactions by two rule sets, and remember what is needed to say what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.backtest.rule_change import RuleChange
from models.features.currency import to_reference_minor
from models.scoring.typologies import APPROVE
from schemas.columns import F32, I64, U8, U64, Bool, TransactionColumns
from schemas.hashing import hash_strings


@dataclass(frozen=True, slots=True)
class ScoredBlock:
    """n transactions with features and scores.

    Attributes
    ----------
    columns
        The transactions: at least ids, time, amount, currency, channel, and what the rules read.
    X
        (n, F) features in the catalogue's order.
    history_ms
        (n,) how far back the stream's history reached.
    score
        (n,) what was, or would be, decided by.
    asked
        (n,) the outcome that the score alone asks for.
    recorded
        (n,) the outcome on record; None where nothing is.
    """

    columns: TransactionColumns
    X: F32
    history_ms: I64
    score: F32
    asked: U8
    recorded: U8 | None = None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """All transactions of a back-test; n of them, u rules in the order of `RuleChange.rules`.

    Attributes
    ----------
    transaction, account
        (n,) hashes of the ids.
    amount
        (n,) minor units of the reference currency.
    asked, before, after
        (n,) outcomes: of the score alone, under the rules in force, and under the proposed ones.
    recorded
        (n,) outcomes on record; None where nothing is.
    hit_rows, hits
        Rows where any rule hit, ascending, (m,), and the hits there, (m, u).
    ids
        Row -> transaction and account id, where `before` and `after` differ.
    failed
        Ids of rules that could not be evaluated on some blocks.
    """

    transaction: U64
    account: U64
    event_time_ms: I64
    amount: I64
    score: F32
    asked: U8
    before: U8
    after: U8
    recorded: U8 | None
    hit_rows: I64
    hits: Bool
    ids: dict[int, tuple[str, str]]
    failed: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.score)

    @property
    def new(self) -> Bool:
        """Return which are alerts under the proposed rules alone."""
        found: Bool = (self.before == APPROVE) & (self.after != APPROVE)
        return found

    @property
    def lost(self) -> Bool:
        """Return which are alerts under the rules in force alone."""
        found: Bool = (self.before != APPROVE) & (self.after == APPROVE)
        return found

    def since(self, time_ms: int) -> Evaluated:
        """Return the transactions from an event time on."""
        is_in = self.event_time_ms >= time_ms
        if is_in.all():
            return self
        place = np.cumsum(is_in) - 1
        of_hits = is_in[self.hit_rows]
        return Evaluated(
            self.transaction[is_in], self.account[is_in], self.event_time_ms[is_in], self.amount[is_in],
            self.score[is_in], self.asked[is_in], self.before[is_in], self.after[is_in],
            None if self.recorded is None else self.recorded[is_in],
            place[self.hit_rows[of_hits]], self.hits[of_hits],
            {int(place[row]): ids for row, ids in self.ids.items() if is_in[row]}, self.failed,
        )  # fmt: skip


@dataclass(slots=True)
class Backtest:
    """Takes in blocks; about 50 bytes for each transaction stay, and a bit for each rule where one hit.

    Attributes
    ----------
    change
        The two rule sets.
    """

    change: RuleChange
    _rows: int = 0
    _parts: list[tuple[np.ndarray, ...]] = field(default_factory=list)  # type: ignore[type-arg]
    _recorded: list[U8] = field(default_factory=list)
    _hit_rows: list[I64] = field(default_factory=list)
    _packed: list[U8] = field(default_factory=list)
    _ids: dict[int, tuple[str, str]] = field(default_factory=dict)
    _failed: dict[str, None] = field(default_factory=dict)

    def add(self, block: ScoredBlock) -> None:
        """Decide on further transactions."""
        change, columns = self.change, block.columns
        asked = change.evaluate(columns, block.X, block.history_ms)
        self._failed |= dict.fromkeys(asked.failed)
        rows = np.unique(
            np.flatnonzero(asked.hits) // max(1, asked.hits.shape[1])
        )  # few hit; any() looks at each row alone
        hits = asked.hits[rows]
        before, after = block.asked.copy(), block.asked.copy()  # where no rule hit, the score alone asks
        before[rows] = np.maximum(before[rows], change.current_typologies.score(hits[:, change.in_current]).outcome)
        after[rows] = np.maximum(after[rows], change.proposed_typologies.score(hits[:, change.in_proposed]).outcome)
        self._hit_rows.append(rows + self._rows)
        self._packed.append(np.packbits(hits, axis=1))
        for row in np.flatnonzero(before != after).tolist():
            self._ids[self._rows + row] = (columns.transaction_id.text_at(row) or "",
                                           columns.account_id.text_at(row) or "")  # fmt: skip
        amount = to_reference_minor(columns.amount_minor, columns.currency)
        keys = hash_strings(columns.transaction_id), hash_strings(columns.account_id)
        self._parts.append((*keys, np.array(columns.event_time_ms), amount, block.score, block.asked, before, after))
        if block.recorded is not None:
            self._recorded.append(block.recorded)
        self._rows += len(columns)

    def result(self) -> Evaluated:
        """Return all that was taken in."""
        kinds = (np.uint64, np.uint64, np.int64, np.int64, np.float32, np.uint8, np.uint8, np.uint8)
        transaction, account, event_time_ms, amount, score, asked, before, after = (
            np.concatenate([np.zeros(0, kind), *(part[i] for part in self._parts)]) for i, kind in enumerate(kinds)
        )
        rules = len(self.change.rules)
        packed = np.concatenate([np.zeros((0, -(-rules // 8)), np.uint8), *self._packed])
        return Evaluated(
            transaction, account, event_time_ms, amount, score, asked, before, after,
            np.concatenate(self._recorded) if self._recorded else None,
            np.concatenate([np.zeros(0, np.int64), *self._hit_rows]),
            np.unpackbits(packed, axis=1, count=rules).view(np.bool_), self._ids, tuple(self._failed),
        )  # fmt: skip
