"""The scoring job on the real stack, with topics of its own: what the tests send to it, and what they read from it."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, Message, Producer

from deploy.local.stack import LocalStack
from deploy.local.topics import create_topics
from jobs.settings import Settings
from jobs.stream.reference_redis import RedisReference, RedisReferenceSettings
from jobs.stream.topic_reader import TopicReader
from models.scoring.core_settings import CoreSettings
from tests.recorded import Recorded, model_folder
from tests.waiting import wait_until

JOB = "jobs.score_transactions"

START_SECONDS = 120.0
"""Submission takes two JVM and Python starts: 10 s on an idle 2-core machine, ten times that on a busy one."""
SETTLE_SECONDS = 120.0
"""From the last record sent to the checkpoint that commits its decision, over a restart: 5 s until a dead TaskManager
is missed, 10 s of restart and the replay, and a busy machine."""


class ScoringJob:
    """One run of the job; leaving the context cancels it.

    Parameters
    ----------
    stack
        Runs.
    name
        Of the test: prefix of topics and ids.
    partitions
        Of the transactions' topic, or of topics by name.
    module
        Of the job.
    settings
        Of the job, where they differ from those below.
    """

    def __init__(
        self, stack: LocalStack, name: str, partitions: int | dict[str, int] = 1, module: str = JOB, **settings: Any
    ) -> None:
        self.stack = stack
        self._module = module
        unique = re.sub(r"[^A-Za-z0-9]+", "-", name)[:60] + "-" + uuid.uuid4().hex[:6]
        defaults = {
            "bootstrap_servers": stack.bootstrap_servers,
            "flink_rest_url": stack.flink_rest_url,
            "redis_url": stack.redis_url,
            "models_dir": model_folder(),
            "topic_prefix": f"{unique}.",
            "group_id": unique,
            "transactional_id_prefix": unique,
            "parallelism": 2,  # so that what crosses from one TaskManager to the other is tested
            "checkpoint_interval_seconds": 1.0,
            # A slow machine may take its time: what comes late must not look like a fault.
            "entity_wait_ms": 60_000,
            "reference_budget_ms": 1_000,
        }
        self.settings = Settings.load(environment={}, files=(), **{**defaults, **settings})
        self._properties = {"bootstrap.servers": stack.bootstrap_servers}
        counts = {"transactions": partitions} if isinstance(partitions, int) else partitions
        create_topics(self._properties, self.settings.topic_prefix, counts)
        self._producer = Producer(
            {
                **self._properties,
                "enable.idempotence": True,  # what is sent again after a fault of the broker must not come twice
                "message.max.bytes": 16_000_000,
                "queue.buffering.max.kbytes": 1_000_000,
                "queue.buffering.max.messages": 2_000_000,
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        self._refused: list[str] = []
        self.id = ""

    def __enter__(self) -> Self:
        return self.start()

    def start(self) -> Self:
        """Submit it; it ends with the stack, or by `__exit__`."""
        environment = self.settings.as_environment()
        self.id = self.stack.submit(self._module, environment=environment, wait_seconds=START_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            print(f"newest failure of job {self.id}: {self.stack.rest.failure(self.id)[:3000] or 'none'}")
        self.stack.rest.cancel(self.id)

    @property
    def core_settings(self) -> CoreSettings:
        """What the plain loop needs to agree with the job."""
        settings = self.settings
        return CoreSettings(
            shards=settings.shards,
            dedupe_horizon=settings.dedupe_horizon,
            max_record_bytes=settings.max_record_bytes,
            max_future_ms=settings.max_future_seconds * 1000,
        )

    def reference(self) -> RedisReference:
        """Return the job's reference data, for the plain loop."""
        return RedisReference.connect(self.stack.redis_url, RedisReferenceSettings(budget_seconds=1.0))

    def send(self, recorded: Recorded, start: int = 0, end: int | None = None, per_second: float | None = None) -> None:
        """Send records of a stream to partition 0, in order, at a rate if one is given; do not wait for the broker."""
        begun = time.monotonic()
        topic = self.settings.topics.transactions
        for i, row in enumerate(range(start, len(recorded) if end is None else end)):
            if per_second and i % 20 == 0:
                time.sleep(max(0.0, begun + i / per_second - time.monotonic()))
            value, key, stamp = recorded.values[row], recorded.keys[row], recorded.timestamp_ms[row]
            self._producer.produce(topic, value, key, 0, timestamp=stamp, on_delivery=self._note)
            if i % 100 == 0:
                self._producer.poll(0)

    def send_records(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Send keys and values to partition 0 of a topic, and wait until they are there."""
        for key, value in records:
            self._producer.produce(topic, value, key, 0, on_delivery=self._note)
        self.flush()

    def send_headed(self, topic: str, header: str, records: Iterable[tuple[bytes, bytes, str]]) -> None:
        """Send keys and values with one header to partition 0 of a topic; do not wait for the broker."""
        for key, value, text in records:
            self._producer.produce(topic, value, key, 0, headers={header: text.encode()}, on_delivery=self._note)
            self._producer.poll(0)

    def produce(self, topic: str, partition: int, timestamp_ms: int, value: bytes) -> None:
        """Send one record; do not wait for the broker."""
        self._producer.produce(topic, value, None, partition, timestamp=timestamp_ms, on_delivery=self._note)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until everything sent has arrived."""
        assert self._producer.flush(SETTLE_SECONDS) == 0, "the broker has not taken every record"
        assert not self._refused, f"the broker refused {len(self._refused)} records: {self._refused[0]}"

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._refused.append(error.str())

    def read(self, topic: str, committed_only: bool = True) -> TopicLog:
        """Follow a topic from its beginning."""
        return TopicLog(TopicReader(self._properties, [topic], committed_only=committed_only))

    def wait_for_checkpoints(self, count: int = 2) -> None:
        """Wait until so many further checkpoints are complete: what was read before is committed then."""
        done = self._completed()
        wait_until(lambda: self._completed() >= done + count, SETTLE_SECONDS, f"{count} checkpoints complete")

    def restarts(self) -> int:
        """How often the job has started over."""
        found: list[dict[str, str]] = []

        def is_there() -> bool:
            # The JobManager gathers metrics when it is asked, and answers with what the last time brought.
            found[:] = self.stack.rest.get(f"/jobs/{self.id}/metrics?get=numRestarts")
            return bool(found)

        wait_until(is_there, SETTLE_SECONDS, "the number of restarts known")
        return int(float(found[0]["value"]))

    def _completed(self) -> int:
        return int(self.stack.rest.checkpoints(self.id)["counts"]["completed"])


class TopicLog:
    """Records of a topic as they come; per partition in their order."""

    def __init__(self, reader: TopicReader) -> None:
        self._reader = reader
        self.messages: list[Message] = []

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def values(self) -> list[bytes]:
        """Values so far."""
        return [message.value() or b"" for message in self.messages]

    @property
    def keys(self) -> list[bytes]:
        """Keys so far."""
        return [message.key() or b"" for message in self.messages]

    def poll(self) -> list[Message]:
        """Take in what is there; return the new ones."""
        new = self._reader.read(5_000, timeout_seconds=0.2)
        self.messages += new
        return new

    def wait_for(self, count: int, timeout_seconds: float = SETTLE_SECONDS) -> None:
        """Wait until so many records have been read."""

        def enough() -> bool:
            self.poll()
            return len(self) >= count

        try:
            wait_until(enough, timeout_seconds, f"{count} records")
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {len(self)}") from None

    def read_to_end(self) -> None:
        """Take in everything up to the end as it is now, and leave."""

        def at_end() -> bool:
            return not self.poll() and self._reader.is_at_end

        wait_until(at_end, SETTLE_SECONDS, "the end of the topic")
        self._reader.close()


def settled(job: ScoringJob, decisions: int, dead_letters: int = 0, duplicates: int = 0) -> dict[str, TopicLog]:
    """Wait until the ledgers have the expected numbers of records, and then for anything too much.

    Returns
    -------
    dict
        By topic, without prefix: everything a read_committed reader sees after two more checkpoints.
    """
    topics = job.settings.topics
    expected = {topics.decisions: decisions, topics.dead_letters: dead_letters, topics.duplicates: duplicates}
    logs = {topic: job.read(topic) for topic in expected}
    for topic, count in expected.items():
        logs[topic].wait_for(count)
    job.wait_for_checkpoints()
    for log in logs.values():
        log.read_to_end()
    assert {topic: len(log) for topic, log in logs.items()} == expected
    return {topic.removeprefix(job.settings.topic_prefix): log for topic, log in logs.items()}
