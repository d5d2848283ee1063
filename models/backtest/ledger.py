"""Decisions on record as blocks to decide on again: features and scores as they were, nothing is computed anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.backtest.evaluation import ScoredBlock
from models.features.catalogue import CHANNEL_FEATURES, FEATURE_INDEX, FEATURE_NAMES
from models.replay.deciders import VersionError
from models.scoring.decision import outcome_of_score
from models.scoring.model import ScoringModel, Thresholds
from models.scoring.rules import RuleSet
from schemas.columns import CHANNELS, F32, I64, U8, Bool, StringColumn, TransactionColumns
from schemas.ledger_reader import LedgerColumns, warming_rows

READABLE = frozenset(
    {*FEATURE_NAMES, "transaction_id", "account_id", "counterparty_id", "currency", "amount_minor", "event_time_ms",
     "channel"}
)  # fmt: skip
"""Columns of rules that a decision holds. Devices, countries, memos and the like are in the transaction alone."""

FULL_HISTORY_MS = 1 << 50
"""History of a transaction whose decision names no rule that was warming: longer than any window."""

_CHANNEL_PLACES = np.array([FEATURE_INDEX[f"channel_{name}"] for name in CHANNEL_FEATURES], np.intp)
_CHANNEL_CODES = np.array([CHANNELS.index(name) for name in CHANNEL_FEATURES], np.uint8)


def unreadable(rules: RuleSet) -> dict[str, tuple[str, ...]]:
    """Return the rules that cannot be asked of decisions, with the columns that are not on record."""
    found = {}
    for rule, names in zip(rules.rules, rules.reads, strict=True):
        if missing := tuple(name for name in names if name not in READABLE):
            found[rule.rule_id] = missing
    return found


@dataclass(slots=True)
class LedgerBlocks:
    """Makes blocks of decisions.

    Parameters
    ----------
    thresholds
        Of the models that may be on record, by the SHA-256 of their cards.
    model
        Score the features with this model instead of what is on record, and use no learner.
    """

    thresholds: Mapping[str, Thresholds]
    model: ScoringModel | None = None
    _starts: dict[int, int] = field(default_factory=dict)

    def note(self, columns: LedgerColumns) -> None:
        """Learn from the oldest decisions where the history of each source partition begins.

        A partition that is known already is left as it is.
        """
        rows = np.flatnonzero(columns.is_read)
        order = rows[np.argsort(columns.source_offset[rows], kind="stable")]
        found, first = np.unique(columns.source_partition[order], return_index=True)
        for partition, row in zip(found.tolist(), order[first].tolist(), strict=True):
            self._starts.setdefault(partition, int(columns.event_time_ms[row]))

    def block(self, columns: LedgerColumns) -> ScoredBlock:
        """Return the decisions that could be read as a block.

        Raises
        ------
        VersionError
            If decisions were made by a model whose thresholds are not known.
        """
        self.note(columns)
        rows = np.flatnonzero(columns.is_read)
        X = np.ascontiguousarray(columns.features[rows])
        score = columns.score[rows]
        if self.model is not None:
            score = scored(self.model, X)
            asked = outcome_of_score(score, self.model.thresholds)
        else:
            asked = self._asked(columns, rows, score)
        return ScoredBlock(
            _transactions(columns, rows, X), X, self._history(columns, rows), score, asked, columns.outcome[rows]
        )

    def _asked(self, columns: LedgerColumns, rows: I64, score: F32) -> U8:
        asked = np.zeros(len(rows), np.uint8)
        of_row = columns.versions[rows]
        for number in np.unique(of_row).tolist():
            version = columns.known_versions[number]
            if not version.model_sha256:
                continue  # decided without a model: by rules alone
            if version.model_sha256 not in self.thresholds:
                raise VersionError(
                    f"decisions were made by model {version.model_name} {version.model_version} (sha256 "
                    f"{version.model_sha256[:16]}), whose thresholds are not at hand: put its folder beside "
                    "models_dir, or give --model to score the features on record with another one"
                )
            is_of = of_row == number
            asked[is_of] = outcome_of_score(score[is_of], self.thresholds[version.model_sha256])
        return asked

    def _history(self, columns: LedgerColumns, rows: I64) -> I64:
        starts = np.array([self._starts[p] for p in columns.source_partition[rows].tolist()], np.int64)
        since = np.maximum(columns.event_time_ms[rows] - starts, 0)
        history: I64 = np.where(warming_rows(columns)[rows], since, np.int64(FULL_HISTORY_MS))
        return history


def scored(model: ScoringModel, X: F32) -> F32:
    """Return the scores of features in the catalogue's order, 0 where the model gives none, as `Decider` does."""
    inputs = X
    if model.feature_names != FEATURE_NAMES:
        inputs = X[:, [FEATURE_INDEX[name] for name in model.feature_names]]
    score = model.predict(inputs)
    return np.where(np.isfinite(score), score, np.float32(0.0))


def _transactions(columns: LedgerColumns, rows: I64, X: F32) -> TransactionColumns:
    """Return what a decision says of its transaction; everything else is absent."""
    n = len(rows)
    none = StringColumn(np.zeros(0, np.uint8), np.zeros(n, np.int64), np.full(n, -1, np.int32))
    absent: dict[str, Any] = dict.fromkeys(
        ("account_country", "counterparty_country", "device_id", "ip_address", "memo"), none
    )
    is_channel: Bool = X[:, _CHANNEL_PLACES] == 1
    channel = np.where(is_channel.any(axis=1), _CHANNEL_CODES[is_channel.argmax(axis=1)], np.uint8(0))
    return TransactionColumns(
        transaction_id=columns.transaction_id.take(rows),
        event_time_ms=columns.event_time_ms[rows],
        account_id=columns.account_id.take(rows),
        counterparty_id=columns.counterparty_id.take(rows),
        amount_minor=columns.amount_minor[rows],
        currency=columns.currency.take(rows),
        channel=channel,
        merchant_category=np.full(n, -1, np.int32),
        evidence_count=np.zeros(n, np.int32),
        attributes=np.zeros((n, 0), np.float64),
        attribute_names=(),
        schema_version=np.zeros(n, np.int16),
        **absent,
    )
