"""Read topics from a chosen place, to their end or for ever, without a consumer group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

METADATA_SECONDS = 5.0  # a broker that is up answers within milliseconds; a wrong address must not cost much longer
_NO_LEADER_YET = frozenset(
    {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART}
)
_GROUP = "weir-reader"  # librdkafka wants a name even of those who never join or commit


class ReadError(Exception):
    """A topic could not be read; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin in each partition: at the beginning, the end, a time, or some records before the end.

    Attributes
    ----------
    since_ms
        First record whose Kafka timestamp is at least this; None for another way.
    last
        So many offsets before the end of each partition; None for the beginning.
    """

    since_ms: int | None = None
    last: int | None = None


BEGINNING = Start()
END = Start(last=0)


class TopicReader:
    """Reads one or more topics in batches.

    Parameters
    ----------
    properties
        Of librdkafka: address and security.
    topics
        Full names.
    start
        Where to begin.
    committed_only
        Whether to leave out records of open and aborted transactions. What is committed shows up after the writer's
        next checkpoint only.

    Raises
    ------
    ReadError
        If the broker does not answer, or a topic does not exist.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        topics: Sequence[str],
        start: Start = BEGINNING,
        committed_only: bool = True,
    ) -> None:
        self._consumer = Consumer(
            {
                "group.id": _GROUP,
                "enable.auto.commit": False,
                "enable.partition.eof": True,  # the end of a read_committed partition cannot be told from offsets alone
                "isolation.level": "read_committed" if committed_only else "read_uncommitted",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "fetch.error.backoff.ms": 50,
                "queued.max.messages.kbytes": 65_536,
                "log_level": 2,  # that a broker is away reaches the user as an exception, once
                **properties,
            }
        )
        try:
            self._places = _places(self._consumer, topics)
            self._assign(start)
        except BaseException:
            self._consumer.close()
            raise
        self._at_end: set[tuple[str, int]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    @property
    def is_at_end(self) -> bool:
        """Whether every partition has been read to where it ended when it was last asked."""
        return len(self._at_end) == len(self._places)

    @property
    def total(self) -> int:
        """Offsets between the start and the end as it was when the reader was made: an upper bound of the records."""
        return sum(end - begin for begin, end in self._spans.values())

    def read(self, limit: int = 1_000, timeout_seconds: float = 0.5) -> list[Message]:
        """Return what is there, at most `limit` records; wait for the first one for at most `timeout_seconds`.

        The end of a partition also ends the wait.
        """
        # consume() alone would wait for `limit` records or the whole timeout; poll() returns with the first one
        first = self._consumer.poll(timeout_seconds)
        if first is None:
            return []
        found = [first, *self._consumer.consume(limit - 1, 0)] if limit > 1 else [first]
        return [message for message in found if self._is_record(message)]

    def until_end(self, limit: int = 5_000, timeout_seconds: float = 30.0) -> Iterator[list[Message]]:
        """Yield batches until the end as it was when the reader was made.

        Raises
        ------
        ReadError
            If nothing at all comes for `timeout_seconds`.
        """
        open_ends = {place: end for place, (begin, end) in self._spans.items() if end > begin}
        quiet_since = time.monotonic()
        while open_ends:
            batch = self.read(limit)
            for message in batch:
                place = (message.topic(), message.partition())
                if message.offset() + 1 >= open_ends.get(place, 1 << 62):
                    del open_ends[place]
            for place in self._at_end & open_ends.keys():
                del open_ends[place]
            if batch:
                quiet_since = time.monotonic()
                yield batch
            elif time.monotonic() - quiet_since > timeout_seconds:
                raise ReadError(f"nothing came from Kafka for {timeout_seconds:.0f} s: is the broker still up?")

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        place = (message.topic(), message.partition())
        if error is None:
            self._at_end.discard(place)
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            self._at_end.add(place)
        elif error.fatal() or not error.retriable():
            if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
                return False  # the client keeps trying, and a reader that follows waits with it
            raise ReadError(f"reading {place[0]}: {error.str()}")
        return False

    def _watermarks(self, place: TopicPartition) -> tuple[int, int]:
        """Ask for the ends of a partition; one that was just made has no leader for some milliseconds."""
        deadline = time.monotonic() + METADATA_SECONDS
        while True:
            try:
                low, high = self._consumer.get_watermark_offsets(place, timeout=METADATA_SECONDS)
                return int(low), int(high)
            except KafkaException as error:
                if error.args[0].code() not in _NO_LEADER_YET or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _assign(self, start: Start) -> None:
        spans = {}
        for place in self._places:
            low, high = self._watermarks(place)
            begin = low if start.last is None else max(low, high - start.last)
            spans[place.topic, place.partition] = (begin, high)
        if start.since_ms is not None:
            asked = [TopicPartition(p.topic, p.partition, start.since_ms) for p in self._places]
            for found in self._consumer.offsets_for_times(asked, timeout=METADATA_SECONDS):
                high = spans[found.topic, found.partition][1]
                spans[found.topic, found.partition] = (found.offset if found.offset >= 0 else high, high)
        self._spans = spans
        self._consumer.assign([TopicPartition(*place, begin) for place, (begin, _) in spans.items()])


def _places(consumer: Consumer, topics: Sequence[str]) -> list[TopicPartition]:
    try:
        known = consumer.list_topics(timeout=METADATA_SECONDS).topics
    except KafkaException as error:
        raise ReadError(
            f"Kafka does not answer ({error.args[0].str()}): is it up ('weir status'), and is the address right?"
        ) from error
    missing = [topic for topic in topics if topic not in known]
    if missing:
        raise ReadError(
            f"topic {missing[0]} does not exist: 'weir up' makes it, or an administrator; see --topic-prefix"
        )
    return [TopicPartition(topic, number) for topic in topics for number in sorted(known[topic].partitions)]
