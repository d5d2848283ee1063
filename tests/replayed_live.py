"""A live run on the real stack, with labels, duplicates, poison, and rules and a learner that change."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from deploy.local.stack import LocalStack
from jobs.settings import Settings, kafka_properties
from jobs.stream.topic_reader import TopicReader
from models.scoring.rules import default_rules
from schemas.records import encode_record
from tests.learner_updates import KEY, an_update
from tests.replayed import Log, logs
from tests.scoring_job import ScoringJob
from tests.waiting import wait_until

EVENTS = 6_000
PARTITIONS = 3


@dataclass(frozen=True)
class Live:
    """What a live run left behind, and what there was before any replay."""

    stack: LocalStack
    settings: Settings
    transactions: Log
    decisions: list[bytes]
    refused: int
    ends: dict[str, int]


def score_live(stack: LocalStack, home: Path) -> Live:
    """Score a stream, with a rule and a learner changing in its midst; end the job."""
    transactions, labels = logs(EVENTS, 71, PARTITIONS)
    partitions = {"transactions": PARTITIONS, "decisions": 2}
    with ScoringJob(stack, "replay", partitions, home_dir=home) as job:
        total = sum(map(len, transactions.values))
        topics = job.settings.topics
        for part in range(3):
            for partition, values in enumerate(transactions.values):
                for row in range(part * len(values) // 3, (part + 1) * len(values) // 3):
                    job.produce(topics.transactions, partition, transactions.timestamps[partition][row], values[row])
            for row in range(part * len(labels.values[0]) // 3, (part + 1) * len(labels.values[0]) // 3):
                job.produce(topics.labels, 0, labels.timestamps[0][row], labels.values[0][row] or b"")
            job.flush()
            if part < 2:
                wait_until(lambda: decided(job.settings) > 0, 120, "first decisions")
                rule = default_rules()[part].rule_id
                job.send_records(topics.control, [(f"rule/{rule}".encode(), b"")])
                job.send_records(
                    topics.model_updates, [(KEY, encode_record("model_update", an_update(part + 1, True)))]
                )
                time.sleep(2)
        wait_until(lambda: sum(counts(job.settings).values()) >= total, 180, "every transaction accounted for")
        job.wait_for_checkpoints()
        settings = job.settings
    found = counts(settings)
    assert sum(found.values()) == total
    decisions = read(settings, settings.topics.decisions)
    return Live(stack, settings, transactions, decisions, total - len(decisions), ends(settings))


def read(settings: Settings, topic: str) -> list[bytes]:
    with TopicReader(kafka_properties(settings), [topic]) as reader:
        return [message.value() or b"" for batch in reader.until_end() for message in batch]


def decided(settings: Settings) -> int:
    return len(read(settings, settings.topics.decisions))


def counts(settings: Settings) -> dict[str, int]:
    topics = settings.topics
    return {topic: len(read(settings, topic)) for topic in (topics.decisions, topics.dead_letters, topics.duplicates)}


def ends(settings: Settings) -> dict[str, int]:
    """Where every live topic ends, and what the consumer group has committed."""
    found = {}
    for topic in vars(settings.topics).values():
        with TopicReader(kafka_properties(settings), [topic], committed_only=False) as reader:
            found[topic] = reader.total
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers})
    groups = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(settings.group_id)])
    for future in groups.values():
        for place in future.result().topic_partitions:
            found[f"group {place.topic} {place.partition}"] = place.offset
    return found
