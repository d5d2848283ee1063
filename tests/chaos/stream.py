"""The input of a chaos run: two partitions of transactions that share no entity, with poison and repeats among them.

An account, counterparty or device occurs in one partition only, and the whole stream lasts for less than the longest
window, so what a decision should be does not depend on how the partitions' records met: an undisturbed plain loop, one
partition after the other, says it field by field.
The order within each entity shard does depend on it: `touch_sequences` is not compared.

Kafka's timestamps step forwards and backwards by up to some minutes, as those of a producer do whose clock is set.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import fastavro
import numpy as np

from models.scoring.core_settings import CoreSettings
from models.scoring.pipeline import ScoringCore
from models.scoring.reference import ReferenceLookup
from models.training.simulator import FaultInjector, FaultPlan, SimulatorConfig, encode_stream
from models.training.simulator.faults import KINDS
from models.training.simulator.poison import POISONS, read_transaction
from schemas.columns import RawRecords
from schemas.framing import single_object_header
from schemas.versions import current
from tests.recorded import TOPIC, PlainRun, Recorded, a_decider

PARTITIONS = 2
CLOCK_STEP_MS = 600_000
TRANSACTIONS_PER_ACCOUNT = 15  # about four days
STEPS = 8  # of the producer's clock, in each partition


@dataclass(frozen=True, slots=True)
class Row:
    """One record of the input."""

    partition: int
    offset: int


def partition_of(recorded: Recorded, number: int, start: int, end: int) -> RawRecords:
    """Return records of a partition as the job reads them."""
    records = recorded.raw(start, end)
    return RawRecords(
        topic=TOPIC,
        values=records.values,
        keys=records.keys,
        partition=np.full(end - start, number, np.int32),
        offset=records.offset,
        timestamp_ms=records.timestamp_ms,
    )


def chaos_stream(transactions: int, poison: int, seed: int) -> list[Recorded]:
    """Simulate the input, one `Recorded` a partition.

    Parameters
    ----------
    transactions
        Good ones, over all partitions; 2% of them come twice, on top.
    poison
        Bad records, on top; every kind is among them if there are as many as kinds.
    seed
        Of everything.
    """
    # Some days of event time: within the longest window nothing is forgotten, whichever partition is ahead.
    accounts = max(600, transactions // TRANSACTIONS_PER_ACCOUNT)
    return [
        _one_partition(number, transactions // PARTITIONS, poison // PARTITIONS, seed, accounts // PARTITIONS)
        for number in range(PARTITIONS)
    ]


def merged(partitions: Sequence[Recorded]) -> list[Row]:
    """Return the order of sending: the partitions in turn, each to its end."""
    rows = [
        (offset / len(recorded), Row(number, offset))
        for number, recorded in enumerate(partitions)
        for offset in range(len(recorded))
    ]
    return [row for _, row in sorted(rows, key=lambda item: (item[0], item[1].partition))]


def undisturbed(partitions: Sequence[Recorded], settings: CoreSettings, reference: ReferenceLookup | None) -> PlainRun:
    """Score the input without Flink and without any fault."""
    core = ScoringCore(settings, a_decider(), reference=reference)
    run = PlainRun([], [], 0)
    for number, recorded in enumerate(partitions):
        for start in range(0, len(recorded), 500):
            end = min(len(recorded), start + 500)
            scored = core.transactions(partition_of(recorded, number, start, end))
            run.decisions += scored.decisions
            run.rejected += [(int(r.offset[x.row]), x.error) for r, x in scored.rejected]
            run.duplicates += scored.duplicates
    return run


def _one_partition(number: int, good: int, poison: int, seed: int, accounts: int) -> Recorded:
    config = SimulatorConfig(seed=seed + number, accounts=accounts, merchants=200)
    injector = FaultInjector(
        FaultPlan(
            seed=seed + number,
            duplicate_rate=0.02,
            duplicate_delay_ms=600_000,
            late_rate=0.03,
            late_delay_ms=3_600_000,
            out_of_order_rate=0.2,
            out_of_order_ms=120_000,
        )
    )
    deliveries = []
    for batch in encode_stream(config, count=good):
        values = [_renamed(value, f"{number}-") for value in batch.values]
        keys = [f"{number}-".encode() + key for key in batch.keys]
        deliveries.append(injector.apply(keys, values, batch.event_time_ms))
    deliveries.append(injector.flush())
    keys = [key for delivery in deliveries for key in delivery.keys]
    sent = [value for delivery in deliveries for value in delivery.values]
    kinds = [KINDS[kind] for delivery in deliveries for kind in delivery.kind.tolist()]
    rng = np.random.default_rng([seed, number])
    return _with_poison(keys, sent, kinds, poison, rng)


def _with_poison(
    keys: list[bytes], values: list[bytes | None], kinds: list[str], poison: int, rng: np.random.Generator
) -> Recorded:
    """Put bad records among the others: each kind once, the rest by weight."""
    names = list(POISONS)
    weights = np.array([POISONS[name].weight for name in names])
    rest = max(0, poison - len(names))
    chosen = [*names[:poison], *(names[i] for i in rng.choice(len(names), rest, p=weights / weights.sum()))]
    places = np.sort(rng.integers(0, len(keys), len(chosen))).tolist()
    rng.shuffle(chosen)
    at = dict[int, list[str]]()
    for place, kind in zip(places, chosen, strict=True):
        at.setdefault(place, []).append(kind)
    all_keys: list[bytes] = []
    all_values: list[bytes | None] = []
    all_kinds: list[str] = []
    for i, (key, value, kind) in enumerate(zip(keys, values, kinds, strict=True)):
        for bad in at.get(i, ()):
            assert value is not None
            all_keys.append(key)
            all_values.append(POISONS[bad].make(rng, value, read_transaction(value)))
            all_kinds.append(bad)
        all_keys.append(key)
        all_values.append(value)
        all_kinds.append(kind)
    # A millisecond apart, of this day, since brokers delete what is a week old; with steps of the producer's clock.
    n = len(all_keys)
    steps = np.zeros(n, np.int64)
    steps[rng.integers(0, n, STEPS)] = rng.integers(-CLOCK_STEP_MS, CLOCK_STEP_MS, STEPS)
    shift = np.clip(np.cumsum(steps), -CLOCK_STEP_MS, CLOCK_STEP_MS)
    stamps = time.time_ns() // 1_000_000 - n - 2 * CLOCK_STEP_MS + np.arange(n) + shift
    errors = [POISONS[kind].error if kind in POISONS else None for kind in all_kinds]
    return Recorded(all_keys, all_values, all_kinds, errors, stamps.tolist())


def _renamed(value: bytes, prefix: str) -> bytes:
    """Put a prefix before every identifier of a transaction."""
    schema, body = _schema(), io.BytesIO()
    header = single_object_header(current("transaction"))
    record: Any = fastavro.schemaless_reader(io.BytesIO(value[len(header) :]), schema, None)
    for name in ("transaction_id", "account_id", "counterparty_id", "device_id"):
        if record[name] is not None:
            record[name] = prefix + record[name]
    fastavro.schemaless_writer(body, schema, record)
    return header + body.getvalue()


@cache
def _schema() -> Any:
    """Return a schema that fastavro takes as it is; any other it parses anew for every record."""
    return fastavro.parse_schema(current("transaction").parsed, _force=True)
