"""Send simulated transactions to Kafka on schedule."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, Message, Producer

from deploy.load.plan import LoadPlan
from models.training.simulator import FaultInjector, encode_stream

TICK_SECONDS = 0.002  # how often the schedule is looked at: what one batch of the simulator may add to a latency
PROGRESS_SECONDS = 0.25
FLUSH_SECONDS = 30.0
LONGEST_BATCH = 5_000
BATCHES_AHEAD = 16

PRODUCER = {
    "linger.ms": 5,
    "compression.type": "lz4",
    "acks": "all",
    "enable.idempotence": True,  # a retry must not look like a duplicate that the simulator sent
    "partitioner": "murmur2_random",  # as Java's clients do, so that every producer finds the same partition
    "message.max.bytes": 16_000_000,  # the simulator's poison holds records of 10 MB
    "queue.buffering.max.messages": 1_000_000,
    "queue.buffering.max.kbytes": 512 * 1024,
    "delivery.report.only.error": True,
    "log_level": 3,
}
"""How we produce, address and security aside; `weir produce` and `weir redrive` do the same."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How far a load has come.

    Attributes
    ----------
    sent
        Transactions handed to the client.
    labels
        Labels handed to the client.
    failed
        Records that the broker refused.
    elapsed_seconds
        Since the first was due.
    behind_seconds
        How late the newest was handed over: above some milliseconds, the generator itself cannot keep up.
    """

    sent: int
    labels: int
    failed: int
    elapsed_seconds: float
    behind_seconds: float

    @property
    def rate(self) -> float:
        """Transactions a second so far."""
        return self.sent / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0


@dataclass(slots=True)
class _Chunk:
    keys: list[bytes]
    values: list[bytes | None]
    label_keys: list[bytes] = field(default_factory=list)
    label_values: list[bytes] = field(default_factory=list)
    at: int = 0


class LoadGenerator:
    """Sends a plan's load. Cost about 5 µs a record of one core, so 60,000 events/s take a third of it.

    A thread simulates ahead while this one sends, so that the simulator's bursts do not show in the schedule. The Kafka
    timestamp of each record is the moment it was due, not the moment it was sent: latencies counted from it include
    whatever kept the generator waiting.

    Parameters
    ----------
    plan
        What to send.
    properties
        Of librdkafka: address and security.
    transactions_topic, labels_topic
        Full names.
    """

    def __init__(
        self, plan: LoadPlan, properties: Mapping[str, Any], transactions_topic: str, labels_topic: str
    ) -> None:
        self.plan = plan
        self._producer = Producer({**PRODUCER, **properties})
        self._transactions = transactions_topic
        self._labels = labels_topic
        self._ready: queue.Queue[_Chunk | BaseException | None] = queue.Queue(BATCHES_AHEAD)
        self._stop = threading.Event()
        self._failed = 0
        self._first_error: KafkaError | None = None

    def stop(self) -> None:
        """Make `run` end after what is due now; safe from signal handlers and other threads."""
        self._stop.set()

    @property
    def first_error(self) -> str | None:
        """What the broker said of the first record it refused."""
        return None if self._first_error is None else str(self._first_error.str())

    def run(self, on_progress: Callable[[LoadReport], None] = lambda _: None) -> LoadReport:
        """Send everything, wait until the broker has it, and return the final report.

        `on_progress` is called about four times a second.
        """
        maker = threading.Thread(target=self._make, name="simulator", daemon=True)
        maker.start()
        switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0005)  # the simulating thread must not hold the sending one up by 5 ms
        try:
            return self._send(on_progress)
        finally:
            sys.setswitchinterval(switch_interval)
            self._stop.set()
            self._producer.flush(FLUSH_SECONDS)

    # -- the simulating thread --------------------------------------------------------------------------------------

    def _make(self) -> None:
        try:
            for chunk in self._chunks():
                if not self._put(chunk):
                    return
            self._put(None)
        except BaseException as error:  # handed over, and raised where the caller is
            self._put(error)

    def _put(self, item: _Chunk | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def _chunks(self) -> Iterator[_Chunk]:
        size = int(min(LONGEST_BATCH, max(50, self.plan.rate / 10)))
        faults = self.plan.faults
        injector = None if faults is None else FaultInjector(faults)
        for batch in encode_stream(self.plan.simulator, size):
            values: list[bytes | None] = [*batch.values]
            keys = batch.keys
            if injector is not None:
                delivery = injector.apply(batch.keys, batch.values, batch.event_time_ms)
                keys, values = delivery.keys, delivery.values
            chunk = _Chunk(keys, values)
            if self.plan.has_labels:
                chunk.label_keys, chunk.label_values = batch.label_keys, batch.label_values
            yield chunk

    # -- the sending thread -----------------------------------------------------------------------------------------

    def _send(self, on_progress: Callable[[LoadReport], None]) -> LoadReport:
        plan = self.plan
        chunk = self._next_chunk()  # the simulator's start-up is over before the clock starts
        start, start_ms = time.perf_counter(), time.time() * 1_000.0
        sent = labels = 0
        behind = 0.0
        progress_at = start
        while chunk is not None and not self._stop.is_set():
            now = time.perf_counter()
            due = int((now - start) * plan.rate) + 1
            if plan.count is not None:
                due = min(due, plan.count)
            behind = max(0.0, now - start - sent / plan.rate) if sent < due else 0.0
            while sent < due and chunk is not None:
                if chunk.at == 0 and chunk.label_values:
                    labels += self._send_labels(chunk)
                taken = min(due - sent, len(chunk.values) - chunk.at)
                timestamps = (start_ms + np.arange(sent, sent + taken) * (1_000.0 / plan.rate)).astype(np.int64)
                end = chunk.at + taken
                self._produce(chunk.keys[chunk.at : end], chunk.values[chunk.at : end], timestamps.tolist())
                chunk.at = end
                sent += taken
                if chunk.at == len(chunk.values):
                    chunk = self._next_chunk()
            self._producer.poll(0)
            if now >= progress_at:
                on_progress(LoadReport(sent, labels, self._failed, now - start, behind))
                progress_at = now + PROGRESS_SECONDS
            if sent == plan.count:
                break
            time.sleep(TICK_SECONDS)
        elapsed = time.perf_counter() - start
        left = self._producer.flush(FLUSH_SECONDS)
        self._failed += left
        report = LoadReport(sent, labels, self._failed, elapsed, behind)
        on_progress(report)
        return report

    def _next_chunk(self) -> _Chunk | None:
        while not self._stop.is_set():
            try:
                chunk = self._ready.get(timeout=0.2)
            except queue.Empty:
                continue
            if isinstance(chunk, BaseException):
                raise chunk
            if chunk is None or chunk.values:
                return chunk
        return None

    def _produce(self, keys: list[bytes], values: list[bytes | None], timestamps: list[int]) -> None:
        # produce_batch() would be half the price and takes no timestamps
        produce, topic = self._producer.produce, self._transactions
        for key, value, timestamp in zip(keys, values, timestamps, strict=True):
            while True:
                try:
                    produce(topic, value, key, on_delivery=self._on_delivery, timestamp=timestamp)
                    break
                except BufferError:
                    self._producer.poll(0.01)

    def _send_labels(self, chunk: _Chunk) -> int:
        for key, value in zip(chunk.label_keys, chunk.label_values, strict=True):
            while True:
                try:
                    self._producer.produce(self._labels, value, key, on_delivery=self._on_delivery)
                    break
                except BufferError:
                    self._producer.poll(0.01)
        return len(chunk.label_values)

    def _on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed += 1
            self._first_error = self._first_error or error
