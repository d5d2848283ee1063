"""One run: the input goes in, faults happen on schedule, and after each the run waits until all is well again.

Invariant: see `tests.chaos.checker`; and within stated bounds after each fault the job decides again, the last stable
offset of `decisions` has passed what was in the log when the fault was over, the money in the ledger is the money sent,
and the job has stopped restarting.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from deploy.local.errors import StackError
from deploy.local.keeper import Keeper
from jobs.stream.topic_reader import ReadError
from schemas.records import decode_record
from tests.chaos.checker import money_by_account
from tests.chaos.faults.matrix import FAULTS
from tests.chaos.faults.world import Moment, World
from tests.chaos.load import Load
from tests.chaos.reader import ReaderProcess
from tests.chaos.result import Outcome, Result
from tests.chaos.schedule import Planned
from tests.chaos.stream import merged
from tests.recorded import Recorded
from tests.scoring_job import ScoringJob

BURST_PER_SECOND = 1_500.0  # before a fault: it hits a job that is at work
TRICKLE_PER_SECOND = 40.0  # during it, and until all is well: there is always something to recover for
RECOVERY_SECONDS = 180.0  # after which a run is given up as hung; the bars are lower
STABLE_SECONDS = 60.0
STEADY_SECONDS = 120.0
POLL_SECONDS = 0.1
MAX_HANGS = 3
MAX_REVIVALS = 50
"""Of one TaskManager, over the whole run."""


class HangError(Exception):
    """Something that has to happen after a fault did not."""


class Story:
    """A run over a stack that is up.

    Parameters
    ----------
    job
        Submitted, over the proxy if there is one.
    world
        What the faults act on.
    partitions
        The input.
    folder
        For what the reader writes.
    tell
        Called with the number of rows sent, and what comes next.
    """

    def __init__(
        self,
        job: ScoringJob,
        world: World,
        partitions: Sequence[Recorded],
        folder: Path,
        tell: Callable[[int, str], None] = lambda rows, text: None,
    ) -> None:
        self._job, self._world, self._partitions, self._tell = job, world, partitions, tell
        self._servers = job.stack.bootstrap_servers
        self._rows = merged(partitions)
        topics = job.settings.topics
        self._load = Load(self._servers, topics.transactions, partitions, self._rows)
        self.reader = ReaderProcess(self._servers, topics.decisions, folder / "decisions.pickle")
        self._admin = self._new_admin()
        self._ledger = [
            TopicPartition(topics.decisions, number)
            for number in self._admin.list_topics(topics.decisions, timeout=30).topics[topics.decisions].partitions
        ]
        self._keeper = Keeper(job.stack, max_starts=MAX_REVIVALS, within_seconds=math.inf)
        self._revived: list[str] = []
        self._begun = time.monotonic()
        world.ends, world.job_id = self._load.ends, job.id
        self._goods = [
            [decode_record(value or b"", name="transaction") if kind == "good" else None
             for value, kind in zip(recorded.values, recorded.kinds, strict=True)]
            for recorded in partitions
        ]  # fmt: skip

    @property
    def rows(self) -> int:
        """Of the input."""
        return len(self._rows)

    def run(self, schedule: Sequence[Planned]) -> Result:
        """Play the whole schedule, then let the rest of the input in; the check comes after that."""
        result = Result()
        try:
            for i, planned in enumerate(schedule):
                self._tell(self._load.sent, f"{planned.kind} at {planned.row:,}")
                self._load.go(planned.row, BURST_PER_SECOND)
                self._load.wait(RECOVERY_SECONDS)
                following = schedule[i + 1].row if i + 1 < len(schedule) else self.rows
                share = (following - planned.row) // 3
                self._load.go(planned.row + share, TRICKLE_PER_SECOND)
                try:
                    result.outcomes.append(self._strike(planned, share))
                except HangError as error:
                    # What comes after it may still tell something, unless nothing works any more.
                    result.hangs.append(str(error))
                    self._tell(self._load.sent, f"HANG {error}")
                    if len(result.hangs) >= MAX_HANGS:
                        return result
            self._tell(self._load.sent, "the rest of the input")
            self._load.go(self.rows, BURST_PER_SECOND)
            self._load.wait(self.rows / BURST_PER_SECOND + RECOVERY_SECONDS)
            self._load.finish()
        except (AssertionError, TimeoutError, RuntimeError, StackError, ReadError, KafkaException) as error:
            result.hangs.append(f"{type(error).__name__}: {error}")
        finally:
            result.seconds = round(time.monotonic() - self._begun, 1)
        return result

    def stop(self) -> None:
        """End the reader."""
        self.reader.stop()

    # -- one fault --------------------------------------------------------------------------------------------------

    def _strike(self, planned: Planned, share: int) -> Outcome:
        world, fault = self._world, FAULTS[planned.kind]
        restarts = self._restarts()
        world.struck = None
        begun = world.now()
        outcome = Outcome(planned.kind, planned.row, planned.seed, round(begun.time - self._begun, 1))
        fault.inject(world, random.Random(planned.seed))
        over = world.now()
        self._load.go(self._load.sent + share, TRICKLE_PER_SECOND)
        struck = world.struck or begun
        outcome.lasted_seconds = round(over.time - struck.time, 1)
        ends_of_log = self._ends_soon(planned)
        since = struck if fault.is_kill else over
        outcome.recovery_seconds = round(self._recovered(planned, since) - since.time, 1)
        outcome.stable_seconds = self._stable(planned, over, ends_of_log)
        outcome.balanced_seconds = self._balanced(planned, over)
        restarted = self._steady(planned)
        outcome.ended_by_themselves, self._revived = len(self._revived), []
        outcome.restarts = restarted - restarts if restarted >= restarts else restarted  # a new JobManager counts anew
        return outcome

    def _wait(
        self, condition: Callable[[], bool], seconds: float, planned: Planned, text: str | Callable[[], str]
    ) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            # No fault is on: whoever died was not killed. As a supervisor does it; a test of its own has the keeper.
            with contextlib.suppress(StackError):
                self._revived += self._keeper.look()
            if time.monotonic() > deadline:
                where = f"{planned.kind} at row {planned.row:,} (seed {planned.seed})"
                raise HangError(f"{seconds:.0f} s after {where}: {text() if callable(text) else text}")
            time.sleep(POLL_SECONDS)

    def _recovered(self, planned: Planned, since: Moment) -> float:
        """Wait for decisions on what was sent since then; return when the last partition had one."""
        found: dict[int, float | None] = {}
        offsets = {number: self._next_good(number, end) for number, end in since.ends.items()}

        def has_recovered() -> bool:
            found.update(self.reader.first_seen(offsets))
            return all(moment is not None for moment in found.values())

        def text() -> str:
            return (
                f"no decision on a record that was sent since: offsets {offsets}, first seen {found}; "
                f"{self.reader.count()} decisions were read, the ledger ends at {self._ends_or_error()}"
            )

        self._wait(has_recovered, RECOVERY_SECONDS, planned, text)
        return max(moment for moment in found.values() if moment is not None)

    def _next_good(self, number: int, offset: int) -> int:
        """Return the first offset from here on that a decision is due for."""
        goods = self._goods[number]
        return next((i for i in range(offset, len(goods)) if goods[i] is not None), len(goods))

    def _ends(self, isolation: IsolationLevel) -> dict[int, int]:
        """Return the high watermark of each partition of the ledger, or its last stable offset."""
        asked = {place: OffsetSpec.latest() for place in self._ledger}
        try:
            found = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=10)
            return {place.partition: int(future.result(timeout=15).offset) for place, future in found.items()}
        except KafkaException:
            # A client that was there when the broker stood still may get no answer for minutes after; a new one does.
            self._admin = self._new_admin()
            raise

    def _new_admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self._servers, "log_level": 0})

    def _ends_or_error(self) -> dict[str, dict[int, int]] | str:
        try:
            return {
                "high watermark": self._ends(IsolationLevel.READ_UNCOMMITTED),
                "last stable offset": self._ends(IsolationLevel.READ_COMMITTED),
            }
        except KafkaException as error:
            return str(error)

    def _ends_soon(self, planned: Planned) -> dict[int, int]:
        """Return the high watermarks; a broker that has just started may know of no leaders yet."""
        ends: dict[int, int] = {}

        def is_answered() -> bool:
            try:
                ends.update(self._ends(IsolationLevel.READ_UNCOMMITTED))
            except KafkaException:
                return False
            return True

        self._wait(is_answered, RECOVERY_SECONDS, planned, "the broker does not tell the ends of the ledger")
        return ends

    def _stable(self, planned: Planned, over: Moment, ends: Mapping[int, int]) -> float:
        pinned: list[str] = []

        def is_stable() -> bool:
            try:
                stable = self._ends(IsolationLevel.READ_COMMITTED)
            except KafkaException as error:
                pinned[:] = [f"unknown ({error})"]
                return False
            pinned[:] = [f"{n}: {stable[n]} below {end}" for n, end in ends.items() if stable[n] < end]
            return not pinned

        left = STABLE_SECONDS + RECOVERY_SECONDS - (time.monotonic() - over.time)
        self._wait(is_stable, max(1.0, left), planned, lambda: f"a transaction is open in partitions {pinned}")
        return round(time.monotonic() - over.time, 1)

    def _balanced(self, planned: Planned, over: Moment) -> float:
        expected = money_by_account(
            (
                {**good, "source_partition": number, "source_offset": offset}
                for number, end in over.ends.items()
                for offset, good in enumerate(self._goods[number][:end])
                if good is not None
            ),
            over.ends,
        )
        wrong: list[str] = []

        def is_balanced() -> bool:
            found = self.reader.money(over.ends)
            keys = expected.keys() | found.keys()
            wrong[:] = [f"{k}: {found.get(k)} for {expected.get(k)}" for k in keys if found.get(k) != expected.get(k)]
            return not wrong

        def text() -> str:
            ends, read = self._ends_or_error(), self.reader.count()
            return (
                f"the ledger's sums are not those of the input: {len(wrong)} accounts (found, for expected), such as "
                f"{wrong[:3]}; {read} decisions were read, the ledger ends at {ends}"
            )

        self._wait(is_balanced, RECOVERY_SECONDS, planned, text)
        return round(time.monotonic() - over.time, 1)

    def _restarts(self) -> int:
        """Return how often the job was restored, by this JobManager; its metric of restarts is some seconds old."""
        try:
            return int(self._job.stack.rest.checkpoints(self._job.id)["counts"]["restored"])
        except StackError:
            return 0

    def _steady(self, planned: Planned) -> int:
        """Wait until a checkpoint completes with every task running, and no restart in between; return restarts."""
        rest, job = self._job.stack.rest, self._job.id
        at = {"restarts": -1, "done": 0}

        def is_steady() -> bool:
            try:
                is_running = all(v["status"] == "RUNNING" for v in rest.job(job)["vertices"])
                done = int(rest.checkpoints(job)["counts"]["completed"])
            except StackError:
                return False
            restarts = self._restarts()
            if not is_running or restarts != at["restarts"]:
                at.update(restarts=restarts, done=done)
                return False
            return done > at["done"]

        self._wait(is_steady, STEADY_SECONDS, planned, "the job still restarts")
        return at["restarts"]
