"""What the PyFlink peers share: the environment, and Kafka at both ends."""

from __future__ import annotations

import os
from typing import Any

from pyflink.common import Configuration, WatermarkStrategy
from pyflink.common.serialization import ByteArraySchema
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)


def environment_of(parallelism: int) -> Any:
    """Return the environment; the rest is the measured cluster's configuration."""
    configuration = Configuration()
    configuration.set_string("pipeline.object-reuse", "true")
    configuration.set_string("execution.checkpointing.mode", "EXACTLY_ONCE")
    # State that is written at every event would be logged at every event: whole checkpoints cost these jobs less.
    configuration.set_string("state.changelog.enabled", "false")
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    environment.set_parallelism(parallelism)
    return environment


def kafka_source(environment: Any, topic: str, group: str) -> Any:
    """Return the stream of a topic's values, from its beginning."""
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(os.environ["WEIR_BOOTSTRAP_SERVERS"])
        .set_topics(topic)
        .set_group_id(group)
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(ByteArraySchema())
        .build()
    )
    return environment.from_source(source, WatermarkStrategy.no_watermarks(), "transactions")


def kafka_sink(topic: str, transactional_id_prefix: str) -> KafkaSink:
    """Return an exactly-once sink of values."""
    serializer = (
        KafkaRecordSerializationSchema.builder()
        .set_topic(topic)
        .set_value_serialization_schema(ByteArraySchema())
        .build()
    )
    return (
        KafkaSink.builder()
        .set_bootstrap_servers(os.environ["WEIR_BOOTSTRAP_SERVERS"])
        .set_record_serializer(serializer)
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix(transactional_id_prefix)
        .set_property("transaction.timeout.ms", "600000")
        .set_property("linger.ms", "1")
        .set_property("compression.type", "lz4")
        .build()
    )
