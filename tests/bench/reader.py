"""Reads what the job writes, as a process of its own: `python -m tests.bench.reader`.

Three consumers: alerts and decisions as a reader sees them at once (read_uncommitted), and decisions as the ledger
shows them (read_committed, after the next checkpoint). Every alert is fetched and its latency taken. Of the decisions
one partition is fetched and the others are counted by their end offsets, and latencies are a sample of those fetched:
fetching all of them twice, and decoding each in Python, would take the cores that are measured.

Latency = wall clock when the batch of records reached this process - the Kafka timestamp of the transaction, which is
the moment it was due.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from schemas.records import decode_record

SAMPLES_PER_POLL = 100
POLL_SECONDS = 0.005
HEADER = 10  # of Avro's single-object encoding


def source_time_of_decision(value: bytes) -> int:
    """Return `source_time_ms` of an encoded decision without decoding the rest.

    Before it come three strings, two longs, a string, an int and a long (decision.avsc).
    """
    at = HEADER
    for kind in "sssllsll":
        number, at = _varint(value, at)
        if kind == "s":
            at += number
    return _varint(value, at)[0]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    shift = number = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return (number >> 1) ^ -(number & 1), at
        shift += 7


class Stream(threading.Thread):
    """One consumer of a topic, from its end on.

    Parameters
    ----------
    servers, topic, isolation
        What to read, and how.
    is_alerts
        Whether to take the latency of every record, of alerts, or of a sample, of decisions.
    is_sample
        Whether to fetch the first partition only.
    """

    def __init__(self, servers: str, topic: str, isolation: str, is_alerts: bool, is_sample: bool) -> None:
        super().__init__(name=f"{topic} {isolation}", daemon=True)
        self._seen = 0
        self._is_alerts = is_alerts
        self.revisions = 0  # of alerts, by later evidence: no part of how soon an alert leaves
        self._samples: list[tuple[int, float]] = []
        self._lock = threading.Lock()
        common = {
            "bootstrap.servers": servers,
            "group.id": "bench-reader",
            "isolation.level": isolation,
            "log_level": 3,
        }
        self._meter = Consumer(common)  # one that consumes may never answer where a partition ends
        self._consumer = Consumer(
            {
                **common,
                "enable.auto.commit": False,
                # An alert comes at once. Decisions may gather a little: a request for every few would cost the broker
                # more than the records.
                "fetch.min.bytes": 1 if is_alerts else 256 << 10,
                "fetch.wait.max.ms": 100 if is_alerts else 20,
                "queued.max.messages.kbytes": 65536,
                "fetch.queue.backoff.ms": 5,
            }
        )
        partitions = [TopicPartition(topic, p) for p in self._consumer.list_topics(topic, 10).topics[topic].partitions]
        for partition in partitions:
            partition.offset = self._consumer.get_watermark_offsets(partition, timeout=10)[1]
        self._uncounted = partitions[1:] if is_sample else []
        self._consumer.assign(partitions[:1] if is_sample else partitions)

    def run(self) -> None:
        """Read until the process ends."""
        while True:
            messages = self._consumer.consume(20_000, POLL_SECONDS)
            if not messages:
                continue
            arrived_ms = time.time() * 1000
            step = 1 if self._is_alerts else max(1, len(messages) // SAMPLES_PER_POLL)
            found = self._found(messages, step, arrived_ms)
            with self._lock:
                self._seen += len(messages)
                self._samples += found

    @property
    def seen(self) -> int:
        """Records so far, committed ones for a reader of those; with a marker a commit of partitions not fetched."""
        ends = [self._meter.get_watermark_offsets(p, timeout=10)[1] - p.offset for p in self._uncounted]
        return self._seen + sum(ends)

    def _found(self, messages: list[Message], step: int, arrived_ms: float) -> list[tuple[int, float]]:
        found = []
        for message in messages[::step]:
            if message.error():
                raise KafkaException(message.error())
            value = message.value()
            assert value is not None
            if self._is_alerts and (alert := decode_record(value))["revision"]:
                self.revisions += 1
                continue
            found.append((alert["source_time_ms"] if self._is_alerts else source_time_of_decision(value), arrived_ms))
        return found

    def take(self) -> list[tuple[int, float]]:
        """Return and forget the samples."""
        with self._lock:
            taken, self._samples = self._samples, []
        return taken


def main() -> None:
    """Answer commands: `count` with the numbers of records seen, `take` with samples written to a file."""
    task: dict[str, Any] = json.loads(sys.stdin.readline())
    sys.setswitchinterval(0.0005)  # three threads: none may wait 5 ms for another to finish its batch
    servers = task["servers"]
    streams = {
        "alerts": Stream(servers, task["alerts"], "read_uncommitted", is_alerts=True, is_sample=False),
        "decisions": Stream(servers, task["decisions"], "read_uncommitted", is_alerts=False, is_sample=True),
        "ledger": Stream(servers, task["decisions"], "read_committed", is_alerts=False, is_sample=True),
    }
    for stream in streams.values():
        stream.start()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if dead := [name for name, stream in streams.items() if not stream.is_alive()]:
            print(json.dumps({"error": f"the reader of {dead[0]} ended; see standard error"}), flush=True)
            return
        if "take" in command:
            np.savez(
                command["take"],
                **{name: np.array(stream.take(), np.float64).reshape(-1, 2) for name, stream in streams.items()},
            )
        print(json.dumps({name: stream.seen for name, stream in streams.items()}), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
