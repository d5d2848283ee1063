"""The order of a recorded stretch of the stream: which records make up each batch, and where their touches stand.

The decisions say which number each touch got in its entity shard. Labels touch entities too and leave no decision:
their touches are what the numbers between leave free, in the order of the labels' own log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from models.features.assemble import entity_keys
from models.replay.recorded_ledger import RecordedLedger
from models.replay.recorded_order import clean_batches
from models.scoring.core_settings import CoreSettings
from models.scoring.home_stage import HomeStage
from models.state_map import MemoryState
from schemas.columns import I32, I64, RawRecords
from schemas.registry import SchemaLookup
from schemas.transactions import TransactionDecoder

_COLUMNS = 4  # lists of an event: three shards and its partition

Place = tuple[bool, int]
"""Whether a partition holds labels, and its number."""


@dataclass(frozen=True, slots=True)
class RecordedPlan:
    """Where each batch ends.

    Attributes
    ----------
    ends
        For every partition, the offset after the last record of each batch; ascending, (batches,).
    label_order
        For every partition of labels, offset of its first label and (n, shards) places of the labels' touches.
    batches
        How many there are.
    unexplained
        Numbers that no touch is known for: transactions that were decided on before their touches were answered.
    """

    ends: dict[Place, I64]
    label_order: dict[int, tuple[I64, I64]]
    batches: int
    unexplained: int

    def order_of_labels(self, partition: int, offsets: I64) -> I64:
        """Return the places of the touches of labels.  # (n, shards); -1 where a label has none."""
        known, order = self.label_order[partition]
        found: I64 = order[np.searchsorted(known, offsets)]
        return found


@dataclass(slots=True)
class _Events:
    lists: list[I32] = field(default_factory=list)
    places: list[I64] = field(default_factory=list)
    origins: list[tuple[Place, I64]] = field(default_factory=list)

    def add(self, lists: I32, places: I64, origin: Place, offsets: I64) -> None:
        self.lists.append(lists)
        self.places.append(places)
        self.origins.append((origin, offsets))


def plan_recorded(
    ledger: RecordedLedger,
    transactions: Iterable[RawRecords],
    labels: Iterable[RawRecords],
    settings: CoreSettings,
    is_from_beginning: bool,
    least_rows: int,
    registry: SchemaLookup | None = None,
) -> RecordedPlan:
    """Plan the batches of a recorded stretch.

    Parameters
    ----------
    ledger
        Decisions on the transactions.
    transactions, labels
        The records in chunks, each partition in the order of its offsets.
    settings
        Of the core that made the decisions; the number of shards above all.
    is_from_beginning
        Whether the stretch begins where the scoring job's stream did: then the touches are numbered from 0.
    least_rows
        Records of a batch, at least.
    registry
        Where to ask for schemas by their Confluent ids.

    Raises
    ------
    OrderError
        If the decisions contradict each other.
    """
    shards = settings.shards
    events = _Events()
    decoder = TransactionDecoder(registry, (), settings.max_record_bytes)
    numbers: dict[Place, int] = {}
    first_ms = None
    for chunk in transactions:
        if len(chunk) and first_ms is None:
            first_ms = int(chunk.timestamp_ms.min())
        columns, rows, _ = decoder.decode(chunk.values)
        shard = np.full((len(chunk), 3), -1, np.int64)
        shard[rows] = (entity_keys(columns) % np.uint64(shards)).astype(np.int64)
        for partition in np.unique(chunk.partition).tolist():
            at = np.flatnonzero(chunk.partition == partition)
            lists = np.full((len(at), _COLUMNS), -1, np.int32)
            places = np.zeros((len(at), _COLUMNS), np.int64)
            places[:, :3] = ledger.sequences(partition, chunk.offset[at])
            has_touch = places[:, :3] >= 0
            lists[:, :3] = np.where(has_touch, shard[at], -1)
            origin = (False, partition)
            lists[:, 3] = shards + numbers.setdefault(origin, len(numbers))
            places[:, 3] = chunk.offset[at]
            events.add(lists, places, origin, chunk.offset[at])
    free = _free_numbers(events, shards, is_from_beginning)
    label_order = _plan_labels(
        labels, settings, events, numbers, free, None if is_from_beginning else first_ms, registry
    )
    lists = np.concatenate([np.zeros((0, _COLUMNS), np.int32), *events.lists])
    places = np.concatenate([np.zeros((0, _COLUMNS), np.int64), *events.places])
    batch = clean_batches(lists, places, shards + len(numbers), least_rows)
    return RecordedPlan(
        _ends(events, batch), label_order, int(batch.max()) + 1 if len(batch) else 0, sum(map(len, free))
    )


def _free_numbers(events: _Events, shards: int, is_from_beginning: bool) -> list[list[int]]:
    """Return the numbers below the highest that no transaction's touch has, of each shard."""
    free: list[list[int]] = []
    for shard in range(shards):
        taken = [
            places[:, :3][lists[:, :3] == shard] for lists, places in zip(events.lists, events.places, strict=True)
        ]
        numbers = np.sort(np.concatenate([np.zeros(0, np.int64), *taken]))
        if not len(numbers):
            free.append([])
            continue
        first = 0 if is_from_beginning else int(numbers[0])
        is_free = np.ones(int(numbers[-1]) + 1 - first, np.bool_)
        is_free[numbers - first] = False
        free.append((np.flatnonzero(is_free) + first).tolist())
    return free


def _plan_labels(
    labels: Iterable[RawRecords],
    settings: CoreSettings,
    events: _Events,
    numbers: dict[Place, int],
    free: list[list[int]],
    first_ms: int | None,
    registry: SchemaLookup | None,
) -> dict[int, tuple[I64, I64]]:
    shards = settings.shards
    stage = HomeStage(settings, MemoryState(), registry)
    found: dict[int, list[tuple[I64, I64]]] = {}
    next_free = [0] * shards
    beyond = [1 << 61] * shards  # after all that is on record
    before = [-(1 << 61)] * shards  # before all of it
    for chunk in labels:
        output = stage.labels(chunk)
        order = np.full((len(chunk), shards), -1, np.int64)
        lists = np.full((len(chunk), _COLUMNS), -1, np.int32)
        places = np.zeros((len(chunk), _COLUMNS), np.int64)
        column = np.zeros(len(chunk), np.int64)
        for shard, touches in enumerate(output.touches):
            rows, counts = np.unique(output.rows[touches["event"]], return_counts=True)
            for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
                if first_ms is not None and int(chunk.timestamp_ms[row]) < first_ms:
                    place, before[shard] = before[shard], before[shard] + count
                elif next_free[shard] < len(free[shard]):
                    place = free[shard][next_free[shard]]
                    next_free[shard] += count
                else:
                    place, beyond[shard] = beyond[shard], beyond[shard] + count
                order[row, shard] = place
                lists[row, column[row]] = shard
                places[row, column[row]] = place
                column[row] += 1
        for partition in np.unique(chunk.partition).tolist():
            at = np.flatnonzero(chunk.partition == partition)
            origin = (True, partition)
            lists[at, 3] = shards + numbers.setdefault(origin, len(numbers))
            places[at, 3] = chunk.offset[at]
            events.add(lists[at], places[at], origin, chunk.offset[at])
            found.setdefault(partition, []).append((chunk.offset[at], order[at]))
    for shard in range(shards):
        del free[shard][: next_free[shard]]
    return {
        partition: (np.concatenate([o for o, _ in parts]), np.concatenate([p for _, p in parts]))
        for partition, parts in found.items()
    }


def _ends(events: _Events, batch: I64) -> dict[Place, I64]:
    count = int(batch.max()) + 1 if len(batch) else 0
    ends: dict[Place, I64] = {}
    at = 0
    for origin, offsets in events.origins:
        of_batch = batch[at : at + len(offsets)]
        at += len(offsets)
        known = ends.setdefault(origin, np.full(count, -1, np.int64))
        np.maximum.at(known, of_batch, offsets + 1)
    return {origin: np.maximum.accumulate(known) for origin, known in ends.items()}
