"""Read what is in force to its end when a job is submitted, so that its first event meets it."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from jobs.settings import Settings, kafka_properties
from jobs.stream.control import ControlRecord

READ_TIMEOUT_SECONDS = 30.0
PARTITION = 0  # the topics have one partition: the order of changes matters


def read_newest(settings: Settings, topic: str) -> tuple[tuple[ControlRecord, ...], int]:
    """Return the newest record of each key of a compacted topic, and the offset that the job goes on from.

    Raises
    ------
    TimeoutError
        If the broker does not deliver the topic within 30 s.
    """
    consumer = Consumer(
        kafka_properties(
            settings, group_id=f"{settings.group_id}-control", enable_auto_commit=False, enable_partition_eof=True,
            isolation_level="read_committed",
        )
    )  # fmt: skip
    newest: dict[bytes, ControlRecord] = {}
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, PARTITION), timeout=READ_TIMEOUT_SECONDS)
        consumer.assign([TopicPartition(topic, PARTITION, 0)])
        deadline = time.monotonic() + READ_TIMEOUT_SECONDS
        while end > 0 and consumer.position([TopicPartition(topic, PARTITION)])[0].offset < end:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} was not read to offset {end} within {READ_TIMEOUT_SECONDS:.0f} s")
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                if message.error().code() == -191:  # _PARTITION_EOF: what is left before `end` was compacted away
                    break
                raise KafkaException(message.error())
            record = ControlRecord(message.key() or b"", message.value() or b"", message.offset())
            newest[record.key] = record
    finally:
        consumer.close()
    return tuple(newest.values()), max(end, 0)
