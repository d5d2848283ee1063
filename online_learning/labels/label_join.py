"""Join labels with the features as scored, by transaction id, within stated lifetimes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from models.state_map import StateMap
from online_learning.labels import join_kernels as kernels
from online_learning.labels.id_cells import CELL, cells_of, ids_of
from online_learning.labels.precedence import RANKS
from online_learning.labels.row_log import PAGE_ROWS, RowLog, Rows
from schemas.columns import F32, I64, U8, U64, Bool, LabelColumns, StringColumn
from schemas.decision_reader import ScoredColumns
from schemas.hashing import hash_strings

DAY_MS = 86_400_000
FORMAT_VERSION = 3

_SECOND_SEED = 0x1ABE1  # ids are told apart by 128 bits
_META = 0
_DECISIONS, _LABELS = 1 << 50, 2 << 50
_SMALLEST_TABLE = 1024
_LABEL_ROW = np.dtype(
    [("hash", "<u8", (2,)), ("label_time_ms", "<i8"), ("event_time_ms", "<i8"), ("source", "u1"), ("is_fraud", "u1")]
)


class LabelStateError(ValueError):
    """The state was written by another version, or for another set of features."""


@dataclass(frozen=True, slots=True)
class LabelJoinSettings:
    """How long what has no counterpart is kept, in event time."""

    features: int  # of a decision; fixed for the state's life
    decision_lifetime_ms: int = 30 * DAY_MS  # a label of an older transaction teaches nothing
    label_lifetime_ms: int = 7 * DAY_MS  # a label whose decision did not come for so long is reported as unmatched


@dataclass(frozen=True, slots=True)
class MaturedColumns:
    """n labels with the decision that each is about, in the order in which both were there."""

    transaction_id: StringColumn
    account_id: StringColumn  # this, the next and the time are the decision's, whatever the label says
    counterparty_id: StringColumn
    event_time_ms: I64
    label_time_ms: I64
    is_fraud: Bool
    source: U8  # index into precedence.SOURCES
    is_correction: Bool  # the transaction had matured with the opposite verdict before
    replaced_source: U8  # of a correction: of the label that held until then; 0 otherwise
    replaced_label_time_ms: I64  # likewise
    score: F32
    model_score: F32  # NaN where the model gave none
    learner_score: F32  # as scored, before the label was known; NaN where no learner was in force
    features: F32  # (n, F), bit for bit as scored

    def __len__(self) -> int:
        return len(self.event_time_ms)


@dataclass(slots=True)
class LabelCounts:
    """What became of every label and decision so far.

    labels = matured + corrections + confirmed + duplicates + outranked + superseded + unmatched + too_old + waiting
    decisions = kept + repeated + decisions_too_old + expired_labelled + expired_unlabelled
    """

    labels: int = 0
    matured: int = 0
    corrections: int = 0
    confirmed: int = 0  # a label that outranks the one that holds, with the same verdict
    duplicates: int = 0
    outranked: int = 0
    superseded: int = 0  # waited for a decision until another label took their place
    unmatched: int = 0  # waited in vain
    too_old: int = 0
    waiting: int = 0
    decisions: int = 0
    kept: int = 0
    repeated: int = 0
    decisions_too_old: int = 0
    expired_labelled: int = 0
    expired_unlabelled: int = 0


class LabelJoin:
    """Joins the labels and decisions of one shard of transaction ids.

    A label matures when its decision is there, whichever came first. Of several labels of a transaction, the one that
    `precedence` puts highest holds; it matures again, as a correction, only where its verdict is another one.

    Memory: 56 bytes a decision or waiting label, at most half of the index filled, and the log's cache. State: the
    features and scores as float32 and the ids of both sides, compressed, written twice (as they come, and in a page).

    Parameters
    ----------
    settings
        Lifetimes, and the number of features.
    state
        Where decisions and labels are kept; what it holds is restored.

    Raises
    ------
    LabelStateError
        If the state is of another version or number of features.
    """

    def __init__(self, settings: LabelJoinSettings, state: StateMap) -> None:
        self._settings = settings
        self._state = state
        self._row = np.dtype(
            [
                ("hash", "<u8", (2,)),
                ("event_time_ms", "<i8"),
                ("score", "<f4"),
                ("model_score", "<f4"),
                ("learner_score", "<f4"),
                ("account_id", CELL),
                ("counterparty_id", CELL),
                ("features", "<f4", (settings.features,)),
            ]
        )
        self._now_ms = -(2**62)
        self.counts = LabelCounts()
        self._restore_meta()
        self._decisions = RowLog(state, _DECISIONS, self._row)
        self._labels = RowLog(state, _LABELS, _LABEL_ROW)
        self._newest: dict[int, int] = {}  # page of decisions -> its newest event time
        self._size = 0
        self._table: Rows = np.zeros(_SMALLEST_TABLE, kernels.ENTRY)
        self._restore_index()

    def take_decisions(self, scored: ScoredColumns) -> MaturedColumns:
        """Take in decisions; return the labels that had waited for them.

        Raises
        ------
        ValueError
            If the features are not (n, F), or an id is longer than any accepted transaction's.
        """
        if scored.features.shape != (len(scored), self._settings.features):
            expected = (len(scored), self._settings.features)
            raise ValueError(f"expected features of shape {expected}, found {scored.features.shape}")
        rows = np.zeros(len(scored), self._row)
        rows["hash"] = _hashes(scored.transaction_id)
        rows["event_time_ms"] = scored.event_time_ms
        rows["score"] = scored.score
        rows["model_score"] = scored.model_score
        rows["learner_score"] = scored.learner_score
        rows["account_id"] = cells_of(scored.account_id)
        rows["counterparty_id"] = cells_of(scored.counterparty_id)
        rows["features"] = scored.features
        status, slots = self._enter_decisions(rows, self._decisions.next_row)
        matched = status == kernels.MATCHED
        kept = rows[matched | (status == kernels.KEPT)]
        for page in self._decisions.append(kept):
            self._newest[page] = int(self._decisions.page(page)["event_time_ms"].max())
        entries = self._table[slots[matched]]
        self.counts.decisions += len(rows)
        self.counts.kept += len(kept)
        self.counts.repeated += int((status == kernels.REPEATED).sum())
        self.counts.decisions_too_old += int((status == kernels.DECISION_TOO_OLD).sum())
        self.counts.matured += len(entries)
        self.counts.waiting -= len(entries)
        self._save_meta()
        no_time = np.zeros(len(entries), np.int64)
        return _matured(
            scored.transaction_id.take(matched), rows[matched], entries, np.zeros(len(entries), np.bool_),
            no_time.astype(np.uint8), no_time,
        )  # fmt: skip

    def take_labels(self, labels: LabelColumns) -> MaturedColumns:
        """Take in labels; return those whose decision is there, where they say something new."""
        rows = np.zeros(len(labels), _LABEL_ROW)
        rows["hash"] = _hashes(labels.transaction_id)
        rows["label_time_ms"] = labels.label_time_ms
        rows["event_time_ms"] = labels.event_time_ms
        rows["source"] = labels.source
        rows["is_fraud"] = labels.is_fraud
        status, decision_rows, held_source, held_time_ms = self._enter_labels(rows, self._oldest_decision_ms)
        self._labels.append(rows[(status != kernels.DUPLICATE) & (status != kernels.OUTRANKED) & _is_young(status)])
        count = np.bincount(status, minlength=8).tolist()
        self.counts.labels += len(rows)
        self.counts.matured += count[kernels.NEW]
        self.counts.corrections += count[kernels.CORRECTED]
        self.counts.confirmed += count[kernels.CONFIRMED]
        self.counts.duplicates += count[kernels.DUPLICATE]
        self.counts.outranked += count[kernels.OUTRANKED]
        self.counts.waiting += count[kernels.WAITING]
        self.counts.superseded += count[kernels.SUPERSEDING]
        self.counts.too_old += count[kernels.LABEL_TOO_OLD]
        self._save_meta()
        says = (status == kernels.NEW) | (status == kernels.CORRECTED)
        return _matured(
            labels.transaction_id.take(says), self._decisions.read(decision_rows[says]), rows[says],
            status[says] == kernels.CORRECTED, held_source[says], held_time_ms[says],
        )  # fmt: skip

    def expire(self, now_ms: int) -> U64:
        """Forget what is older than its lifetime; return the ids (k, 2) of labels that no decision came for.

        A pass over the whole index, which also writes the labels anew: meant for once in an hour of event time.

        Parameters
        ----------
        now_ms
            Event time, never the wall clock; earlier than before has no effect.
        """
        if now_ms <= self._now_ms:
            return np.zeros((0, 2), np.uint64)
        self._now_ms = now_ms
        unmatched, gone = self._drop_old()
        self.counts.unmatched += int(gone[0])
        self.counts.waiting -= int(gone[0])
        self.counts.expired_labelled += int(gone[1])
        self.counts.expired_unlabelled += int(gone[2])
        self.counts.kept -= int(gone[1] + gone[2])
        if gone[0] or gone[1]:
            # A label that went must not come back at a restart: its decision may yet come, and a label after it.
            self._labels.replace(self._labels_held())
        for page in [page for page, newest in self._newest.items() if newest < self._oldest_decision_ms]:
            self._decisions.remove_page(page)
            if page not in self._decisions.pages:
                del self._newest[page]
        self._save_meta()
        return unmatched

    @property
    def _oldest_decision_ms(self) -> int:
        return self._now_ms - self._settings.decision_lifetime_ms

    def _enter_decisions(self, rows: Rows, next_row: int) -> tuple[U8, I64]:
        self._make_room(len(rows))
        status, slots = np.zeros(len(rows), np.uint8), np.full(len(rows), -1, np.int64)
        self._size += kernels.take_decisions(
            self._table, np.ascontiguousarray(rows["hash"]), np.ascontiguousarray(rows["event_time_ms"]), next_row,
            self._oldest_decision_ms, status, slots,
        )  # fmt: skip
        return status, slots

    def _enter_labels(self, rows: Rows, oldest_ms: int) -> tuple[U8, I64, U8, I64]:
        self._make_room(len(rows))
        status, found = np.zeros(len(rows), np.uint8), np.full(len(rows), -1, np.int64)
        held_source, held_time_ms = np.zeros(len(rows), np.uint8), np.zeros(len(rows), np.int64)
        self._size += kernels.take_labels(
            self._table, np.ascontiguousarray(rows["hash"]), RANKS, np.ascontiguousarray(rows["source"]),
            np.ascontiguousarray(rows["is_fraud"]), np.ascontiguousarray(rows["label_time_ms"]),
            np.ascontiguousarray(rows["event_time_ms"]), oldest_ms, status, found, held_source, held_time_ms,
        )  # fmt: skip
        return status, found, held_source, held_time_ms

    def _make_room(self, more: int) -> None:
        if 2 * (self._size + more) > len(self._table):
            self._rebuild(2 * (self._size + more), -(2**63), -(2**63))

    def _drop_old(self) -> tuple[U64, I64]:
        return self._rebuild(2 * self._size, self._oldest_decision_ms, self._now_ms - self._settings.label_lifetime_ms)

    def _rebuild(self, slots: int, oldest_decision_ms: int, oldest_label_ms: int) -> tuple[U64, I64]:
        into: Rows = np.zeros(max(_SMALLEST_TABLE, 1 << (slots - 1).bit_length()), kernels.ENTRY)
        dropped, gone = np.zeros((self._size, 2), np.uint64), np.zeros(3, np.int64)
        self._size = kernels.keep_young(self._table, into, oldest_decision_ms, oldest_label_ms, dropped, gone)
        self._table = into
        ids = dropped[: gone[0]]
        # In the order of the ids: that of the index depends on when it grew.
        return ids[np.lexsort((ids[:, 1], ids[:, 0]))], gone

    def _labels_held(self) -> Rows:
        entries = self._table[self._table["is_labelled"] != 0]
        entries = entries[np.lexsort((entries["second"], entries["first"]))]
        rows = np.zeros(len(entries), _LABEL_ROW)
        rows["hash"] = np.stack([entries["first"], entries["second"]], axis=1)
        rows["label_time_ms"] = entries["label_time_ms"]
        rows["event_time_ms"] = entries["label_event_ms"]
        rows["source"] = entries["source"]
        rows["is_fraud"] = entries["is_fraud"]
        return rows

    def _save_meta(self) -> None:
        meta: dict[str, Any] = {
            "format": FORMAT_VERSION, "features": self._settings.features, "now_ms": self._now_ms,
            "counts": asdict(self.counts),
        }  # fmt: skip
        self._state.put(_META, json.dumps(meta).encode())

    def _restore_meta(self) -> None:
        stored = self._state.get(_META)
        if stored is None:
            return
        meta = json.loads(stored)
        found, expected = (meta["format"], meta["features"]), (FORMAT_VERSION, self._settings.features)
        if found != expected:
            raise LabelStateError(
                f"the state has format and number of features {found}, expected {expected}: start anew from the ledger"
            )
        self._now_ms = meta["now_ms"]
        self.counts = LabelCounts(**{field.name: meta["counts"][field.name] for field in fields(LabelCounts)})

    def _restore_index(self) -> None:
        full = dict.fromkeys(self._decisions.pages)
        for first, rows in self._decisions.blocks():
            self._restore_decisions(first, rows)
            page = first // PAGE_ROWS
            if page in full:
                self._newest[page] = int(rows["event_time_ms"].max())
        for _, rows in self._labels.blocks():
            self._enter_labels(rows, -(2**63))  # they were young enough when they came

    def _restore_decisions(self, first: int, rows: Rows) -> None:
        young = np.flatnonzero(rows["event_time_ms"] >= self._oldest_decision_ms)
        # Runs of rows with consecutive numbers: those between them are too old to be entered.
        for run in np.split(young, np.flatnonzero(np.diff(young) > 1) + 1):
            if len(run):
                self._enter_decisions(rows[run], first + int(run[0]))


def _hashes(ids: StringColumn) -> U64:
    return np.stack([hash_strings(ids), hash_strings(ids, _SECOND_SEED)], axis=1)


def _is_young(status: U8) -> Bool:
    is_young: Bool = status != kernels.LABEL_TOO_OLD
    return is_young


def _matured(
    transaction_id: StringColumn, decisions: Rows, labels: Rows, is_correction: Bool, held_source: U8, held_time_ms: I64
) -> MaturedColumns:
    return MaturedColumns(
        transaction_id=transaction_id,
        account_id=ids_of(decisions["account_id"]),
        counterparty_id=ids_of(decisions["counterparty_id"]),
        event_time_ms=decisions["event_time_ms"].copy(),
        label_time_ms=labels["label_time_ms"].copy(),
        is_fraud=labels["is_fraud"].astype(np.bool_),
        source=labels["source"].copy(),
        is_correction=is_correction,
        replaced_source=np.where(is_correction, held_source, np.uint8(0)),
        replaced_label_time_ms=np.where(is_correction, held_time_ms, np.int64(0)),
        score=decisions["score"].copy(),
        model_score=decisions["model_score"].copy(),
        learner_score=decisions["learner_score"].copy(),
        features=decisions["features"].copy(),
    )
