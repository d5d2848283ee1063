"""Home stage in Flink: micro-batches in, touches out; batches, dead letters and duplicates on side outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pyflink.common import Row
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext

from jobs.stream import row_types
from jobs.stream.flink_state import STRIPES, FlinkStateMap
from jobs.stream.keyed import keyed_row
from models.scoring.core_settings import CoreSettings
from models.scoring.home_stage import HomeOutput, HomeStage
from schemas.columns import RawRecords, Rejected
from schemas.registry import RegistrySchemas

BATCHES = OutputTag("batches", keyed_row(row_types.home_part()))
DEAD_LETTERS = OutputTag("dead-letters", row_types.refused())
DUPLICATES = OutputTag("duplicates", row_types.refused())
REFUSED_PER_ROW = 16


class IntakeFunction(KeyedProcessFunction):
    """Hosts a HomeStage per home shard.

    State: accepted transaction ids within the horizon, the batch counter, the start of history; for the job's life.
    """

    def __init__(
        self, settings: CoreSettings, keys: tuple[int, ...], labels_topic: str, registry_url: str | None
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._labels_topic = labels_topic
        self._registry_url = registry_url

    def open(self, runtime_context: RuntimeContext) -> None:
        """Attach the state; stages are restored with the first element of their shard."""
        self._state = FlinkStateMap(runtime_context, "home", STRIPES)
        self._registry = RegistrySchemas(self._registry_url) if self._registry_url else None
        self._stages: dict[int, HomeStage] = {}
        metrics = runtime_context.get_metrics_group()
        self._records = metrics.counter("weir_records_total")
        self._rejected = metrics.counter("weir_dead_letters_total")
        self._duplicates = metrics.counter("weir_duplicates_total")

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        """Take in one micro-batch."""
        shard = value[0]
        if shard not in self._stages:
            self._stages[shard] = HomeStage(self._settings, self._state, self._registry)
        stage = self._stages[shard]
        records = RawRecords(
            topic=value[1],
            values=list(value[2]),
            keys=list(value[3]),
            partition=np.array(value[4], np.int32),
            offset=np.array(value[5], np.int64),
            timestamp_ms=np.array(value[6], np.int64),
        )
        is_labels = records.topic == self._labels_topic
        output = stage.labels(records) if is_labels else stage.transactions(records, time.time_ns() // 1_000_000)
        self._count(records, output)
        sequence = -1
        if output.batch is not None:
            sequence = output.batch.sequence
            yield BATCHES, Row(self._keys[shard], Row(shard, -1, sequence, output.batch.to_bytes()))
        for entity_shard, touches in enumerate(output.touches):
            if len(touches):
                block = Row(entity_shard, -1 if is_labels else shard, sequence, touches.tobytes())
                yield Row(self._keys[entity_shard], block)
        if output.rejected:
            yield from ((DEAD_LETTERS, row) for row in dead_letters(records, output.rejected))
        if len(output.duplicates):
            found = [
                Rejected(row, "deduplicate", "DUPLICATE", "a transaction of this id was accepted before; nothing to do")
                for row in output.duplicates.tolist()
            ]
            yield from ((DUPLICATES, row) for row in dead_letters(records, found))

    def _count(self, records: RawRecords, output: HomeOutput) -> None:
        self._records.inc(len(records))
        self._rejected.inc(len(output.rejected))
        self._duplicates.inc(len(output.duplicates))


def dead_letters(records: RawRecords, rejected: Sequence[Rejected]) -> Iterator[Row]:
    """Yield refused records with what is wrong with them, some in each row.

    Not all in one: the SQL that takes a row apart copies its arrays for every record in it.
    """
    for start in range(0, len(rejected), REFUSED_PER_ROW):
        some = rejected[start : start + REFUSED_PER_ROW]
        rows = [r.row for r in some]
        yield Row(
            [records.keys[row] for row in rows],
            [records.values[row] for row in rows],
            [records.topic] * len(rows),
            [str(int(records.partition[row])) for row in rows],
            [str(int(records.offset[row])) for row in rows],
            [r.stage for r in some],
            [r.error for r in some],
            [r.message for r in some],
        )
