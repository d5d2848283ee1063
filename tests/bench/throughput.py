"""Saturation throughput, ours beside the peers': how fast each empties the same preloaded topic into Kafka."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from deploy.local.jars import Jars
from deploy.local.stack import LocalStack
from deploy.local.submit import submit_job
from deploy.local.topics import create_topics
from jobs.settings import DEFAULT_MODEL
from tests.bench.measures import BenchError, CpuMeter, Helper
from tests.bench.openloop import job_arguments
from tests.bench.peer_programs import PEERS, peer_processes, peers_python
from tests.bench.stages import StageMeter

PREFIX = "drain."
PARTITIONS = 4
POLL_SECONDS = 0.1
START_SECONDS = 120.0  # until the first record comes out: a start of Flink's client and of Python on a busy machine
CANCEL_SECONDS = 180.0  # a saturated worker first ends the batch it is in
FIRST_SHARE, LAST_SHARE = 0.5, 0.95
"""The rate is taken between these shares of what came out: without the start, while JVMs still compile what they run
often, and without the last partition."""
WHOLE_PER_SECOND = 1_000  # events of a prefix that is drained whole, for each second of a drain
WHOLE_LIMIT = 5  # times a drain's seconds; then the rate is that of what came out until then


@dataclass(frozen=True, slots=True)
class Drain:
    """How much to preload, and how long each system may work on it.

    Attributes
    ----------
    events
        Records in the topic; a fast system works through all of them.
    seconds
        After the first output; then a slow one has shown its rate.
    accounts
        Of the simulated population.
    parallelism
        Slots of our job; the others have all of the stack's.
    """

    events: int
    seconds: float
    accounts: int
    parallelism: int


def run_drains(
    stack: LocalStack, drain: Drain, peers: Sequence[str], say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Measure ours, and then each peer by its name; yield the result of each."""
    servers = stack.bootstrap_servers
    create_topics({"bootstrap.servers": servers}, PREFIX, {"transactions": PARTITIONS, "decisions": PARTITIONS})
    say(f"preloading {drain.events:,} transactions")
    preload(servers, drain)
    with flink_job(
        stack, "jobs.score_transactions", job_arguments(drain.parallelism), {"WEIR_TOPIC_PREFIX": PREFIX}
    ) as check:
        yield {"system": "weir", "work": "all of it", **measure_drain(stack, f"{PREFIX}decisions", drain, check, {})}
    for name in peers:
        yield run_peer(stack, name, drain, say)


def run_peer(stack: LocalStack, name: str, drain: Drain, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure one peer on the preloaded topic."""
    peer, source, sink, models = PEERS[name], f"{PREFIX}transactions", f"{PREFIX}{name}", str(DEFAULT_MODEL)
    servers, slots = stack.bootstrap_servers, stack.options.taskmanagers
    _create(servers, [sink])
    named = {"system": peer.system, "work": peer.work}
    if peer.in_flink:
        module = f"tests.bench.peers.{peer.script}"
        with flink_job(stack, module, [source, sink, models, str(slots)], {}) as check:
            return named | measure_drain(stack, sink, drain, check, {})
    begins = None
    if peer.first_topic:
        source, events = f"{PREFIX}prefix", min(drain.events, int(WHOLE_PER_SECOND * drain.seconds))
        _create(servers, [source])
        preload(servers, drain, source, events)
        drain = replace(drain, events=events, seconds=WHOLE_LIMIT * drain.seconds)
        begins = peer.first_topic.format(source=source)
    with peer_processes(peers_python(say), peer, slots, [servers, source, sink, models]) as (check, pids):
        return named | measure_drain(stack, sink, drain, check, pids, begins)


def preload(servers: str, drain: Drain, topic: str = f"{PREFIX}transactions", count: int | None = None) -> None:
    """Fill a topic with the transactions that all work through, or with the first `count` of them."""
    task = {"servers": servers, "topic": topic, "events": drain.events, "accounts": drain.accounts}
    sender = Helper("tests.bench.sender", {**task, "seed": 11, "end_ms": time.time_ns() // 1_000_000})
    try:
        if lost := sender.ask({"send": {"rate": 0, "count": count or drain.events}})["lost"]:
            raise BenchError(f"{lost} records of the preloaded topic were not taken by the broker")
    finally:
        sender.stop()


def _create(servers: str, topics: list[str]) -> None:
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 3})  # alive until its futures are done
    for future in admin.create_topics([NewTopic(t, PARTITIONS, 1) for t in topics]).values():
        future.result(30)


NOT_THERE_YET = (
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
)
"""What a broker says of a topic that is being made."""


class _OutputMeter:
    """Counts the records of a topic by its end offsets: what is written, committed or not.

    Each commit adds a marker to a partition, a few in a run.
    """

    def __init__(self, servers: str, topic: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": servers, "group.id": "bench-meter", "isolation.level": "read_uncommitted"}
        )
        self._partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]

    def count(self) -> int:
        """Return the number of records so far; 0 of a topic that is not there yet."""
        try:
            return sum(int(self._consumer.get_watermark_offsets(p, timeout=30)[1]) for p in self._partitions)
        except KafkaException as error:
            if error.args[0].code() in NOT_THERE_YET:
                return 0
            raise

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def measure_drain(
    stack: LocalStack,
    topic: str,
    drain: Drain,
    check: Callable[[], None],
    pids: dict[str, int],
    begins: str | None = None,
) -> dict[str, Any]:
    """Follow what comes out of a system.

    With `begins`, a topic of the system's own, the whole drain is timed, from the first record there to the last
    decision: a system that reads ahead of what it gives shows no rate in between.
    """
    with (
        closing(_OutputMeter(stack.bootstrap_servers, topic)) as meter,
        closing(_OutputMeter(stack.bootstrap_servers, begins or topic)) as start,
    ):
        return _follow(stack, meter, start, drain, check, pids, is_whole=begins is not None)


def _follow(
    stack: LocalStack,
    meter: _OutputMeter,
    begins: _OutputMeter,
    drain: Drain,
    check: Callable[[], None],
    pids: dict[str, int],
    is_whole: bool,
) -> dict[str, Any]:
    start = time.monotonic()
    while not begins.count():
        check()
        if time.monotonic() - start > START_SECONDS:
            raise BenchError(f"nothing came out within {START_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    first = time.monotonic()
    processes = {process.name: process.pid for process in stack.processes()} | pids
    cpu, stages = CpuMeter(processes), StageMeter(processes)
    curve: list[tuple[float, int]] = []
    warm: tuple[StageMeter, int] | None = None
    while True:
        now, count = time.monotonic(), meter.count()
        curve.append((now, count))
        if warm is None and (count > drain.events * FIRST_SHARE or now - first > drain.seconds * FIRST_SHARE):
            warm = StageMeter(processes), count
        if count >= drain.events or now - first > drain.seconds:
            break
        check()
        time.sleep(POLL_SECONDS)
    cores = cpu.cores(curve[-1][0] - first)
    total = curve[-1][1]
    meter, before = warm or (stages, 0)
    stages_us = meter.microseconds(total - before)
    (from_s, from_count), (until_s, until_count) = (
        next(point for point in curve if point[1] >= share * total) for share in (FIRST_SHARE, LAST_SHARE)
    )
    if is_whole:
        (from_s, from_count), (until_s, until_count) = (first, 0), curve[-1]
    if until_s <= from_s:
        raise BenchError(f"{total:,} records came out too fast to measure: preload more with --preload")
    return {
        "events": min(total, drain.events),
        "seconds": round(curve[-1][0] - first, 2),
        "events_per_second": round((until_count - from_count) / (until_s - from_s)),
        "cpu_cores": cores,
        "stages_us": stages_us,
        "curve": _rates(curve),
    }


def _rates(curve: list[tuple[float, int]]) -> list[int]:
    """Return the rate in each tenth of what came out."""
    total = curve[-1][1]
    points = [next(point for point in curve if point[1] >= total * tenth / 10) for tenth in range(11)]
    return [
        round((until[1] - since[1]) / max(until[0] - since[0], POLL_SECONDS))
        for since, until in itertools.pairwise(points)
    ]


@contextmanager
def flink_job(
    stack: LocalStack, module: str, arguments: list[str], environment: dict[str, str]
) -> Iterator[Callable[[], None]]:
    """Run a job until the block ends; give a check that it has not failed."""
    rest = stack.rest
    job = submit_job(
        stack.flink_rest_url,
        module,
        arguments,
        jars=Jars(stack.jars_folder),
        work_folder=stack.logs,
        options=stack.flink.job_options(),
        environment={
            "WEIR_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "WEIR_FLINK_REST_URL": stack.flink_rest_url,
            "WEIR_REDIS_URL": stack.redis_url,
            "WEIR_HOME_DIR": str(stack.home),
            **environment,
        },
    )

    def check() -> None:
        if failure := rest.failure(job):
            raise BenchError(f"{module} failed:\n{failure[:3000]}")

    yield check
    # Not in a finally: after a failure the stack is stopped with everything in it, and the failure is what to report.
    rest.cancel(job, CANCEL_SECONDS)
