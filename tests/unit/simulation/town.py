"""A short adversarial stream of a small town: late, repeated, poisoned and differently framed records, and labels."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from models.training.simulator.poison import POISONS
from schemas.records import encode_record
from tests.builders import LABEL_SOURCES, NOON_MS, a_label, a_transaction
from tests.unit.simulation.virtual_kafka import Record

HOUR_MS = 3_600_000
KNOWN_SCHEMA, FOREIGN_SCHEMA, GARBAGE_SCHEMA = 1, 2, 77
"""Ids in the virtual registry: our transaction; one with a further field; one that was never registered."""

AMOUNTS = (100, 4_250, 990_000)
_POISON = tuple(kind for kind in POISONS if kind != "huge_record")

Place = tuple[int, int]  # partition and offset


@dataclass(slots=True)
class Town:
    """What is sent, and what must become of it.

    Attributes
    ----------
    transactions
        Per partition its records.
    errors
        Code that the record at a place must fail with.
    ids
        Transaction id of every other record.
    labels
        In the order in which they are sent: partition, and the fields beside the time.
    """

    transactions: list[list[Record]]
    errors: dict[Place, str] = field(default_factory=dict)
    ids: dict[Place, str] = field(default_factory=dict)
    labels: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    label_partitions: int = 1
    end_ms: int = NOON_MS

    def close_labels(self) -> None:
        """Add a last label to each partition: what was sent before need not wait any longer."""
        for partition in range(self.label_partitions):
            fields = {"transaction_id": "none", "account_id": "a", "counterparty_id": "m", "event_time_ms": self.end_ms}
            self.labels.append((partition, {**fields, "is_fraud": False, "source": "other"}))


@cache
def _good(number: int, account: int, counterparty: int, device: int, hours: int, amount: int, framing: int) -> bytes:
    record = a_transaction(
        transaction_id=f"t{number}", event_time_ms=NOON_MS + hours * HOUR_MS // 4, account_id=f"a{account}",
        counterparty_id=f"a{counterparty}" if counterparty < 4 else f"m{counterparty}", amount_minor=amount,
        device_id=None if device == 0 else f"d{device}",
    )  # fmt: skip
    if framing == 0:
        return encode_record("transaction", record, "json")
    if framing == 1:
        return encode_record("transaction", record, "confluent", KNOWN_SCHEMA)
    if framing == 2:  # the further field comes last, and is null
        return encode_record("transaction", record, "confluent", FOREIGN_SCHEMA) + b"\x00"
    return encode_record("transaction", record)


def a_town(rng: random.Random, records: int, partitions: int, label_partitions: int) -> Town:
    """Draw a stream of so many records over some days."""
    town = Town([[] for _ in range(partitions)])
    numpy_rng = np.random.default_rng(rng.randrange(1 << 32))
    accounts = rng.choice([3, 8, 20])
    sent: dict[int, list[tuple[bytes, str]]] = {p: [] for p in range(partitions)}
    known: list[tuple[str, int, str, str]] = []
    for number in range(records):
        account = rng.randrange(accounts)
        partition = account % partitions
        quarter = number // 2  # of hours: 100 records take half a day
        town.end_ms = NOON_MS + quarter * HOUR_MS // 4
        place = (partition, len(town.transactions[partition]))
        kind = rng.random()
        if kind < 0.06 and sent[partition]:
            value, identity = rng.choice(sent[partition][-30:])
            town.ids[place] = identity
        else:
            late = rng.choice([0, 0, 0, rng.randrange(300)])  # up to three days
            counterparty = rng.randrange(8)
            good = _good(
                number, account, counterparty, rng.randrange(4), quarter - late, rng.choice(AMOUNTS),
                rng.randrange(12),
            )  # fmt: skip
            if kind < 0.12:
                poison = rng.choice(_POISON)
                plain = _good(number, account, counterparty, 1, quarter, 100, 11)
                value = POISONS[poison].make(numpy_rng, plain, _fields(number, account, quarter))
                town.errors[place] = POISONS[poison].error
            elif kind < 0.14:
                value = b"\x00" + GARBAGE_SCHEMA.to_bytes(4, "big") + good[10:]
                town.errors[place] = "UNKNOWN_SCHEMA"
            else:
                value = good
                town.ids[place] = f"t{number}"
                sent[partition].append((good, f"t{number}"))
                side = f"a{counterparty}" if counterparty < 4 else f"m{counterparty}"
                known.append((f"t{number}", NOON_MS + (quarter - late) * HOUR_MS // 4, f"a{account}", side))
        stamp = town.end_ms + number
        town.transactions[partition].append(Record(f"a{account}".encode(), value, stamp))
    town.label_partitions = label_partitions
    for _ in range(records // 2 if known else 0):
        identity, event_ms, account_id, side = rng.choice(known[:: rng.choice([1, 4])])
        if rng.random() < 0.1:
            identity = f"unknown-{identity}"
        fields = {
            "transaction_id": identity, "event_time_ms": event_ms, "account_id": account_id, "counterparty_id": side,
            "is_fraud": rng.random() < 0.5, "source": rng.choice(LABEL_SOURCES),
        }  # fmt: skip
        town.labels.append((rng.randrange(label_partitions), fields))
    return town


def label_value(fields: dict[str, Any], now_ms: int) -> bytes:
    """Return a label as it is sent at `now_ms`."""
    return encode_record("label", a_label(label_time_ms=now_ms, **fields))


def _fields(number: int, account: int, quarter: int) -> dict[str, Any]:
    return a_transaction(
        transaction_id=f"t{number}", event_time_ms=NOON_MS + quarter * HOUR_MS // 4, account_id=f"a{account}",
        amount_minor=100, device_id="d1",
    )  # fmt: skip
