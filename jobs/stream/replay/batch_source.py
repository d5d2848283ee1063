"""The batches of a replay, one after the other, from Kafka."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from jobs.stream.replay.log_reader import LogReader
from jobs.stream.replay.spec import RECORDED, ReplaySpec, Span
from jobs.stream.topic_reader import Start, TopicReader
from models.features.catalogue import FEATURE_NAMES
from models.replay.log_order import LogOrder
from models.replay.ordered_batch import OrderedBatch
from models.replay.parts import BatchRecords, joined, parts_of
from models.replay.recorded_ledger import RecordedLedger
from models.replay.recorded_plan import RecordedPlan, plan_recorded
from models.scoring.core_settings import CoreSettings
from models.scoring.pipeline import take_records
from schemas.columns import I64, RawRecords
from schemas.ledger_reader import LedgerReader
from schemas.registry import SchemaLookup

PACE_SECONDS = 0.2
"""Of a paced replay, a batch holds so much wall clock at most."""
LONGEST_PAUSE_SECONDS = 10.0
"""Of a paced replay: longer gaps between records are shortened to it."""
_NEVER = -(2**62)

Tell = Callable[[str, int, int], None]
"""Hears what is being read, how many offsets of it are done, and of how many."""


def tell_nobody(what: str, done: int, total: int) -> None:
    """Stand in where nobody wants to hear."""


@dataclass(slots=True)
class Position:
    """Where a replay is: number of the next batch, next offset of each span and its highest timestamp so far."""

    batch: int
    offsets: list[int]
    highest: list[int]

    def to_bytes(self) -> bytes:
        """Pack the position."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Unpack what `to_bytes` packed."""
        return cls(**json.loads(data))


class BatchSource:
    """Reads the log of a replay and cuts it into batches.

    Parameters
    ----------
    spec
        The replay.
    properties
        Of librdkafka: address and security.
    settings
        Of the core.
    registry
        Where to ask for schemas by their Confluent ids.
    position
        To go on from; None begins.
    tell
        Hears how far the ledger and the log have been read to plan the batches.

    Raises
    ------
    ReadError
        If Kafka does not deliver.
    OrderError
        If the recorded order contradicts itself.
    """

    def __init__(
        self,
        spec: ReplaySpec,
        properties: Mapping[str, Any],
        settings: CoreSettings,
        registry: SchemaLookup | None = None,
        position: Position | None = None,
        tell: Tell = tell_nobody,
    ) -> None:
        self._spec = spec
        self._shards = settings.shards
        self.position = position or Position(0, [s.warm for s in spec.spans], [_NEVER] * len(spec.spans))
        self._transactions = len(spec.transactions)
        self._ledger = read_ledger(spec, properties, tell)
        self._plan: RecordedPlan | None = None
        self._batches = 0
        if spec.order == RECORDED:
            self._plan = _plan(spec, properties, settings, self._ledger, registry, tell)
            self._batches = _needed(self._plan, spec)
        self._order = LogOrder(len(spec.spans), list(self.position.highest))
        self._reader = LogReader(properties, spec.spans, self.position.offsets, spec.is_committed_only)
        self._pace = Pace(spec.speed, spec.from_ms)

    def close(self) -> None:
        """Leave the broker."""
        self._reader.close()

    @property
    def rows_done(self) -> int:
        """Offsets passed so far."""
        return sum(at - span.warm for at, span in zip(self.position.offsets, self._spec.spans, strict=True))

    @property
    def rows(self) -> int:
        """Offsets to pass until the end; in recorded order those after the last one to decide on are left."""
        if self._plan is None:
            return self._spec.rows
        if not self._batches:
            return 0
        ends = {place: int(of[self._batches - 1]) for place, of in self._plan.ends.items()}
        places = [(i >= self._transactions, span.partition, span.warm) for i, span in enumerate(self._spec.spans)]
        return sum(max(0, ends.get((kind, number), warm) - warm) for kind, number, warm in places)

    @property
    def unexplained(self) -> int:
        """Numbers of touches that nothing is known for; 0 where the order is not the recorded one."""
        return self._plan.unexplained if self._plan else 0

    def next_batch(self) -> list[OrderedBatch]:
        """Return the parts of the next batch; none at the end."""
        number = self.position.batch
        chunks = self._next_recorded(number) if self._plan is not None else self._next_of_log()
        if not chunks:
            return []
        kinds = []
        for is_labels in (False, True):
            of_kind = [(i, records, places) for i, records, places in chunks if (i >= self._transactions) == is_labels]
            if of_kind:
                kinds.append(self._of_kind(is_labels, of_kind))
        self.position.batch = number + 1
        return parts_of(number, kinds, self._shards, self._plan is not None)

    def _next_of_log(self) -> list[tuple[int, RawRecords, I64]]:
        spans = range(len(self._spec.spans))
        while True:
            for i in spans:
                if times := self._reader.new_times(i):
                    self._order.add(i, np.array(times, np.int64))
                if self._reader.is_ended(i):
                    self._order.end(i)
            waits = self._order.waits_for
            if not waits and (not any(not self._reader.is_ended(i) for i in spans) or self._is_enough()):
                break
            self._reader.fill(waits or [i for i in spans if not self._reader.is_ended(i)][:1])
        taken, times_taken = self._order.take(self._spec.batch_rows, self._pace.horizon_ms(self._order.first_ms))
        if not len(taken):
            return []
        self._pace.wait_until(int(times_taken[-1]))
        chunks = []
        for i in np.unique(taken).tolist():
            at = np.flatnonzero(taken == i)
            records = self._reader.take(i, len(at))
            self._note(i, records)
            self.position.highest[i] = int(times_taken[at[-1]])
            chunks.append((i, records, at[:, None].astype(np.int64)))
        return chunks

    def _is_enough(self) -> bool:
        return self._order.ready(self._spec.batch_rows)

    def _next_recorded(self, number: int) -> list[tuple[int, RawRecords, I64]]:
        plan = self._plan
        assert plan is not None
        if number >= self._batches:
            return []
        chunks = []
        for i, span in enumerate(self._spec.spans):
            is_labels = i >= self._transactions
            ends = plan.ends.get((is_labels, span.partition))
            if ends is None or int(ends[number]) <= self.position.offsets[i]:
                continue
            end = int(ends[number])
            while not self._reader.has_reached(i, end):
                self._reader.fill([i])
            records = self._reader.take(i, self._reader.offset_before(i, end))
            if len(records):
                self._note(i, records)
                places = (
                    plan.order_of_labels(span.partition, records.offset)
                    if is_labels
                    else self._ledger.sequences(span.partition, records.offset)
                )
                chunks.append((i, records, places))
        self._pace.wait_until(max((int(records.timestamp_ms.max()) for _, records, _ in chunks), default=0))
        return chunks

    def _note(self, number: int, records: RawRecords) -> None:
        self.position.offsets[number] = int(records.offset[-1]) + 1

    def _of_kind(self, is_labels: bool, chunks: list[tuple[int, RawRecords, I64]]) -> BatchRecords:
        records = joined([records for _, records, _ in chunks])
        places = np.concatenate([of for _, _, of in chunks])
        is_emitted = np.concatenate([self._is_emitted(self._spec.spans[i], records.offset) for i, records, _ in chunks])
        if self._plan is None:
            order = np.argsort(places[:, 0])
            records, places, is_emitted = take_records(records, order.tolist()), places[order], is_emitted[order]
        recorded = None if is_labels else self._ledger.rows(records.partition, records.offset)
        return BatchRecords(is_labels, records, places, recorded, is_emitted)

    def _is_emitted(self, span: Span, offset: I64) -> np.ndarray[Any, np.dtype[np.bool_]]:
        wanted = self._spec.partitions
        if wanted and span.partition not in wanted:
            return np.zeros(len(offset), np.bool_)
        return (offset >= span.begin) & (offset < span.end)


class Pace:
    """Keeps a replay as slow as it was asked to be; what only fills the windows is read as fast as it goes."""

    def __init__(self, speed: float, from_ms: int) -> None:
        self._speed = speed
        self._from_ms = from_ms
        self._begin: tuple[float, int] | None = None

    def horizon_ms(self, first_ms: int | None) -> int | None:
        """Return up to which record timestamp a batch may reach; None for any."""
        if not self._speed or first_ms is None or first_ms < self._from_ms:
            return None
        return first_ms + max(1, int(1000 * PACE_SECONDS * self._speed))

    def wait_until(self, time_ms: int) -> None:
        """Sleep until a record timestamp is due."""
        if not self._speed or time_ms < self._from_ms:
            return
        if self._begin is None:
            self._begin = (time.monotonic(), time_ms)
        begun, first = self._begin
        due = begun + (time_ms - first) / 1000 / self._speed
        wait = due - time.monotonic()
        if wait > LONGEST_PAUSE_SECONDS:  # nothing happened for long: a checkpoint cannot wait for it
            wait = LONGEST_PAUSE_SECONDS
            self._begin = (time.monotonic() + wait, time_ms)
        time.sleep(max(0.0, wait))


def read_ledger(spec: ReplaySpec, properties: Mapping[str, Any], tell: Tell = tell_nobody) -> RecordedLedger:
    """Read what is on record of the transactions of a replay."""
    ledger = RecordedLedger({span.partition: (span.warm, span.stop) for span in spec.transactions})
    if not spec.ledger_topic:
        return ledger
    reader = LedgerReader(len(FEATURE_NAMES))
    with TopicReader(properties, [spec.ledger_topic], Start(since_ms=spec.ledger_since_ms)) as decisions:
        done = 0
        for batch in decisions.until_end():
            ledger.add(reader.decode([message.value() for message in batch]))
            done += len(batch)
            tell("reading the ledger", done, decisions.total)
    return ledger


def _plan(
    spec: ReplaySpec,
    properties: Mapping[str, Any],
    settings: CoreSettings,
    ledger: RecordedLedger,
    registry: SchemaLookup | None,
    tell: Tell,
) -> RecordedPlan:
    def counted(chunks: Iterator[RawRecords]) -> Iterator[RawRecords]:
        done = 0
        for chunk in chunks:
            done += len(chunk)
            tell("reading the log", done, sum(max(0, span.stop - span.warm) for span in spec.transactions))
            yield chunk

    transactions, labels = (
        LogReader(properties, spans, committed_only=spec.is_committed_only)
        for spans in (spec.transactions, spec.labels)
    )
    try:
        return plan_recorded(
            ledger,
            counted(transactions.chunks()),
            [in_log_order(list(labels.chunks()))] if any(s.stop > s.warm for s in spec.labels) else [],
            settings,
            spec.is_from_beginning,
            spec.batch_rows,
            registry,
        )
    finally:
        transactions.close()
        labels.close()


def _needed(plan: RecordedPlan, spec: ReplaySpec) -> int:
    """Return how many batches there are until the last transaction to decide on."""
    last = [
        int(np.searchsorted(plan.ends[False, span.partition], span.end)) + 1
        for span in spec.transactions
        if span.end > span.begin and (False, span.partition) in plan.ends
    ]
    return min(plan.batches, max(last, default=0))


def in_log_order(chunks: list[RawRecords]) -> RawRecords:
    """Return all records of a topic in the order of their timestamps, each partition in its own."""
    numbers = sorted({int(chunk.partition[0]) for chunk in chunks if len(chunk)})
    of_partition = [joined([c for c in chunks if len(c) and int(c.partition[0]) == number]) for number in numbers]
    order = LogOrder(len(of_partition))
    for i, records in enumerate(of_partition):
        order.add(i, records.timestamp_ms)
        order.end(i)
    taken, _ = order.take(sum(map(len, of_partition)))
    starts = np.cumsum([0, *map(len, of_partition)])
    rows = np.zeros(len(taken), np.int64)
    for i in range(len(of_partition)):
        rows[taken == i] = starts[i] + np.arange(len(of_partition[i]))
    return take_records(joined(of_partition), rows.tolist())
