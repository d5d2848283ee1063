"""Read several partitions in step, between given offsets, without a consumer group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from jobs.stream.replay.spec import Span
from jobs.stream.topic_reader import ReadError
from schemas.columns import RawRecords

_GROUP = "weir-replay-reader"
QUIET_SECONDS = 60.0
"""Without any record for so long the broker counts as gone."""
HIGH, LOW = 40_000, 10_000
"""A partition that is so many records ahead of the others is paused, until it is down to the lower number."""


@dataclass(slots=True)
class _Buffer:
    span: Span
    next: int  # offset after the newest record that came
    values: list[bytes | None] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    is_paused: bool = False
    is_ended: bool = False


class LogReader:
    """Buffers the records of some spans.

    Parameters
    ----------
    properties
        Of librdkafka: address and security.
    spans
        What to read.
    starts
        Offset to begin with in each; those of the spans' `warm` by default.
    committed_only
        Whether to leave out records of aborted transactions.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        spans: Sequence[Span],
        starts: Sequence[int] | None = None,
        committed_only: bool = False,
    ) -> None:
        begins = [span.warm for span in spans] if starts is None else list(starts)
        self._buffers = [_Buffer(span, begin) for span, begin in zip(spans, begins, strict=True)]
        self._by_place = {(b.span.topic, b.span.partition): b for b in self._buffers}
        self._fresh: list[int] = [0] * len(self._buffers)  # records that `new_times` has not told of
        self._consumer = Consumer(
            {
                "group.id": _GROUP,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                # As the scoring job reads them: where it takes in raw labels, it scores what was aborted, too.
                "isolation.level": "read_committed" if committed_only else "read_uncommitted",
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 50,
                "queued.max.messages.kbytes": 65_536,
                "log_level": 2,
                **properties,
            }
        )
        for buffer in self._buffers:
            buffer.is_ended = buffer.next >= buffer.span.stop
        self._consumer.assign(
            [TopicPartition(b.span.topic, b.span.partition, b.next) for b in self._buffers if not b.is_ended]
        )

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def is_ended(self, number: int) -> bool:
        """Whether all records of a span are in."""
        return self._buffers[number].is_ended

    def buffered(self, number: int) -> int:
        """Return how many records of a span are in and not taken."""
        return len(self._buffers[number].values)

    def offset_before(self, number: int, end: int) -> int:
        """Return how many of a span's buffered records lie before an offset."""
        return int(np.searchsorted(self._buffers[number].offsets, end))

    def has_reached(self, number: int, end: int) -> bool:
        """Whether all records of a span before an offset are in."""
        return self._buffers[number].is_ended or self._buffers[number].next >= end

    def new_times(self, number: int) -> list[int]:
        """Return the timestamps of a span's records that came since the last call."""
        buffer = self._buffers[number]
        found = buffer.times[self._fresh[number] :]
        self._fresh[number] = len(buffer.times)
        return found

    def fill(self, wanted: Sequence[int]) -> None:
        """Wait until every wanted span has a further record, or has ended.

        Raises
        ------
        ReadError
            If nothing comes for a minute, or a record is not there any more.
        """
        before = {number: self._buffers[number].next for number in wanted}
        for number in wanted:
            self._set_paused(self._buffers[number], False)
        quiet_since = time.monotonic()
        while any(not self._buffers[n].is_ended and self._buffers[n].next == at for n, at in before.items()):
            messages = self._consumer.consume(5_000, 0.2)
            for message in messages:
                self._take_in(message)
            for buffer in self._buffers:
                if len(buffer.values) > HIGH:
                    self._set_paused(buffer, True)
            if messages:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > QUIET_SECONDS:
                raise ReadError(f"nothing came from Kafka for {QUIET_SECONDS:.0f} s: is the broker still up?")

    def take(self, number: int, count: int) -> RawRecords:
        """Return the next records of a span."""
        buffer = self._buffers[number]
        records = RawRecords(
            topic=buffer.span.topic,
            values=buffer.values[:count],
            keys=buffer.keys[:count],
            partition=np.full(count, buffer.span.partition, np.int32),
            offset=np.array(buffer.offsets[:count], np.int64),
            timestamp_ms=np.array(buffer.times[:count], np.int64),
        )
        for column in (buffer.values, buffer.keys, buffer.offsets, buffer.times):
            del column[:count]
        self._fresh[number] -= count
        if len(buffer.values) < LOW:
            self._set_paused(buffer, False)
        return records

    def chunks(self) -> Iterator[RawRecords]:
        """Yield everything, each span in its order."""
        while not all(buffer.is_ended for buffer in self._buffers):
            self.fill([i for i, buffer in enumerate(self._buffers) if not buffer.is_ended][:1])
            for number, buffer in enumerate(self._buffers):
                if buffer.values:
                    yield self.take(number, len(buffer.values))

    def _take_in(self, message: Message) -> None:
        buffer = self._by_place.get((message.topic(), message.partition()))
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                if buffer is not None and message.offset() >= buffer.span.stop:
                    buffer.is_ended = True
            elif error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
                raise ReadError(f"{message.topic()}: records of the range have expired while it was replayed")
            elif error.fatal() or not (error.retriable() or error.code() in _TRANSIENT):
                raise ReadError(f"reading {message.topic()}: {error.str()}")
            return
        if buffer is None or buffer.is_ended or message.offset() < buffer.next:
            return
        if message.offset() >= buffer.span.stop:
            buffer.is_ended = True
            self._set_paused(buffer, True)
            return
        buffer.values.append(message.value())
        buffer.keys.append(message.key())
        buffer.offsets.append(message.offset())
        buffer.times.append(message.timestamp()[1])
        buffer.next = message.offset() + 1
        if buffer.next >= buffer.span.stop:
            buffer.is_ended = True

    def _set_paused(self, buffer: _Buffer, is_paused: bool) -> None:
        if buffer.is_paused == is_paused:
            return
        buffer.is_paused = is_paused
        place = TopicPartition(buffer.span.topic, buffer.span.partition)
        (self._consumer.pause if is_paused else self._consumer.resume)([place])


_TRANSIENT = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT)
