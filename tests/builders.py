"""Records for tests: complete, valid, and changed in what the test is about."""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.columns import CHANNELS, LabelColumns, StringColumn, TransactionColumns
from schemas.references import pack_references

LABEL_SOURCES = ("other", "chargeback", "analyst", "sar", "rule", "simulator")

NOON_MS = 1_767_268_800_000
"""2026-01-01 12:00 UTC, a Thursday: when things happen unless a test says otherwise."""


def a_transaction(**overrides: Any) -> dict[str, Any]:
    """Return a valid transaction with every field of its schema."""
    return {
        "transaction_id": "transaction-1",
        "event_time_ms": NOON_MS,
        "account_id": "account-1",
        "counterparty_id": "merchant-1",
        "amount_minor": 4_250,
        "currency": "EUR",
        "channel": "card_present",
        "account_country": "DE",
        "counterparty_country": "FR",
        "merchant_category": 5411,
        "device_id": "device-1",
        "ip_address": "192.0.2.1",
        "memo": None,
        "evidence": [],
        "attributes": {},
        **overrides,
    }


def a_label(**overrides: Any) -> dict[str, Any]:
    """Return a valid label with every field of its schema."""
    return {
        "transaction_id": "transaction-1",
        "account_id": "account-1",
        "counterparty_id": "merchant-1",
        "event_time_ms": NOON_MS,
        "label_time_ms": NOON_MS + 7 * 86_400_000,
        "is_fraud": True,
        "source": "analyst",
        "pattern": None,
        **overrides,
    }


def transaction_columns(records: list[dict[str, Any]], attribute_names: tuple[str, ...] = ()) -> TransactionColumns:
    """Return records, such as `a_transaction` builds, as columns."""

    def strings(name: str) -> StringColumn:
        return StringColumn.from_values([r[name] for r in records])

    return TransactionColumns(
        transaction_id=strings("transaction_id"),
        event_time_ms=np.array([r["event_time_ms"] for r in records], np.int64),
        account_id=strings("account_id"),
        counterparty_id=strings("counterparty_id"),
        amount_minor=np.array([r["amount_minor"] for r in records], np.int64),
        currency=strings("currency"),
        channel=np.array([CHANNELS.index(r["channel"]) for r in records], np.uint8),
        account_country=strings("account_country"),
        counterparty_country=strings("counterparty_country"),
        merchant_category=np.array(
            [-1 if r["merchant_category"] is None else r["merchant_category"] for r in records], np.int32
        ),
        device_id=strings("device_id"),
        ip_address=strings("ip_address"),
        memo=strings("memo"),
        evidence_count=np.array([len(r["evidence"]) for r in records], np.int32),
        attributes=np.array(
            [[r["attributes"].get(name, np.nan) for name in attribute_names] for r in records], np.float64
        ).reshape(len(records), len(attribute_names)),
        attribute_names=attribute_names,
        schema_version=np.full(len(records), 1, np.int16),
        evidence=pack_references([r["evidence"] for r in records]),
    )


def label_columns(records: list[dict[str, Any]]) -> LabelColumns:
    """Return records, such as `a_label` builds, as columns."""
    return LabelColumns(
        transaction_id=StringColumn.from_values([r["transaction_id"] for r in records]),
        account_id=StringColumn.from_values([r["account_id"] for r in records]),
        counterparty_id=StringColumn.from_values([r["counterparty_id"] for r in records]),
        event_time_ms=np.array([r["event_time_ms"] for r in records], np.int64),
        label_time_ms=np.array([r["label_time_ms"] for r in records], np.int64),
        is_fraud=np.array([r["is_fraud"] for r in records], np.bool_),
        source=np.array([LABEL_SOURCES.index(r["source"]) for r in records], np.uint8),
        pattern=StringColumn.from_values([r["pattern"] for r in records]),
    )
