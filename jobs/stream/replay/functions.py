"""The functions of the replay job: Flink around the pure stages of `models/replay`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pyflink.common import Row, Types
from pyflink.common.typeinfo import TypeInformation
from pyflink.datastream import KeyedProcessFunction, RuntimeContext

from jobs.stream import row_types
from jobs.stream.flink_state import STRIPES, FlinkStateMap
from jobs.stream.intake_function import BATCHES, DEAD_LETTERS, DUPLICATES, dead_letters
from jobs.stream.replay.batch_source import BatchSource, Position
from models.features.parted_store import PartedEntityStore
from models.features.store_spec import StoreSpec
from models.replay.decide_recorded import decide_recorded
from models.replay.deciders import Deciders
from models.replay.intake import ReplayIntake
from models.replay.ordered_batch import OrderedBatch, Placement
from models.replay.touch_merge import TouchMerge
from models.scoring.core_settings import CoreSettings
from models.scoring.decide_batch import Run
from models.scoring.home_stage import HomeStage
from models.scoring.pending import PendingBatches
from schemas.columns import RawRecords, Rejected
from schemas.registry import RegistrySchemas

_POSITION = 0


def ticket() -> TypeInformation:
    """A ticket: its number, and what fills a network buffer."""
    return Types.ROW([Types.LONG(), Types.STRING()])


def ordered_batch() -> TypeInformation:
    """A part of a batch: home shard, is it labels, then as `row_types.micro_batch` from the topic on, placement."""
    longs = [Types.OBJECT_ARRAY(Types.LONG()) for _ in range(2)]
    blobs = [row_types.blobs(), row_types.blobs()]
    return Types.ROW(
        [
            Types.INT(), Types.BOOLEAN(), Types.STRING(), *blobs, Types.OBJECT_ARRAY(Types.INT()), *longs,
            row_types.blob(),
        ]
    )  # fmt: skip


def touch_block() -> TypeInformation:
    """A packed `TouchBlock` for an entity shard: shard, bytes."""
    return Types.ROW([Types.INT(), row_types.blob()])


class ReadFunction(KeyedProcessFunction):
    """Reads one batch for every ticket; tickets beyond the end give nothing.

    State: the place in the log, after the newest batch; for the replay's life.
    """

    def __init__(self, source: Callable[[Position | None], BatchSource], keys: tuple[int, ...]) -> None:
        self._make = source
        self._keys = keys

    def open(self, runtime_context: RuntimeContext) -> None:
        """Attach the state; the log is opened with the first ticket."""
        self._state = FlinkStateMap(runtime_context, "position")
        self._source: BatchSource | None = None
        self._read = runtime_context.get_metrics_group().counter("weir_replay_records_total")

    def close(self) -> None:
        """Leave the broker."""
        if getattr(self, "_source", None) is not None:
            assert self._source is not None
            self._source.close()

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Read the next batch."""
        if self._source is None:
            stored = self._state.get(_POSITION)
            self._source = self._make(None if stored is None else Position.from_bytes(stored))
            self._read.inc(self._source.rows_done)
        parts = self._source.next_batch()
        self._state.put(_POSITION, self._source.position.to_bytes())
        for part in parts:
            self._read.inc(len(part.records))
            yield Row(self._keys[part.home_shard], row_of(part))


def row_of(part: OrderedBatch) -> Row:
    """Return a part as a row of `ordered_batch`."""
    records = part.records
    return Row(
        part.home_shard, part.is_labels, records.topic, records.values, records.keys, records.partition.tolist(),
        records.offset.tolist(), records.timestamp_ms.tolist(), part.placement.to_bytes(),
    )  # fmt: skip


def part_of(value: Row) -> OrderedBatch:
    """Return the part of a row of `ordered_batch`."""
    records = RawRecords(
        topic=value[2],
        values=list(value[3]),
        keys=list(value[4]),
        partition=np.array(value[5], np.int32),
        offset=np.array(value[6], np.int64),
        timestamp_ms=np.array(value[7], np.int64),
    )
    return OrderedBatch(value[0], value[1], records, Placement.from_bytes(value[8]))


class ReplayIntakeFunction(KeyedProcessFunction):
    """Hosts the intake of each home shard; state as in `IntakeFunction`."""

    def __init__(self, settings: CoreSettings, keys: tuple[int, ...], registry_url: str | None) -> None:
        self._settings = settings
        self._keys = keys
        self._registry_url = registry_url

    def open(self, runtime_context: RuntimeContext) -> None:
        """Attach the state; stages are restored with the first element of their shard."""
        self._state = FlinkStateMap(runtime_context, "home", STRIPES)
        self._registry = RegistrySchemas(self._registry_url) if self._registry_url else None
        self._intakes: dict[int, ReplayIntake] = {}

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        """Take in one part of a batch."""
        part = part_of(value)
        shard = part.home_shard
        if shard not in self._intakes:
            stage = HomeStage(self._settings, self._state, self._registry)
            self._intakes[shard] = ReplayIntake(stage, self._settings.shards)
        taken = self._intakes[shard].take(part, 0)
        if taken.batch is not None:
            yield BATCHES, Row(self._keys[shard], Row(shard, -1, taken.batch.sequence, taken.batch.to_bytes()))
        for entity_shard, block in enumerate(taken.blocks):
            yield Row(self._keys[entity_shard], Row(entity_shard, block.to_bytes()))
        # Labels are not the replay's to account for: they are read for the windows.
        if taken.rejected and not part.is_labels:
            yield from ((DEAD_LETTERS, row) for row in dead_letters(part.records, taken.rejected))
        if len(taken.duplicates):
            found = [
                Rejected(row, "deduplicate", "DUPLICATE", "a transaction of this id was accepted before; nothing to do")
                for row in taken.duplicates.tolist()
            ]
            yield from ((DUPLICATES, row) for row in dead_letters(part.records, found))


class ReplayEntityFunction(KeyedProcessFunction):
    """Hosts the merge and the entity store of each shard.

    State: as in `EntityFunction`, and the blocks of batches of which a part is missing.
    """

    def __init__(self, spec: StoreSpec, keys: tuple[int, ...]) -> None:
        self._spec = spec
        self._keys = keys

    def open(self, runtime_context: RuntimeContext) -> None:
        """Attach the state."""
        self._entities = FlinkStateMap(runtime_context, "entities", STRIPES)
        self._waiting = FlinkStateMap(runtime_context, "waiting")
        self._merges: dict[int, TouchMerge] = {}

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Take in a block; answer the home shards of the batches that it completes."""
        shard = value[0]
        if shard not in self._merges:
            store = PartedEntityStore(self._spec, self._entities)
            self._merges[shard] = TouchMerge(store, self._waiting)
        for answer in self._merges[shard].add(value[1]):
            row = Row(answer.home_shard, shard, answer.sequence, answer.partials.to_bytes())
            yield Row(self._keys[answer.home_shard], row)


class ReplayDecisionFunction(KeyedProcessFunction):
    """Hosts the pending batches of each home shard; waits for partial features for as long as it takes.

    State: batches that wait for partial features, from arrival to decision.
    """

    def __init__(self, deciders: Callable[[], Deciders], run: Run, account: str) -> None:
        self._make = deciders
        self._run = run
        self._account = account.encode() if account else None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Attach the state, get ready to decide."""
        self._state = FlinkStateMap(runtime_context, "pending")
        self._pending: dict[int, PendingBatches] = {}
        self._deciders = self._make()
        metrics = runtime_context.get_metrics_group()
        self._decisions = metrics.counter("weir_decisions_total")
        self._alerts = metrics.counter("weir_alerts_total")

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Take in a batch or partials, and decide on what is complete."""
        shard, entity_shard, sequence, data = value[0], value[1], value[2], value[3]
        if shard not in self._pending:
            self._pending[shard] = PendingBatches(self._state)
        pending = self._pending[shard]
        if entity_shard < 0:
            pending.add_batch(data)
        else:
            pending.add_partials(sequence, entity_shard, data)
        for complete in pending.release():
            for scored in decide_recorded(self._deciders, complete, self._run, self._account):
                self._decisions.inc(len(scored.decisions))
                self._alerts.inc(len(scored.alerts))
                yield Row(scored.decision_keys, scored.decisions, scored.alert_keys, scored.alerts)
