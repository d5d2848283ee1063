"""What Flink promises to a job, as steps that a schedule takes one by one.

Checkpoints by barriers that are aligned (or, as a whole with what is in flight, unaligned); after the death of any
process the whole job starts again from its last complete checkpoint, and whatever was not in it is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.unit.simulation.virtual_operators import (
    Channel,
    Clock,
    Disk,
    LedgerSink,
    Operator,
    PromptSink,
    Source,
    Task,
)

RESTORE_BACKOFF_MS = 500


@dataclass(slots=True)
class Checkpoint:
    """Snapshots by operator; an unaligned one also holds what was in flight."""

    number: int
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)
    in_flight: list[list[tuple[int, Any]]] | None = None


class Job:
    """Operators and their checkpoints. `build` returns the operators of a parallelism, on a disk."""

    def __init__(
        self, clock: Clock, disk: Disk, build: Callable[[int, Disk], list[Operator]], parallelism: int
    ) -> None:
        self.clock, self.disk = clock, disk
        self._build = build
        self._number = 0
        self.completed: Checkpoint | None = None
        self._pending: Checkpoint | None = None
        self._commits: list[tuple[LedgerSink, dict[str, Any]]] = []
        self.deaths = 0
        self._start(parallelism)

    def _start(self, parallelism: int) -> None:
        self.parallelism = parallelism
        self.operators = self._build(parallelism, self.disk)
        self.sources = [o for o in self.operators if isinstance(o, Source)]
        self.tasks = [o for o in self.operators if isinstance(o, Task)]
        self.sinks = [o for o in self.operators if isinstance(o, LedgerSink)]
        self.prompt = [o for o in self.operators if isinstance(o, PromptSink)]
        self._channels = [channel for operator in self.operators for channel in operator.outputs]

    # -- steps ------------------------------------------------------------------------------------------------------

    def runnable(self) -> list[Channel]:
        """Channels whose next row or barrier can be taken."""
        now = self.clock.now_ms
        return [c for c in self._channels if c.queue and not c.is_blocked and _is_awake(c.target, now)]

    @property
    def rows_in_flight(self) -> int:
        return sum(len(channel.queue) for channel in self._channels)

    def step(self, channel: Channel) -> None:
        """Let the channel's target take what comes next."""
        element = channel.queue.popleft()
        if isinstance(element, int):
            self._barrier(channel, element)
        else:
            channel.target.take(*element)

    def fire(self) -> None:
        """Fire the timers that are due."""
        for task in self.tasks:
            while _is_awake(task, self.clock.now_ms) and task.fire():
                pass

    def trigger(self) -> None:
        """Begin a checkpoint at the sources, unless one is under way."""
        if self._pending is not None:
            return
        self._number += 1
        self._pending = Checkpoint(self._number)
        for source in self.sources:
            self._note(source)

    def trigger_unaligned(self) -> None:
        """Take a checkpoint of everything at once, with what is in flight."""
        if self._pending is not None:
            return
        self._number += 1
        self._pending = Checkpoint(self._number)
        self._pending.in_flight = [[e for e in c.queue if not isinstance(e, int)] for c in self._channels]
        for operator in self.operators:
            self._pending.snapshots[operator.name] = operator.snapshot()
        self._complete()

    def expire(self) -> None:
        """Give the checkpoint under way up: it took too long."""
        self._pending = None
        for channel in self._channels:
            channel.is_blocked = False

    def commit_next(self) -> bool:
        """Tell one sink that its checkpoint is complete."""
        if not self._commits:
            return False
        sink, snapshot = self._commits.pop(0)
        sink.commit(snapshot)
        return True

    def die(self) -> None:
        """Lose every process; go on from the last complete checkpoint."""
        self.deaths += 1
        self._restart(self.parallelism)

    def stop_and_restart(self, parallelism: int) -> None:
        """Stop with a savepoint and start from it, with another parallelism. Nothing may be in flight any more."""
        assert not self.rows_in_flight
        while self.commit_next():
            pass
        self._restart(parallelism)

    def _restart(self, parallelism: int) -> None:
        self.disk.dies_after = None
        self._pending, self._commits = None, []
        begun = {sink.name: sink.begun for sink in self.sinks}
        if parallelism != self.parallelism:
            self._start(parallelism)
        for sink in self.sinks:
            sink.begun = begun[sink.name]
        found = self.completed.snapshots if self.completed else {}
        for channel in self._channels:
            channel.queue.clear()
            channel.is_blocked = False
        for operator in self.operators:
            kind = operator.name.split("-")[0]
            operator.restore([s for name, s in found.items() if name.split("-")[0] == kind])
        if self.completed and self.completed.in_flight is not None:
            for channel, rows in zip(self._channels, self.completed.in_flight, strict=True):
                channel.queue.extend(rows)
        self.clock.now_ms += RESTORE_BACKOFF_MS

    # -- inside -----------------------------------------------------------------------------------------------------

    def _barrier(self, channel: Channel, number: int) -> None:
        if self._pending is None or number != self._pending.number:
            return
        channel.is_blocked = True
        target = channel.target
        if all(c.is_blocked for c in target.inputs):
            for c in target.inputs:
                c.is_blocked = False
            self._note(target)

    def _note(self, operator: Operator) -> None:
        assert self._pending is not None
        self._pending.snapshots[operator.name] = operator.snapshot()
        for output in operator.outputs:
            output.queue.append(self._pending.number)
        if len(self._pending.snapshots) == len(self.operators):
            self._complete()

    def _complete(self) -> None:
        self.completed, self._pending = self._pending, None
        assert self.completed is not None
        self._commits = [(sink, self.completed.snapshots[sink.name]) for sink in self.sinks]


def _is_awake(operator: Any, now_ms: int) -> bool:
    return getattr(operator, "stalled_until_ms", 0) <= now_ms
