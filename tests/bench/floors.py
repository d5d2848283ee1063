"""What the parts of the way cost alone: `make bench-floors`, or `python -m tests.bench.floors`.

The pure core in a plain loop, without Flink and Kafka; and the JVM's part, without what scores. The whole cannot be
faster than the slower of them on a core of its own, nor than all of them together on the cores there are.
"""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as in the job; read when polars is imported

import argparse
import datetime
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.local.stack import HOME, LocalStack, StackOptions
from deploy.local.topics import create_topics
from jobs.settings import DEFAULT_MODEL
from models.scoring.core_settings import CoreSettings
from models.scoring.decider import Decider, default_rule_set
from models.scoring.model import ScoringModel
from models.scoring.pipeline import ScoringCore
from tests.bench.core_profile import Feeder
from tests.bench.measures import REPOSITORY, machine
from tests.bench.throughput import PARTITIONS, PREFIX, Drain, flink_job, measure_drain, preload

CORE_BATCHES = (150, 450, 2_000)
"""Events in a micro-batch of 15 ms at 10,000 and at 30,000 events/s, and when there is a backlog."""


def core_alone(batch: int, warm: int, seconds: float, accounts: int) -> dict[str, Any]:
    """Score batches of raw records in a loop on one thread: decode, features, model, rules, decisions encoded.

    Returns
    -------
    dict
        Events a second of CPU time, and CPU microseconds an event.
    """
    feeder = Feeder(accounts)
    core = ScoringCore(CoreSettings(), Decider(ScoringModel.load(DEFAULT_MODEL), default_rule_set()))
    for _ in range(max(1, warm // 2_000)):
        core.transactions(feeder.take(2_000))
    spent = events = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        records = feeder.take(batch)
        begun = time.process_time_ns()
        core.transactions(records)
        spent += time.process_time_ns() - begun
        events += batch
    return {
        "part": f"the core, batches of {batch:,}",
        "events_per_second": round(events / spent * 1e9),
        "cpu_us": round(spent / events / 1000, 2),
    }


def jvm_alone(home: Path, drain: Drain) -> dict[str, Any]:
    """Gather, take apart and write the raw records by a job without Python; as fast as it goes.

    Returns
    -------
    dict
        Events a second, and CPU microseconds an event: of the broker, of the TaskManager, of both.
    """
    shutil.rmtree(home, ignore_errors=True)
    stack = LocalStack(home, StackOptions(taskmanagers=1, flink_options={"heartbeat.timeout": "60 s"}))
    try:
        with stack:
            servers = {"bootstrap.servers": stack.bootstrap_servers}
            create_topics(servers, PREFIX, {"transactions": PARTITIONS, "decisions": PARTITIONS})
            preload(stack.bootstrap_servers, drain)
            environment = {"WEIR_TOPIC_PREFIX": PREFIX, "WEIR_SHARDS": "1", "WEIR_PARALLELISM": "1"}
            with flink_job(stack, "tests.bench.jvm_path_job", [f"{PREFIX}decisions"], environment) as check:
                found = measure_drain(stack, f"{PREFIX}decisions", drain, check, {})
    finally:
        stack.down(delete_data=True)
    return {"part": "the JVM's path and the broker", **found}


def main(argv: list[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.floors", description=__doc__)
    parser.add_argument("--events", type=int, default=4_000_000, help="in the topic that the JVM works through")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each part")
    parser.add_argument("--accounts", type=int, default=50_000, help="of the simulated population")
    parser.add_argument("--warm", type=int, default=500_000, help="events that the core has behind it")
    parser.add_argument("--home", type=Path, default=HOME / "bench-floors", help="folder of the stack; deleted")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "bench", help="folder of floors.json")
    options = parser.parse_args(argv)
    console = Console()
    console.print("[dim]the JVM's path and the broker[/]")
    parts = [jvm_alone(options.home, Drain(options.events, options.seconds, options.accounts, 1))]
    for batch in CORE_BATCHES:
        console.print(f"[dim]the core, batches of {batch:,}[/]")
        parts.append(core_alone(batch, options.warm, options.seconds / 2, options.accounts))
    table = Table(title="parts alone")
    for heading in ("part", "events/s", "CPU µs an event"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for part in parts:
        spent = part.get("cpu_us") or round(sum(part["stages_us"].values()), 2)
        table.add_row(part["part"], f"{part['events_per_second']:,}", f"{spent:.1f}")
    console.print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    results = {
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "events": options.events,
        "parts": parts,
    }
    (options.out / "floors.json").write_text(json.dumps(results, indent=2) + "\n")
    console.print(f"wrote {options.out / 'floors.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
