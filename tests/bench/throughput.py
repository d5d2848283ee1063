"""Saturation throughput, ours beside the peers': how fast each empties the same preloaded topic into Kafka."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from deploy.local.jars import Jars
from deploy.local.processes import free_ports
from deploy.local.stack import HOME, LocalStack
from deploy.local.submit import submit_job
from deploy.local.topics import create_topics
from jobs.settings import DEFAULT_MODEL
from tests.bench.measures import BenchError, CpuMeter, Helper
from tests.bench.openloop import job_arguments
from tests.bench.stages import StageMeter

PEERS = Path(__file__).parent / "peers"
PREFIX = "drain."
PARTITIONS = 4
POLL_SECONDS = 0.1
START_SECONDS = 120.0  # until the first record comes out: a start of Flink's client and of Python on a busy machine
CANCEL_SECONDS = 180.0  # a saturated worker first ends the batch it is in
WORK = "originator's features, model, some rules (tests/bench/peers/per_event.py)"
PROCESS_PEERS = {
    "quix_job": ("quix-streams 3.28.1", WORK),
    "bytewax_job": ("bytewax 0.21.1", f"{WORK}; at least once"),
    "river_loop": ("River 0.23.0 in a loop", "the same with River's regression as the model; state in memory alone"),
}
"""Scripts in `peers/` that run as processes of their own, one for each slot: system and work."""
FIRST_SHARE, LAST_SHARE = 0.1, 0.9
"""The rate is taken between these shares of what came out: without the start and the last partition."""


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
    stack: LocalStack, drain: Drain, with_peers: bool, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Measure ours, and then each peer; yield the result of each."""
    servers = stack.bootstrap_servers
    create_topics({"bootstrap.servers": servers}, PREFIX, {"transactions": PARTITIONS, "decisions": PARTITIONS})
    say(f"preloading {drain.events:,} transactions")
    _preload(servers, drain)
    slots = stack.options.taskmanagers
    with _flink_job(
        stack, "jobs.score_transactions", job_arguments(drain.parallelism), {"WEIR_TOPIC_PREFIX": PREFIX}
    ) as check:
        yield {"system": "weir", "work": "all of it", **_measure(stack, f"{PREFIX}decisions", drain, check, {})}
    if not with_peers:
        return
    source, models = f"{PREFIX}transactions", str(DEFAULT_MODEL)
    sinks = {name: f"{PREFIX}{name}" for name in ("flink-per-event", *PROCESS_PEERS)}
    _create(servers, list(sinks.values()))
    work = WORK
    arguments = [source, sinks["flink-per-event"], models, str(slots)]
    with _flink_job(stack, "tests.bench.peers.flink_job", arguments, {}) as check:
        measured = _measure(stack, sinks["flink-per-event"], drain, check, {})
    yield {"system": "PyFlink, per event", "work": work, **measured}
    python = peers_python(say)
    for name, (system, work) in PROCESS_PEERS.items():
        arguments = [servers, source, sinks[name], models]
        with _processes(python, name, slots, arguments) as (check, pids):
            yield {"system": system, "work": work, **_measure(stack, sinks[name], drain, check, pids)}


def _preload(servers: str, drain: Drain) -> None:
    task = {"servers": servers, "topic": f"{PREFIX}transactions", "events": drain.events, "accounts": drain.accounts}
    sender = Helper("tests.bench.sender", {**task, "seed": 11, "end_ms": time.time_ns() // 1_000_000})
    try:
        if lost := sender.ask({"send": {"rate": 0, "count": drain.events}})["lost"]:
            raise BenchError(f"{lost} records of the preloaded topic were not taken by the broker")
    finally:
        sender.stop()


def _create(servers: str, topics: list[str]) -> None:
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 3})  # alive until its futures are done
    for future in admin.create_topics([NewTopic(t, PARTITIONS, 1) for t in topics]).values():
        future.result(30)


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
        """Return the number of records so far."""
        return sum(int(self._consumer.get_watermark_offsets(p, timeout=30)[1]) for p in self._partitions)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def _measure(
    stack: LocalStack, topic: str, drain: Drain, check: Callable[[], None], pids: dict[str, int]
) -> dict[str, Any]:
    with closing(_OutputMeter(stack.bootstrap_servers, topic)) as meter:
        return _follow(stack, meter, drain, check, pids)


def _follow(
    stack: LocalStack, meter: _OutputMeter, drain: Drain, check: Callable[[], None], pids: dict[str, int]
) -> dict[str, Any]:
    start = time.monotonic()
    while not meter.count():
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
        if warm is None and count > drain.events // 2:
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
def _flink_job(
    stack: LocalStack, module: str, arguments: list[str], environment: dict[str, str]
) -> Iterator[Callable[[], None]]:
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


@contextmanager
def _processes(
    python: Path, script: str, count: int, arguments: list[str]
) -> Iterator[tuple[Callable[[], None], dict[str, int]]]:
    folder = Path(tempfile.mkdtemp(prefix="weir-bench-"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONWARNINGS"] = "ignore"
    if script == "bytewax_job":
        subprocess.run([str(python), "-m", "bytewax.recovery", str(folder), str(count)], check=True)
    addresses = ";".join(f"127.0.0.1:{port}" for port in free_ports(count))
    own = {
        "quix_job": lambda i: [str(folder / f"state-{i}")],
        "bytewax_job": lambda i: [str(folder), str(i), addresses],
        "river_loop": lambda i: [str(i)],
    }[script]
    started = [
        subprocess.Popen([str(python), str(PEERS / f"{script}.py"), *arguments, *own(i)], env=environment)
        for i in range(count)
    ]

    def check() -> None:
        if any(process.poll() is not None for process in started):
            raise BenchError(f"a process of {script} ended; see its messages above")

    try:
        yield check, {f"{script}-{i}": process.pid for i, process in enumerate(started)}
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def peers_python(say: Callable[[str], None]) -> Path:
    """Return the Python of the peers' own environment, and make it if it is not there."""
    folder = HOME / "peers"
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256((PEERS / "requirements.txt").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    say("installing the peers' packages into their own environment (once)")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "-r",
            str(PEERS / "requirements.txt"),
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{' '.join(command[:4])} failed:\n{done.stderr[-2000:]}\nuse --no-peers to go without")
    stamp.write_text(wanted)
    return python
