"""A made-up ledger with its labels, as raw records of both topics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from online_learning.labels.precedence import SOURCES
from online_learning.learning_stage import DECISIONS, LABELS
from schemas.columns import LabelColumns, StringColumn
from schemas.decisions import NOTHING_TO_EXPLAIN, DecisionColumns
from schemas.encode import encode_decisions, encode_labels

START_MS = 1_700_000_000_000
GROUP = 100  # decisions of one moment, and labels of the next
DELAY_GROUPS = 5
DECISION_PARTITIONS = 3


@dataclass(frozen=True, slots=True)
class Sent:
    """One record on its way to a topic."""

    topic: int
    partition: int
    timestamp_ms: int
    value: bytes


def a_ledger(transactions: int, seed: int, start_ms: int = START_MS) -> list[Sent]:
    """Return decisions and labels in the order of their timestamps, and records that only close the partitions.

    One transaction in twenty is a fraud, which the first features tell; one label in ten is contradicted later by an
    analyst, one in ten is about a transaction that the ledger does not have, and some come before their decision.
    """
    rng = np.random.default_rng(seed)
    groups = -(-transactions // GROUP)
    sent: list[Sent] = []
    made: list[tuple[list[str], np.ndarray]] = []  # type: ignore[type-arg]
    for group in range(groups + DELAY_GROUPS):
        now = start_ms + 2_000 * group
        if group < groups:
            is_fraud = rng.random(GROUP) < 0.05
            X = rng.normal(size=(GROUP, len(FEATURE_NAMES))).astype(np.float32)
            X[:, :5] += 1.5 * is_fraud[:, None]
            X[rng.random(X.shape) < 0.1] = np.nan
            names = [f"L{seed}-{group}-{i}" for i in range(GROUP)]
            made.append((names, is_fraud))
            values = encode_decisions(decision_columns(names, now, X))
            sent += [
                Sent(DECISIONS, int(p), now, value)
                for p, value in zip(rng.integers(0, DECISION_PARTITIONS, GROUP), values, strict=True)
            ]
        about = made[max(0, group - DELAY_GROUPS)] if group >= DELAY_GROUPS else None
        if about is not None:
            names, is_fraud = list(about[0]), about[1].copy()
            source = np.full(GROUP, SOURCES.index("chargeback"), np.uint8)
            is_wrong = rng.random(GROUP) < 0.1
            # Half of what an analyst contradicts is the engine's own echo, which never counts.
            source[is_wrong] = np.where(rng.random(int(is_wrong.sum())) < 0.5, SOURCES.index("rule"), 0)
            for i in np.flatnonzero(rng.random(GROUP) < 0.1).tolist():
                names[i] = f"unknown-{group}-{i}"
            sent += _labels(names, now, is_fraud ^ is_wrong, source)
            sent += _labels(
                [names[i] for i in np.flatnonzero(is_wrong)], now + 1, is_fraud[is_wrong],
                np.full(int(is_wrong.sum()), SOURCES.index("analyst"), np.uint8),
            )  # fmt: skip
    early = [f"L{seed}-early-{i}" for i in range(20)]
    now = start_ms + 2_000 * (groups + DELAY_GROUPS)
    sent += _labels(early, now, np.arange(20) % 3 == 0, np.full(20, SOURCES.index("sar"), np.uint8))
    X = rng.normal(size=(20, len(FEATURE_NAMES))).astype(np.float32)
    sent += [
        Sent(DECISIONS, i % DECISION_PARTITIONS, now + 1, value)
        for i, value in enumerate(encode_decisions(decision_columns(early, now, X)))
    ]
    closing = decision_columns([f"close-{i}" for i in range(DECISION_PARTITIONS)], now + 10, X[:DECISION_PARTITIONS])
    sent += [Sent(DECISIONS, i, now + 10, value) for i, value in enumerate(encode_decisions(closing))]
    sent += _labels(["close"], now + 10, np.zeros(1, np.bool_), np.zeros(1, np.uint8))
    return sent


def _texts(text: str, n: int) -> StringColumn:
    return StringColumn.from_values([text] * n)


def decision_columns(names: list[str], now: int, X: np.ndarray) -> DecisionColumns:  # type: ignore[type-arg]
    """Make decisions with given features, scored 0.1 by the model and some by a learner."""
    n = len(names)
    zeros = np.zeros(n, np.int64)
    return DecisionColumns(
        transaction_id=StringColumn.from_values(names),
        account_id=_texts("A", n),
        counterparty_id=_texts("B", n),
        event_time_ms=np.full(n, now - 500, np.int64),
        amount_minor=zeros + 100,
        currency=_texts("EUR", n),
        source_partition=zeros.astype(np.int32),
        source_offset=zeros,
        source_time_ms=zeros + now,
        outcome=zeros.astype(np.uint8),
        score=np.full(n, 0.1, np.float32),
        typology_score=np.zeros(n, np.float32),
        model_score=np.full(n, 0.1, np.float32),
        learner_score=np.where(np.arange(n) % 3 == 0, -1.0, 0.2).astype(np.float32),
        schema_version=np.ones(n, np.int16),
        model_name="m",
        model_version="1",
        model_sha256="",
        learner_name="l",
        learner_version="1",
        learner_sha256="",
        rules_version="",
        feature_set=FEATURE_SET,
        features=X,
        touch_sequences=np.zeros((n, 3), np.int64),
        explanation={},
        default_explanation=NOTHING_TO_EXPLAIN,
        revision=0,
        mode="live",
        run_id="",
        ingest_time_ms=now,
        decision_time_ms=now,
    )


def _labels(names: list[str], now: int, is_fraud: np.ndarray, source: np.ndarray) -> list[Sent]:  # type: ignore[type-arg]
    n = len(names)
    no_pattern: list[str | None] = [None] * n
    columns = LabelColumns(
        transaction_id=StringColumn.from_values(names),
        account_id=_texts("A", n),
        counterparty_id=_texts("B", n),
        event_time_ms=np.full(n, now - 1_500, np.int64),
        label_time_ms=np.full(n, now, np.int64),
        is_fraud=is_fraud.astype(np.bool_),
        source=source,
        pattern=StringColumn.from_values(no_pattern),
    )
    return [Sent(LABELS, 0, now, value) for value in encode_labels(columns)]
