"""Operators of a virtual Flink: sources that gather micro-batches, tasks that host the job's functions, and sinks.

They are joined by channels of rows, each first in, first out. Keyed state, timers and broadcast state are what Flink
gives a function, kept in memory; time is a clock that moves when it is told to.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from pyflink.common import Row

from tests.unit.simulation.virtual_kafka import ABORTED, COMMITTED, OPEN, Record, Topic, Transaction


class ProcessDiedError(Exception):
    """The process is gone in the midst of what it did."""


@dataclass(slots=True)
class Clock:
    """Stands in for the module `time`; moves only when it is told to."""

    now_ms: int

    def time_ns(self) -> int:
        return self.now_ms * 1_000_000

    def monotonic(self) -> float:
        return self.now_ms / 1000

    def time(self) -> float:
        return self.now_ms / 1000


@dataclass(slots=True)
class Disk:
    """Where state lies. `dies_after` accesses the process that makes the next one dies with it; None never.

    `on_restore` may spoil what a restart finds: (operator, key, name of the state, its blobs) -> blobs.
    """

    dies_after: int | None = None
    on_restore: Callable[[str, int, str, dict[int, bytes]], dict[int, bytes]] | None = None

    def access(self) -> None:
        if self.dies_after is None:
            return
        self.dies_after -= 1
        if self.dies_after < 0:
            self.dies_after = None
            raise ProcessDiedError("in the midst of writing state")


@dataclass(slots=True)
class Channel:
    """Rows and barriers on their way to a task; a barrier is its checkpoint's number."""

    target: Any
    queue: deque[tuple[int, Any] | int] = field(default_factory=deque)
    is_blocked: bool = False


class Operator:
    """One parallel instance; what it holds of the past is in `snapshot`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[Channel] = []
        self.outputs: list[Channel] = []

    def connect(self, target: Operator) -> Channel:
        channel = Channel(target)
        self.outputs.append(channel)
        target.inputs.append(channel)
        return channel

    def take(self, key: int, row: Any) -> None:
        raise NotImplementedError

    def snapshot(self) -> dict[str, Any]:
        raise NotImplementedError

    def restore(self, found: list[dict[str, Any]]) -> None:
        """Take what is this instance's from the snapshots of all instances of the operator."""
        raise NotImplementedError


class Source(Operator):
    """Reads some partitions and gathers micro-batches of one topic for one shard, as the job's SQL does."""

    def __init__(
        self, name: str, shard: int, key: int, topics: dict[str, tuple[Topic, list[int]]], committed_only: bool
    ) -> None:
        super().__init__(name)
        self._shard, self._key = shard, key
        self._topics = topics
        self._committed_only = committed_only
        self.at = {(topic, p): 0 for topic, (_, partitions) in topics.items() for p in partitions}

    def waiting(self) -> list[str]:
        """Topics that have something to read."""
        return sorted({t for t, p in self.at if self.at[t, p] < self._topics[t][0].end(p, self._committed_only)})

    def read(self, topic: str, rng: random.Random, largest: int) -> None:
        """Emit a micro-batch: some records of each partition, mingled."""
        log, partitions = self._topics[topic]
        queues = {}
        for p in partitions:
            start, end = self.at[topic, p], log.end(p, self._committed_only)
            end = min(end, start + rng.randint(0 if len(partitions) > 1 else 1, largest))
            self.at[topic, p] = end
            queues[p] = deque(log.read(p, start, end))
        rows = []
        while any(queues.values()):
            p = rng.choice([p for p in partitions if queues[p]])
            rows.append((p, *queues[p].popleft()))
        if not rows:
            return
        row = Row(
            self._shard, topic, [r.value for _, _, r in rows], [r.key for _, _, r in rows],
            [p for p, _, _ in rows], [offset for _, offset, _ in rows], [r.timestamp_ms for _, _, r in rows],
        )  # fmt: skip
        self.outputs[0].queue.append((self._key, row))

    def snapshot(self) -> dict[str, Any]:
        return {"at": dict(self.at)}

    def restore(self, found: list[dict[str, Any]]) -> None:
        self.at = dict.fromkeys(self.at, 0)
        for one in found:
            self.at |= {place: offset for place, offset in one["at"].items() if place in self.at}


class _Map:
    """A MapState: the entry of whatever key its task is at."""

    def __init__(self, task: Task, name: str) -> None:
        self._task, self._name = task, name

    def _entries(self) -> dict[int, bytes]:
        self._task.disk.access()
        return self._task.state.setdefault(self._task.key, {}).setdefault(self._name, {})

    def get(self, key: int) -> bytes | None:
        return self._entries().get(key)

    def put(self, key: int, value: bytes) -> None:
        assert type(value) is bytes, f"{self._name}[{key}] is given a {type(value).__name__}"
        assert -(2**63) <= key < 2**63
        self._entries()[key] = value

    def remove(self, key: int) -> None:
        self._entries().pop(key, None)

    def keys(self) -> Iterator[int]:
        return iter(list(self._entries()))


class _Counter:
    def inc(self, n: int = 1) -> None:
        """Metrics are not looked at."""


class Task(Operator):
    """Hosts a keyed Python function of the job, the real one.

    `state` is what it wrote, by key and name; `taken` is not the function's: every row since the beginning of the
    stream, by key, as the surviving history has it.
    """

    def __init__(
        self, name: str, index: int, make: Callable[[], Any], owns: Callable[[int], bool], clock: Clock, disk: Disk,
        emit: Callable[[Task, Any], None],
    ) -> None:  # fmt: skip
        super().__init__(name)
        self.index, self.clock, self.disk = index, clock, disk
        self._make, self._owns, self._emit = make, owns, emit
        self.key = -1
        self.stalled_until_ms = 0
        self.reset()

    def reset(self) -> None:
        self.state: dict[int, dict[str, dict[int, bytes]]] = {}
        self.broadcast: dict[str, bytes] = {}
        self.timers: set[tuple[int, int]] = set()
        self.taken: dict[int, list[Any]] = {}
        self._function: Any = None

    # As the function's runtime context and as its context of an element.
    def get_map_state(self, descriptor: Any) -> _Map:
        return _Map(self, descriptor.name)

    def get_metrics_group(self) -> Any:
        return SimpleNamespace(counter=lambda name: _Counter())

    @property
    def _runtime_context(self) -> Any:
        info = SimpleNamespace(getIndexOfThisSubtask=lambda: self.index)
        return SimpleNamespace(getTaskInfo=lambda: info)

    def get_current_key(self) -> Any:
        return Row(self.key)

    def timer_service(self) -> Any:
        return SimpleNamespace(register_processing_time_timer=lambda due: self.timers.add((due, self.key)))

    def get_broadcast_state(self, descriptor: Any) -> dict[str, bytes]:
        return self.broadcast

    @property
    def function(self) -> Any:
        if self._function is None:
            self._function = self._make()
            self._function.open(self)
        return self._function

    def take(self, key: int, row: Any) -> None:
        assert self._owns(key), f"{self.name} got a row of key {key}, which is not its own"
        self.key = key
        for output in self.function.process_element(row, self) or ():
            self._emit(self, output)
        self.taken.setdefault(key, []).append(row)

    def fire(self) -> bool:
        """Fire one timer that is due."""
        due = min((timer for timer in self.timers if timer[0] <= self.clock.now_ms), default=None)
        if due is None:
            return False
        self.timers.discard(due)
        self.key = due[1]
        for output in self.function.on_timer(due[0], self) or ():
            self._emit(self, output)
        return True

    def snapshot(self) -> dict[str, Any]:
        state = {key: {name: dict(blobs) for name, blobs in names.items()} for key, names in self.state.items()}
        return {
            "state": state, "broadcast": dict(self.broadcast), "timers": set(self.timers),
            "taken": {key: list(rows) for key, rows in self.taken.items()},
        }  # fmt: skip

    def restore(self, found: list[dict[str, Any]]) -> None:
        self.reset()
        for one in found:
            for key, names in one["state"].items():
                if self._owns(key):
                    self.state[key] = {name: self._found(key, name, dict(blobs)) for name, blobs in names.items()}
            self.timers |= {timer for timer in one["timers"] if self._owns(timer[1])}
            self.taken |= {key: list(rows) for key, rows in one["taken"].items() if self._owns(key)}
            self.broadcast |= one["broadcast"]

    def _found(self, key: int, name: str, blobs: dict[int, bytes]) -> dict[int, bytes]:
        spoil = self.disk.on_restore
        return blobs if spoil is None else spoil(self.name.split("-")[0], key, name, blobs)


class LedgerSink(Operator):
    """An exactly-once sink: a transaction from checkpoint to checkpoint, committed once the checkpoint is complete."""

    def __init__(self, name: str, topic: Topic, clock: Clock) -> None:
        super().__init__(name)
        self._topic, self._clock = topic, clock
        self._transaction = Transaction()
        self._prepared: list[Transaction] = []
        self.begun = [self._transaction]

    def take(self, key: int, row: tuple[bytes | None, bytes | None, tuple[str, ...]]) -> None:
        record_key, value, headers = row
        partition = sum(record_key or b"") % len(self._topic.partitions)
        self._topic.append(partition, Record(record_key, value, self._clock.now_ms, headers, self._transaction))

    def snapshot(self) -> dict[str, Any]:
        self._prepared.append(self._transaction)
        self._transaction = Transaction()
        self.begun.append(self._transaction)
        return {"prepared": list(self._prepared)}

    def commit(self, snapshot: dict[str, Any]) -> None:
        """A checkpoint is complete: commit what it holds."""
        for transaction in snapshot["prepared"]:
            assert transaction.state != ABORTED, f"{self.name}: a transaction of a complete checkpoint was aborted"
            transaction.state = COMMITTED
        self._prepared = [t for t in self._prepared if t.state == OPEN]

    def restore(self, found: list[dict[str, Any]]) -> None:
        for one in found:
            self.commit(one)
        for transaction in self.begun:
            if transaction.state == OPEN:
                transaction.state = ABORTED
        self._transaction, self._prepared = Transaction(), []
        self.begun = [self._transaction]


class PromptSink(Operator):
    """An at-least-once sink: what it took is there at the next checkpoint at the latest, unless the process dies."""

    def __init__(self, name: str, topic: Topic, clock: Clock) -> None:
        super().__init__(name)
        self._topic, self._clock = topic, clock
        self._buffer: list[Record] = []

    def take(self, key: int, row: tuple[bytes | None, bytes | None, tuple[str, ...]]) -> None:
        self._buffer.append(Record(row[0], row[1], self._clock.now_ms, row[2]))

    def flush(self) -> None:
        for record in self._buffer:
            self._topic.append(0, record)
        self._buffer = []

    def snapshot(self) -> dict[str, Any]:
        self.flush()
        return {}

    def restore(self, found: list[dict[str, Any]]) -> None:
        self._buffer = []


def taken_by_key(tasks: Iterable[Task]) -> dict[int, list[Any]]:
    """Return every row of the surviving history that the tasks of one operator took."""
    return {key: rows for task in tasks for key, rows in task.taken.items()}
