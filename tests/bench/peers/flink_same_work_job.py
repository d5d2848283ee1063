"""Peer: Weir's work event by event in PyFlink's DataStream API, in its fastest mode and documented form.

KafkaSource -> decode, flat-map into touches -> keyBy entity -> KeyedProcessFunction (histories in ValueState) -> keyBy
originator's account -> KeyedProcessFunction (partials in MapState; model, rules) -> KafkaSink, exactly once. Thread
mode, object reuse, hashmap state and checkpoints as the measured cluster has them; every output type is declared.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import FlatMapFunction, KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from tests.bench.peers.avro_records import AvroRecords
from tests.bench.peers.flink_ends import environment_of, kafka_sink, kafka_source
from tests.bench.peers.same_work import SameWork
from tests.bench.peers.touches import RECEIVED, SENT, USED, apply_touch, touches_of

JOB_NAME = "bench-same-work"
KEYED = Types.ROW([Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())])


class IntoTouches(FlatMapFunction):
    """Decodes a transaction and sends it to each of its entities."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Load the decoder."""
        self._records = AvroRecords()

    def flat_map(self, value: bytes) -> Iterator[Row]:
        """Yield two or three touches."""
        for entity, touch in touches_of(self._records, value):
            yield Row(entity, touch)


class ReadEntity(KeyedProcessFunction):
    """Reads an entity's histories for a touch. State: its transactions of 39 days of event time, in each role."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Attach the state."""
        # Pickled: a primitive array would go through element by element.
        self._histories = {
            name: runtime_context.get_state(ValueStateDescriptor(name, Types.PICKLED_BYTE_ARRAY()))
            for name in (SENT, RECEIVED, USED)
        }

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Yield the partial features, under the originator's account."""
        histories = self._histories
        partial = apply_touch(
            value[1], lambda name: histories[name].value(), lambda name, items: histories[name].update(items)
        )
        if partial is not None:
            yield Row(*partial)


class Decide(KeyedProcessFunction):
    """Joins a transaction's partials and decides. State: partials that wait for the others."""

    def __init__(self, models_dir: str) -> None:
        self._models_dir = models_dir

    def open(self, runtime_context: RuntimeContext) -> None:
        """Load model and rules, and attach the state."""
        self._scorer = SameWork(self._models_dir)
        self._pending = runtime_context.get_map_state(
            MapStateDescriptor("partials", Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        )

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[bytes]:
        """Yield the decision at the last partial."""
        transaction_id, decision, kept = self._scorer.join(value[1], self._pending.get)
        if kept is not None:
            self._pending.put(transaction_id, kept)
        if decision is not None:
            self._pending.remove(transaction_id)
            yield decision


def main(argv: Sequence[str] | None = None) -> int:
    """Submit: SOURCE_TOPIC SINK_TOPIC MODELS_DIR PARALLELISM."""
    source_topic, sink_topic, models_dir, parallelism = list(argv if argv is not None else sys.argv[1:])
    environment = environment_of(int(parallelism))
    records: Any = kafka_source(environment, source_topic, JOB_NAME)
    (
        records.flat_map(IntoTouches(), KEYED)
        .key_by(lambda row: row[0], Types.STRING())
        .process(ReadEntity(), KEYED)
        .key_by(lambda row: row[0], Types.STRING())
        .process(Decide(models_dir), Types.PRIMITIVE_ARRAY(Types.BYTE()))
        .sink_to(kafka_sink(sink_topic, JOB_NAME))
    )
    environment.execute_async(JOB_NAME)
    return 0
