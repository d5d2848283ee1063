"""Peer: the same stream scored event by event in PyFlink's DataStream API, in its fastest mode and documented form.

KafkaSource -> decode -> keyBy account -> KeyedProcessFunction with ValueState -> KafkaSink, exactly once. Thread mode,
object reuse, hashmap state and checkpoints as the measured cluster has them; every output type is declared.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pyflink.common import Configuration, Row, Types, WatermarkStrategy
from pyflink.common.serialization import ByteArraySchema
from pyflink.datastream import (
    KeyedProcessFunction,
    MapFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.state import ValueStateDescriptor

from tests.bench.peers.per_event import PerEventScorer

JOB_NAME = "bench-per-event"


class WithAccount(MapFunction):
    """Puts the account beside the record, as the key."""

    def __init__(self, models_dir: str) -> None:
        self._models_dir = models_dir

    def open(self, runtime_context: RuntimeContext) -> None:
        """Load the decoder."""
        self._scorer = PerEventScorer(self._models_dir)

    def map(self, value: bytes) -> Row:
        """Decode for the key alone."""
        return Row(self._scorer.decode(value)["account_id"], value)


class Score(KeyedProcessFunction):
    """Scores one event at a time. State: the account's transactions of 30 days of event time."""

    def __init__(self, models_dir: str) -> None:
        self._models_dir = models_dir

    def open(self, runtime_context: RuntimeContext) -> None:
        """Load the model and attach the state."""
        self._scorer = PerEventScorer(self._models_dir)
        # Pickled: the one type that takes a list of any length in one go
        self._history = runtime_context.get_state(ValueStateDescriptor("history", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[bytes]:
        """Score one transaction."""
        decision, history = self._scorer.score(self._scorer.decode(value[1]), self._history.value() or [])
        self._history.update(history)
        yield decision


def main(argv: Sequence[str] | None = None) -> int:
    """Submit: SOURCE_TOPIC SINK_TOPIC MODELS_DIR PARALLELISM."""
    source_topic, sink_topic, models_dir, parallelism = list(argv if argv is not None else sys.argv[1:])
    servers = os.environ["WEIR_BOOTSTRAP_SERVERS"]
    configuration = Configuration()
    configuration.set_string("pipeline.object-reuse", "true")
    configuration.set_string("execution.checkpointing.mode", "EXACTLY_ONCE")
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    environment.set_parallelism(int(parallelism))
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(servers)
        .set_topics(source_topic)
        .set_group_id(JOB_NAME)
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(ByteArraySchema())
        .build()
    )
    serializer = (
        KafkaRecordSerializationSchema.builder()
        .set_topic(sink_topic)
        .set_value_serialization_schema(ByteArraySchema())
        .build()
    )
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(servers)
        .set_record_serializer(serializer)
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix(JOB_NAME)
        .set_property("transaction.timeout.ms", "600000")
        .set_property("linger.ms", "1")
        .set_property("compression.type", "lz4")
        .build()
    )
    record = Types.ROW([Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())])
    records: Any = environment.from_source(source, WatermarkStrategy.no_watermarks(), "transactions")
    (
        records.map(WithAccount(models_dir), record)
        .key_by(lambda row: row[0], Types.STRING())
        .process(Score(models_dir), Types.PRIMITIVE_ARRAY(Types.BYTE()))
        .sink_to(sink)
    )
    environment.execute_async(JOB_NAME)
    return 0
