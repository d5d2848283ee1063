"""Break everything on a schedule, and look for a trace of it in the ledgers: `make chaos`, or `python -m tests.chaos`.

Real processes: Kafka, Flink (a JobManager with high availability, two TaskManagers at work, one that stands by), Redis.
Faults are drawn from a seed, spread over the input, and strike while the job is at work. After each, the run waits
until a read_committed reader has new decisions, the last stable offset has moved on, the money in the ledger is that
sent, and the job has stopped restarting. In the end every decision, alert, dead letter and duplicate is compared with
those of an undisturbed run.

Status 0: every bar is met. 1: one was missed; the logs stay, and the command that repeats the run is printed. 2: wrong
usage.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TextColumn

from deploy.cli.progress import progress_columns
from deploy.local.errors import StackError
from deploy.local.stack import HOME
from tests.bench.measures import REPOSITORY, machine
from tests.chaos.faults.matrix import FAULTS
from tests.chaos.report import broken_bars, print_result, update_page, write_result
from tests.chaos.run import impossible, play
from tests.chaos.schedule import Planned, ScheduleError, make_schedule, parse_counts
from tests.chaos.stream import chaos_stream, merged

EXAMPLES = """\
examples:
  python -m tests.chaos --list                                  every fault, and how often the full run has it
  python -m tests.chaos --faults broker-kill=3 --transactions 10000 --no-report
  python -m tests.chaos --seed 7 --faults taskmanager-kill=2,network-drop=1,disk-logs --dry-run
"""


def options_of(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="of the input and of the faults (default 1)")
    parser.add_argument("--transactions", type=int, default=100_000, help="good ones (default 100,000)")
    parser.add_argument("--poison", type=int, help="bad records of every kind (default a tenth of the transactions)")
    parser.add_argument(
        "--faults", metavar="KIND=COUNT,...", help="which, and how often (default: every kind as in --list)"
    )
    parser.add_argument("--list", action="store_true", help="print every kind of fault, and end")
    parser.add_argument("--dry-run", action="store_true", help="print the schedule, and end")
    parser.add_argument("--home", type=Path, default=HOME / "chaos", help="folder of the stack; emptied at the start")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "bench" / "chaos.json", help="JSON result")
    parser.add_argument(
        "--no-report", action="store_true", help="leave docs/bench/chaos.json and docs/reliability.md as they are"
    )
    options = parser.parse_args(argv)
    if options.transactions < 1_000:
        parser.error(f"--transactions {options.transactions}: at least 1000, or there is nothing to break")
    options.poison = options.transactions // 10 if options.poison is None else options.poison
    try:
        full = {kind: fault.count for kind, fault in FAULTS.items()}
        options.counts = full if options.faults is None else parse_counts(options.faults, tuple(FAULTS))
    except ScheduleError as error:
        parser.error(str(error))
    return options


def list_faults(console: Console) -> None:
    """Print every kind of fault."""
    for kind, fault in FAULTS.items():
        words = (fault.inject.__doc__ or "").strip().splitlines()[0]
        console.print(f"{kind:20} {fault.count:3}  {words}", highlight=False)


def show(schedule: list[Planned], console: Console) -> None:
    """Print a schedule."""
    for planned in schedule:
        console.print(f"{planned.row:9,}  {planned.kind:20} seed {planned.seed}", highlight=False)


def main(argv: list[str]) -> int:
    """Run the story and report."""
    options = options_of(argv)
    console = Console(width=max(110, Console().width) if not sys.stdout.isatty() else None)
    if options.list:
        list_faults(console)
        return 0
    skipped = impossible(options.counts)
    for kind, reason in skipped.items():
        console.print(f"[yellow]{kind} is left out: {reason}[/]")
    counts = {kind: count for kind, count in options.counts.items() if kind not in skipped}
    partitions = chaos_stream(options.transactions, options.poison, options.seed)
    rows = len(merged(partitions))
    try:
        schedule = make_schedule(options.seed, rows, counts)
    except ScheduleError as error:
        console.print(f"[red]{error}[/]")
        return 2
    if options.dry_run or not schedule:
        show(schedule, console)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the stack is stopped in order
    result: dict[str, Any] = {
        "command": "python -m tests.chaos " + " ".join(arg for arg in argv if "/" not in arg),
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "seed": options.seed,
        "faults": counts,
        "skipped": skipped,
    }
    with Progress(*progress_columns(), TextColumn("{task.fields[next]}"), console=console) as progress:
        task = progress.add_task("chaos", total=rows, rate="", next="")
        told = [""]

        def tell(done: int, text: str) -> None:
            progress.update(task, completed=done, next=f"next: {text}")
            if text != told[0]:
                told[0] = text
                if not console.is_terminal:
                    console.print(f"{datetime.datetime.now():%H:%M:%S} row {done:,}: {text}", highlight=False)

        try:
            result |= play(options.home, partitions, schedule, tell).as_record()
        except StackError as error:
            console.print(f"[red]the run could not begin or end: {error}[/]")
            return 1
    print_result(console, result)
    if not options.no_report:
        write_result(result, options.out)
        update_page(result, REPOSITORY / "docs" / "reliability.md")
    if broken_bars(result):
        console.print(
            f"the logs are in {options.home / 'logs'}; the same run again:\n"
            f"  python -m tests.chaos --seed {options.seed} --transactions {options.transactions} "
            f"--poison {options.poison} --faults {','.join(f'{k}={n}' for k, n in counts.items())}",
            soft_wrap=True,
        )
        write_result(result, options.home / "result.json")
        return 1
    shutil.rmtree(options.home, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
