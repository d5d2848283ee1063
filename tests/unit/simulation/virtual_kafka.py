"""Topics with partitions and transactions, kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

OPEN, COMMITTED, ABORTED = "open", "committed", "aborted"


@dataclass(slots=True)
class Transaction:
    """Of a producer."""

    state: str = OPEN


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a partition."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: tuple[str, ...] = ()
    transaction: Transaction | None = None


@dataclass(slots=True)
class Topic:
    """A log per partition, each only ever appended to."""

    name: str
    partitions: list[list[Record]]

    @classmethod
    def empty(cls, name: str, partitions: int) -> Topic:
        """Return a topic without records."""
        return cls(name, [[] for _ in range(partitions)])

    def append(self, partition: int, record: Record) -> None:
        """Append a record."""
        self.partitions[partition].append(record)

    def end(self, partition: int, committed_only: bool) -> int:
        """Offset up to which a reader may read: for a committed one the last stable offset."""
        log = self.partitions[partition]
        if committed_only:
            for offset, record in enumerate(log):
                if record.transaction is not None and record.transaction.state == OPEN:
                    return offset
        return len(log)

    def read(self, partition: int, start: int, end: int) -> Iterator[tuple[int, Record]]:
        """Yield offsets and records that were not aborted."""
        for offset in range(start, end):
            record = self.partitions[partition][offset]
            if record.transaction is None or record.transaction.state != ABORTED:
                yield offset, record

    def committed(self) -> Iterator[tuple[int, int, Record]]:
        """Yield what a read_committed reader finds at the end: partition, offset, record."""
        for partition in range(len(self.partitions)):
            for offset, record in self.read(partition, 0, self.end(partition, True)):
                yield partition, offset, record


@dataclass(slots=True)
class Kafka:
    """All topics."""

    topics: dict[str, Topic] = field(default_factory=dict)

    def make(self, name: str, partitions: int) -> Topic:
        """Make a topic."""
        self.topics[name] = Topic.empty(name, partitions)
        return self.topics[name]
