"""Measure Weir on this machine: `make bench`, or `python -m tests.bench`.

Starts a stack of its own, measures latency at rising rates until one is not sustained, and then throughput beside
per-event programs. Status 0 when every measurement is sound, whatever its numbers say; 1 when one is not.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from rich.console import Console

from deploy.local.errors import StackError
from deploy.local.stack import HOME, LocalStack, StackOptions
from tests.bench.measures import REPOSITORY, BenchError, machine
from tests.bench.openloop import Sweep, run_sweep
from tests.bench.pace import pace
from tests.bench.peer_programs import PEERS
from tests.bench.report import print_drains, print_steps, write_reports
from tests.bench.throughput import Drain, run_drains

RATES = (2_000, 5_000, 10_000, 20_000, 30_000, 40_000, 50_000)
QUICK_RATES = (2_000, 5_000, 10_000, 30_000)


def options_of(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rates, 20 s each, a smaller preloaded topic")
    parser.add_argument("--rates", type=int, nargs="+", help="events a second, rising")
    parser.add_argument("--seconds", type=float, help="measured at each rate (default 60)")
    parser.add_argument("--lead-seconds", type=float, default=5.0, help="at each rate, left out")
    parser.add_argument("--warm-up-seconds", type=float, default=90.0, help="before the first rate")
    parser.add_argument("--accounts", type=int, default=50_000, help="of the simulated population")
    parser.add_argument("--preload", type=int, help="events that the systems compared work through (default 4,000,000)")
    cores = os.cpu_count() or 1
    parser.add_argument(
        "--parallelism", type=int, default=max(1, cores // 2), help="slots of our job (default: half the cores)"
    )
    parser.add_argument("--peer-slots", type=int, default=cores, help="slots of the others (default: the cores)")
    parser.add_argument("--microbatch-ms", type=int, help="of our job while latency is measured (default: its own)")
    parser.add_argument(
        "--checkpoint-interval-seconds",
        type=float,
        default=StackOptions.checkpoint_interval_seconds,
        help="of every job: who reads committed decisions waits for it, and alerts feel it (default %(default)g)",
    )
    parser.add_argument("--peers", nargs="+", choices=tuple(PEERS), default=tuple(PEERS), help="which (default: all)")
    parser.add_argument("--no-peers", action="store_true", help="measure ours only")
    parser.add_argument("--no-latency", action="store_true", help="measure throughput only")
    parser.add_argument("--no-throughput", action="store_true", help="measure latency only")
    parser.add_argument("--home", type=Path, default=HOME / "bench", help="folder of the stack; its data are deleted")
    parser.add_argument("--out", type=Path, help="folder of the results; default docs/bench, and docs/performance.md")
    options = parser.parse_args(argv)
    options.rates = tuple(options.rates or (QUICK_RATES if options.quick else RATES))
    options.seconds = options.seconds or (20.0 if options.quick else 60.0)
    options.preload = options.preload or (300_000 if options.quick else 4_000_000)
    return options


def main(argv: list[str]) -> int:
    """Run the measurements."""
    options = options_of(argv)
    console = Console(width=max(150, Console().width) if not sys.stdout.isatty() else None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the stack is stopped in order

    def say(line: str) -> None:
        console.print(f"[dim]{line}[/]")

    # A saturated machine answers heartbeats late; a restart in the middle would end the measurement.
    stack_options = StackOptions(
        taskmanagers=options.parallelism,
        partitions={"transactions": 2 * options.parallelism},
        checkpoint_interval_seconds=options.checkpoint_interval_seconds,
        flink_options={"heartbeat.timeout": "60 s"},
    )
    stack = LocalStack(options.home, stack_options, progress=say)
    peer_stack = LocalStack(options.home, replace(stack_options, taskmanagers=options.peer_slots), progress=say)
    sweep = Sweep(
        options.rates,
        options.seconds,
        options.lead_seconds,
        options.warm_up_seconds,
        options.accounts,
        options.parallelism,
        options.microbatch_ms,
        options.checkpoint_interval_seconds,
    )
    drain = Drain(options.preload, options.seconds, options.accounts, options.parallelism)
    results: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d"),
        "arguments": [argument for argument in argv if "/" not in argument],
        "machine": machine(),
        "settings": {
            "parallelism": options.parallelism,
            "peer_slots": options.peer_slots,
            "partitions": 2 * options.parallelism,
            "seconds": options.seconds,
            "lead_seconds": options.lead_seconds,
            "warm_up_seconds": options.warm_up_seconds,
            "accounts": options.accounts,
            "preload": options.preload,
            "checkpoint_interval_seconds": stack_options.checkpoint_interval_seconds,
        },
        "pace": [pace()],
        "steps": [],
        "drains": [],
    }
    busy = results["machine"]["load_before"]
    if busy > 0.5:
        say(f"the machine is busy (load {busy}): the numbers will be worse than it can do")
    broken = None
    shutil.rmtree(options.home, ignore_errors=True)
    try:
        if not options.no_latency:
            with stack:
                for step in run_sweep(stack, sweep, say):
                    results["steps"].append(step)
                    alerts = step["alerts_ms"]
                    state = "sustained" if step["sustained"] else "not sustained"
                    say(
                        f"{step['rate']:,} events/s: {state}, alerts p50 {alerts.get('p50')} p99 {alerts.get('p99')} ms"
                    )
            stack.down(delete_data=True)
            results["pace"].append(pace())
        if not options.no_throughput:
            with peer_stack:
                for result in run_drains(peer_stack, drain, () if options.no_peers else options.peers, say):
                    results["drains"].append(result)
                    say(f"{result['system']}: {result['events_per_second']:,} events/s")
            results["pace"].append(pace())
    except (BenchError, StackError, KafkaException) as error:
        broken = error
    finally:
        stack.down(delete_data=True)  # of the same folder as the other
        shutil.rmtree(options.home, ignore_errors=True)
    if results["steps"]:
        print_steps(console, results["steps"])
    if results["drains"]:
        print_drains(console, results["drains"])
    if broken:
        console.print(f"[red]the measurement is broken:[/] {broken}", markup=True)
        return 1
    out = options.out or REPOSITORY / "docs" / "bench"
    performance = None if options.out else REPOSITORY / "docs" / "performance.md"
    for file in write_reports(results, out, performance):
        say(f"wrote {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
