"""Latency at given rates: records are sent when they are due, whatever becomes of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from deploy.local.stack import LocalStack
from tests.bench.hiccups import summary
from tests.bench.measures import BenchError, CpuMeter, Helper, latency_summary
from tests.bench.stages import StageMeter

JOB = "jobs.score_transactions"
WARM_UP_RATE = 10_000
"""Records a second before the first step: the JVMs compile what runs often, for a minute or two."""
KEEPS_UP_SECONDS = 0.5
"""A step is sustained if at its end no more is on its way than came in during this time, and the median latency of its
last quarter is not far above that of its first: the backlog does not grow."""
GROWTH, GROWTH_MS = 1.5, 50.0
DRAIN_SECONDS = 60.0
FIRST_DRAIN_SECONDS = 300.0  # before a step: after the warm-up, whose first records wait for the job's start


@dataclass(frozen=True, slots=True)
class Sweep:
    """Rates to try, and for how long.

    Attributes
    ----------
    rates
        Events a second, rising.
    seconds
        Measured at each.
    lead_seconds
        Sent at the rate before that, and left out.
    warm_up_seconds
        Sent before the first step, so that every function is compiled and the JVM knows its hot paths.
    accounts
        Of the simulated population.
    parallelism
        Slots of the job, and its shards.
    microbatch_ms
        Of the job; None is its default.
    checkpoint_interval_seconds
        Of the job; None is its default.
    """

    rates: tuple[int, ...]
    seconds: float
    lead_seconds: float
    warm_up_seconds: float
    accounts: int
    parallelism: int
    microbatch_ms: int | None = None
    checkpoint_interval_seconds: float | None = None

    @property
    def events(self) -> int:
        """Records of all steps."""
        steps = sum(int(rate * (self.seconds + self.lead_seconds)) for rate in self.rates)
        return steps + int(WARM_UP_RATE * self.warm_up_seconds)


def job_arguments(
    parallelism: int, microbatch_ms: int | None = None, checkpoint_interval_seconds: float | None = None
) -> list[str]:
    """Return the arguments of a scoring job with one shard a slot."""
    arguments = ["--parallelism", str(parallelism), "--shards", str(parallelism)]
    chosen = {"--microbatch-ms": microbatch_ms, "--checkpoint-interval-seconds": checkpoint_interval_seconds}
    return arguments + [part for name, value in chosen.items() if value is not None for part in (name, str(value))]


def run_sweep(stack: LocalStack, sweep: Sweep, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measure rate after rate until one is not sustained; yield the result of each step.

    The job runs on; the caller stops the stack.
    """
    chosen = job_arguments(sweep.parallelism, sweep.microbatch_ms, sweep.checkpoint_interval_seconds)
    job = stack.submit(JOB, chosen)
    servers = stack.bootstrap_servers
    reader = Helper("tests.bench.reader", {"servers": servers, "alerts": "weir.alerts", "decisions": "weir.decisions"})
    task = {"servers": servers, "topic": "weir.transactions", "events": sweep.events, "accounts": sweep.accounts}
    sender = Helper("tests.bench.sender", {**task, "seed": 7, "end_ms": time.time_ns() // 1_000_000})
    watch = Helper("tests.bench.hiccups", {})
    try:
        reader.answer()
        say(f"warming up for {sweep.warm_up_seconds:.0f} s at {WARM_UP_RATE:,} events/s")
        run = Run(stack, job, reader, sender, watch)
        run.step(WARM_UP_RATE, 0.0, sweep.warm_up_seconds)
        for rate in sweep.rates:
            result = run.step(rate, sweep.lead_seconds, sweep.seconds)
            yield result
            if not result["sustained"]:
                break
    finally:
        watch.stop()
        sender.stop()
        reader.stop()


class Run:
    """Steps of one running job: what is sent when it is due, and what is read of it.

    Parameters
    ----------
    stack, job
        The job runs there.
    reader
        Of `tests.bench.reader`, ready.
    sender
        Of `tests.bench.sender`; may be replaced between two steps.
    watch
        Of `tests.bench.hiccups`: whether the machine stood still; may be left out.
    """

    def __init__(
        self, stack: LocalStack, job: str, reader: Helper, sender: Helper, watch: Helper | None = None
    ) -> None:
        self._stack = stack
        self._job = job
        self._reader = reader
        self.sender = sender
        self._watch = watch
        self.window: dict[str, Any] = {}  # of the last step: (due, seen) in ms, (n, 2), by stream
        self._sent = 0  # records since the reader started

    def step(self, rate: int, lead_seconds: float, seconds: float) -> dict[str, Any]:
        """Send at one rate, and measure after the lead."""
        count = int(rate * (lead_seconds + seconds))
        self.sender.ask({"prepare": {"count": count}})
        self._wait_until_even()
        self._take()
        if self._watch:
            self._watch.ask({})
        self.sender.tell({"send": {"rate": rate, "count": count}})
        time.sleep(lead_seconds)
        began, seen_before = time.monotonic(), self._reader.ask({"count": True})
        pids = {process.name: process.pid for process in self._stack.processes()}
        cpu, stages = CpuMeter(pids | self._helpers()), StageMeter(pids)
        report = self.sender.answer()
        elapsed = time.monotonic() - began
        seen = self._reader.ask({"count": True})
        cores = cpu.cores(elapsed)
        stages_us = stages.microseconds(seen["decisions"] - seen_before["decisions"])
        self._sent += report["sent"]
        lag = self._sent - seen["decisions"]
        if report["lost"]:
            raise BenchError(f"{report['lost']} records were not taken by the broker at {rate:,} events/s")
        drained = self._wait_until_even(must=False)
        if not drained and (refused := self._refused()):
            raise BenchError(
                f"{refused} records were refused: see the reasons with `weir dead-letters`; send good ones"
            )
        samples = self._take()
        seen_of_machine = self._watch.ask({}) if self._watch else None
        from_ms = report["start_ms"] + lead_seconds * 1000
        until_ms = report["start_ms"] + count / rate * 1000
        window = {name: _within(pairs, from_ms, until_ms) for name, pairs in samples.items()}
        self.window = window
        growth = _growth(window["decisions"], from_ms, until_ms)
        if drained and not len(window["decisions"]):
            raise BenchError(f"no decision on a record of the step at {rate:,} events/s was seen")
        return {
            "rate": rate,
            "rate_in": round(report["sent"] / report["seconds"], 1),
            "rate_out": round((seen["decisions"] - seen_before["decisions"]) / elapsed, 1),
            "seconds": seconds,
            "sender_most_behind_ms": round(report["most_behind_ms"], 1),
            "lag_at_end": lag,
            "latency_growth": growth,
            "sustained": bool(
                drained
                and lag <= rate * KEEPS_UP_SECONDS
                and (growth["last_quarter_ms"] <= max(GROWTH * growth["first_quarter_ms"], GROWTH_MS))
            ),
            **{f"{name}_ms": latency_summary(pairs[:, 1] - pairs[:, 0]) for name, pairs in window.items()},
            "cpu_cores": cores,
            "stages_us": stages_us,
            "checkpoints": self._checkpoints(from_ms, until_ms),
            "machine": _machine(seen_of_machine, from_ms, until_ms),
        }

    def _helpers(self) -> dict[str, int]:
        return {helper.name: helper.process.pid for helper in (self.sender, self._reader)}

    def _take(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "samples.npz"
            self._reader.ask({"take": str(file)})
            with np.load(file) as loaded:
                return {name: loaded[name] for name in loaded.files}

    def _wait_until_even(self, must: bool = True) -> bool:
        """Wait until every record sent has its decision, in the ledger too."""
        patience = FIRST_DRAIN_SECONDS if must else DRAIN_SECONDS
        end = time.monotonic() + patience
        while (seen := self._reader.ask({"count": True}))["ledger"] < self._sent:
            if time.monotonic() > end:
                if must:
                    raise BenchError(
                        f"{self._sent:,} records were sent, {seen['decisions']:,} decisions were written and "
                        f"{seen['ledger']:,} committed {patience:.0f} s later; the job is "
                        f"{self._stack.rest.state(self._job)}: {self._stack.rest.failure(self._job)[:1000]}"
                    )
                return False
            time.sleep(0.1)
        return True

    def _refused(self) -> int:
        """Count the dead letters: records that no decision will come for."""
        topic = "weir.dead-letters"
        reader = Consumer({"bootstrap.servers": self._stack.bootstrap_servers, "group.id": "bench-refused"})
        partitions = [TopicPartition(topic, p) for p in reader.list_topics(topic, 10).topics[topic].partitions]
        written = sum(reader.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions)
        reader.close()
        return written

    def _checkpoints(self, from_ms: float, until_ms: float) -> dict[str, Any]:
        history = self._stack.rest.checkpoints(self._job)["history"]
        within = [c for c in history if from_ms <= c["trigger_timestamp"] <= until_ms]
        done = [c for c in within if c["status"] == "COMPLETED"]
        return {
            "completed": len(done),
            "failed": sum(c["status"] == "FAILED" for c in within),
            "longest_ms": max((c["end_to_end_duration"] for c in done), default=None),
            "mean_ms": round(float(np.mean([c["end_to_end_duration"] for c in done])), 1) if done else None,
            "largest_mib": round(max((c["state_size"] for c in done), default=0) / 2**20, 1),  # what a restart reads
            "written_mib": round(float(np.mean([c["checkpointed_size"] for c in done])) / 2**20, 1) if done else 0.0,
        }


def _within(pairs: Any, from_ms: float, until_ms: float) -> Any:
    return pairs[(pairs[:, 0] >= from_ms) & (pairs[:, 0] < until_ms)]


def _growth(pairs: Any, from_ms: float, until_ms: float) -> dict[str, float]:
    quarter = (until_ms - from_ms) / 4
    first = _within(pairs, from_ms, from_ms + quarter)
    last = _within(pairs, until_ms - quarter, until_ms)
    return {
        name: round(float(np.median(part[:, 1] - part[:, 0])), 1) if len(part) else float(DRAIN_SECONDS * 1000)
        for name, part in (("first_quarter_ms", first), ("last_quarter_ms", last))
    }


def _machine(seen: dict[str, Any] | None, from_ms: float, until_ms: float) -> dict[str, Any] | None:
    if seen is None:
        return None
    stalls = [(float(end), float(late)) for end, late in seen["stalls"]]
    return summary(stalls, from_ms, until_ms) | {key: seen[key] for key in ("stolen_seconds", "real_time")}
