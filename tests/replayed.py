"""A live run whose stages meet in a random order, as on a cluster, and replays of what it left behind."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.features.parted_store import PartedEntityStore
from models.replay.core import ReplayCore
from models.replay.deciders import Deciders
from models.replay.log_order import LogOrder
from models.replay.ordered_batch import OrderedBatch
from models.replay.parts import BatchRecords, joined, parts_of
from models.replay.recorded_ledger import RecordedLedger
from models.replay.recorded_plan import plan_recorded
from models.scoring.core_settings import CoreSettings
from models.scoring.decide_batch import Run, decide_batch
from models.scoring.decider import Decider
from models.scoring.home_stage import HomeStage
from models.scoring.pending import PendingBatches
from models.scoring.pipeline import ScoredRecords, take_records
from models.scoring.reference import ReferenceColumns
from models.state_map import MemoryState
from schemas.columns import RawRecords, TransactionColumns
from schemas.hashing import hash_strings
from schemas.ledger_reader import LedgerColumns, LedgerReader
from schemas.records import decode_record, encode_record
from tests.builders import a_label
from tests.recorded import record_stream

Values = list[bytes | None]


@dataclass(frozen=True, slots=True)
class Log:
    """A topic: per partition its values and record timestamps."""

    topic: str
    values: list[Values]
    timestamps: list[list[int]]

    def chunk(self, partition: int, start: int, end: int) -> RawRecords:
        """Return records of one partition."""
        end = min(end, len(self.values[partition]))
        n = max(0, end - start)
        return RawRecords(
            self.topic,
            self.values[partition][start:end],
            [None] * n,
            np.full(n, partition, np.int32),
            np.arange(start, start + n, dtype=np.int64),
            np.array(self.timestamps[partition][start:end], np.int64),
        )


def spread(values: Sequence[bytes | None], timestamps: Sequence[int], partitions: Sequence[int], topic: str) -> Log:
    """Deal records out to partitions."""
    count = max(partitions, default=0) + 1
    log = Log(topic, [[] for _ in range(count)], [[] for _ in range(count)])
    for value, stamp, partition in zip(values, timestamps, partitions, strict=True):
        log.values[partition].append(value)
        log.timestamps[partition].append(stamp)
    return log


def logs(events: int, seed: int, partitions: int, risk_labels: str = "raw") -> tuple[Log, Log]:
    """Return transactions dealt out by account, and labels on some of them; matured ones correct each other."""
    recorded = record_stream(events, seed=seed, accounts=200)
    partition = [int.from_bytes(key[-2:], "big") % partitions for key in recorded.keys]
    rng = np.random.default_rng(seed)
    good = [decode_record(recorded.values[row] or b"", name="transaction") for row in recorded.rows("good")]
    values: list[bytes | None] = []
    stamps = []
    for i in sorted(rng.choice(len(good), min(len(good), 60), replace=False).tolist()):
        about = good[i]
        fields = {name: about[name] for name in ("transaction_id", "account_id", "counterparty_id", "event_time_ms")}
        label = a_label(**fields, label_time_ms=about["event_time_ms"] + 1, is_fraud=bool(i % 3))
        stamp = recorded.timestamp_ms[min(len(recorded) - 1, i + 5)]
        if risk_labels == "raw":
            values.append(encode_record("label", label))
            stamps.append(stamp)
            continue
        for is_correction in (False, True)[: 1 + i % 2]:
            replaced = {"replaced_source": "analyst", "replaced_label_time_ms": stamp} if is_correction else {}
            verdict = {"is_fraud": label["is_fraud"] ^ is_correction, "is_correction": is_correction, **replaced}
            values.append(encode_record("matured_label", {**label, **verdict}))
            stamps.append(stamp)
    return (
        spread(recorded.values, recorded.timestamp_ms, partition, "transactions"),
        spread(values, stamps, [0] * len(values), "labels"),
    )


class FlakyReference:
    """Knows a risk for some devices, and does not answer every time."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def lookup(self, columns: TransactionColumns) -> ReferenceColumns | None:
        """Answer, mostly."""
        if self._rng.random() < 0.2:
            return None
        found = ReferenceColumns.unknown(len(columns))
        found.device_risk[:] = (hash_strings(columns.device_id) % np.uint64(10)).astype(np.float32) / 10
        return found


@dataclass(slots=True)
class LiveRun:
    """Decisions in the order in which they were made."""

    decisions: list[bytes] = field(default_factory=list)
    duplicates: int = 0
    rejected: int = 0


def run_live(
    transactions: Log, labels: Log, settings: CoreSettings, deciders: Sequence[Decider], seed: int, largest: int = 40
) -> LiveRun:
    """Score logs as a cluster would: batches of random sizes, stages that meet in any order, versions that change."""
    rng = np.random.default_rng(seed)
    run = LiveRun()
    reference = FlakyReference(rng)
    stages = [HomeStage(settings, MemoryState()) for _ in range(settings.shards)]
    stores = [PartedEntityStore(settings.store, MemoryState()) for _ in range(settings.shards)]
    pending = [PendingBatches(MemoryState()) for _ in range(settings.shards)]
    channels: dict[tuple[int, int], deque[tuple[int, np.ndarray]]] = {}  # type: ignore[type-arg]
    for home, shard in itertools.product(range(settings.shards), range(settings.shards)):
        channels[home, shard] = deque()
    at = [0] * len(transactions.values)
    labels_at = [0] * len(labels.values)
    while True:
        choices: list[tuple[str, tuple[int, ...]]] = []
        choices += [("read", (p,)) for p in range(len(at)) if at[p] < len(transactions.values[p])]
        choices += [("label", (p,)) for p in range(len(labels_at)) if labels_at[p] < len(labels.values[p])]
        choices += [("touch", pair) for pair, queue in channels.items() if queue] * 2
        if not choices:
            return run
        kind, which = choices[int(rng.integers(len(choices)))]
        count = int(rng.integers(1, largest))
        if kind == "touch":
            home, shard = which
            sequence, touches = channels[home, shard].popleft()
            partials = stores[shard].apply(touches)
            if sequence >= 0:
                pending[home].add_partials(sequence, shard, partials.to_bytes())
                decider = deciders[min(len(deciders) - 1, len(run.decisions) * len(deciders) // 400)]
                for complete in pending[home].release():
                    run.decisions += decide_batch(decider, complete, reference, 1).decisions
            continue
        log, position = (transactions, at) if kind == "read" else (labels, labels_at)
        partition = which[0]
        chunk = log.chunk(partition, position[partition], position[partition] + count)
        position[partition] += len(chunk)
        home = partition % settings.shards
        output = stages[home].transactions(chunk, 1) if kind == "read" else stages[home].labels(chunk)
        run.rejected += len(output.rejected)
        run.duplicates += len(output.duplicates)
        if output.batch is not None:
            pending[home].add_batch(output.batch.to_bytes())
        for shard, touches in enumerate(output.touches):
            if len(touches):
                channels[home, shard].append((-1 if output.batch is None else output.batch.sequence, touches))


def ledger_columns(decisions: Sequence[bytes]) -> LedgerColumns:
    """Read decisions."""
    from models.features.catalogue import FEATURE_NAMES

    return LedgerReader(len(FEATURE_NAMES)).decode(decisions)


def recorded_ledger(log: Log, decisions: Sequence[bytes]) -> RecordedLedger:
    """Return the ledger of a whole log."""
    ledger = RecordedLedger({p: (0, len(values)) for p, values in enumerate(log.values)})
    ledger.add(ledger_columns(decisions))
    return ledger


def recorded_batches(
    transactions: Log, labels: Log, ledger: RecordedLedger, settings: CoreSettings, rows: int, emitted_from: int = 0
) -> list[list[OrderedBatch]]:
    """Cut a recorded run into batches, in its own order."""
    plan = plan_recorded(
        ledger,
        [transactions.chunk(p, 0, 1 << 30) for p in range(len(transactions.values))],
        [labels.chunk(p, 0, 1 << 30) for p in range(len(labels.values))],
        settings,
        is_from_beginning=True,
        least_rows=rows,
    )
    batches = []
    at = dict.fromkeys(plan.ends, 0)
    for number in range(plan.batches):
        chunks: dict[bool, list[RawRecords]] = {False: [], True: []}
        for place, ends in plan.ends.items():
            end = max(at[place], int(ends[number]))
            chunks[place[0]].append((labels if place[0] else transactions).chunk(place[1], at[place], end))
            at[place] = end
        kinds = [taken_in_order(joined(chunks[False]), ledger, emitted_from)]
        if chunks[True]:
            records = joined(chunks[True])
            order = np.concatenate(
                [plan.order_of_labels(int(c.partition[0]), c.offset) for c in chunks[True] if len(c)]
                or [records.offset[:, None]]
            )
            kinds.append(BatchRecords(True, records, order, None, np.ones(len(records), np.bool_)))
        batches.append(parts_of(number, kinds, settings.shards, by_ledger=True))
    return batches


def taken_in_order(records: RawRecords, ledger: RecordedLedger, emitted_from: int) -> BatchRecords:
    """Return transactions with their recorded places."""
    order = np.zeros((len(records), 3), np.int64)
    for partition in np.unique(records.partition).tolist():
        rows = records.partition == partition
        order[rows] = ledger.sequences(partition, records.offset[rows])
    recorded = ledger.rows(records.partition, records.offset)
    return BatchRecords(False, records, order, recorded, records.offset >= emitted_from)


def log_batches(
    transactions: Log, labels: Log, ledger: RecordedLedger, settings: CoreSettings, rows: int
) -> list[list[OrderedBatch]]:
    """Cut logs into batches in the order of their timestamps."""
    logs = [(False, transactions, p) for p in range(len(transactions.values))]
    logs += [(True, labels, p) for p in range(len(labels.values))]
    order = LogOrder(len(logs))
    for i, (_, log, partition) in enumerate(logs):
        order.add(i, np.array(log.timestamps[partition], np.int64))
        order.end(i)
    at = [0] * len(logs)
    batches = []
    for number in itertools.count():
        taken, _ = order.take(rows)
        if not len(taken):
            return batches
        chunks: dict[bool, list[RawRecords]] = {False: [], True: []}
        positions: dict[bool, list[np.ndarray]] = {False: [], True: []}  # type: ignore[type-arg]
        for i in np.unique(taken).tolist():
            is_labels, log, partition = logs[i]
            positions[is_labels].append(np.flatnonzero(taken == i))
            chunk = log.chunk(partition, at[i], at[i] + len(positions[is_labels][-1]))
            chunks[is_labels].append(chunk)
            at[i] += len(chunk)
        kinds = []
        for is_labels in (False, True):
            if chunks[is_labels]:
                places = np.concatenate(positions[is_labels])
                order_of = np.argsort(places)
                records = take_records(joined(chunks[is_labels]), order_of.tolist())
                recorded = None if is_labels else ledger.rows(records.partition, records.offset)
                emitted = np.ones(len(records), np.bool_)
                kinds.append(BatchRecords(is_labels, records, places[order_of][:, None], recorded, emitted))
        batches.append(parts_of(number, kinds, settings.shards, by_ledger=False))
    raise AssertionError


def replay(
    batches: Sequence[Sequence[OrderedBatch]], settings: CoreSettings, deciders: Deciders, seed: int | None = None
) -> ScoredRecords:
    """Replay batches; with a seed the parts of each come in a random order."""
    core = ReplayCore(settings, deciders, Run("replay", "r"))
    result = ScoredRecords()
    rng = np.random.default_rng(seed)
    for parts in batches:
        order = range(len(parts)) if seed is None else rng.permutation(len(parts)).tolist()
        found = core.add([parts[i] for i in order])
        result.scored += found.scored
        result.rejected += found.rejected
        result.duplicates += found.duplicates
    return result


def bodies(decisions: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
    """Return what is compared, by partition and offset."""
    columns = ledger_columns(decisions)
    assert columns.is_read.all()
    places = zip(columns.source_partition.tolist(), columns.source_offset.tolist(), strict=True)
    found = {place: columns.body(row) for row, place in enumerate(places)}
    assert len(found) == len(decisions)
    return found
