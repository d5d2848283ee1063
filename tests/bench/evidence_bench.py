"""Measure evidence on this machine: `make bench-evidence`, or `python -m tests.bench.evidence_bench`.

Two questions, each with a stack of its own:

- Does every requested piece of evidence end in exactly one final revision, over thousands of requests with SIGKILLs of
  the service, of the job's TaskManager and of its Python process?
- How soon do provisional alerts leave, while a service is fast, slow, hanging or dead, against a stream without
  evidence? `--no-kills` asks this one alone, `--behaviours fast` a part of it; see `tests/bench/evidence_latency.py`.

Status 0 when the promise is kept and the measurement is sound; 1 otherwise.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from deploy.local.stack import HOME, LocalStack, StackOptions
from jobs.stream.evidence_function import SERVICE_HEADER
from schemas.records import decode_record
from tests.bench.evidence_latency import BEHAVIOURS, GATHER, LatencyPlan, measure_latency
from tests.bench.measures import REPOSITORY, BenchError, machine
from tests.evidence import an_alert, assert_one_final_revision_each, encoded, requests_for
from tests.scoring_job import START_SECONDS, ScoringJob
from tests.side_service import VERSION, SideService
from tests.waiting import wait_until

PER_ALERT = 2
SEND_RATE = 60
"""Requests a second in the story of kills: about a third of what a job can revise that has begun anew on two cores."""
BEHIND_A_KILL = 50
"""Requests that are sent once what was killed is back."""
KILLED = ("service", "taskmanager", "python")


def options_of(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.evidence_bench", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="pieces of evidence in the story of kills")
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs in it")
    parser.add_argument("--behaviours", nargs="+", choices=BEHAVIOURS, default=BEHAVIOURS, help="of the service")
    parser.add_argument("--rate", type=int, default=2_000, help="transactions a second")
    parser.add_argument("--blocks", type=int, default=3, help="of four steps, for each behaviour")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured in each step")
    parser.add_argument("--lead-seconds", type=float, default=4.0, help="before each, left out")
    parser.add_argument("--warm-up-seconds", type=float, default=90.0)
    parser.add_argument("--accounts", type=int, default=50_000, help="of the simulated population")
    parser.add_argument("--share", type=float, default=0.02, help="share of transactions with a document")
    parser.add_argument("--alert-share", type=float, default=0.2, help="share of transactions that the model alerts on")
    parser.add_argument("--no-kills", action="store_true", help="measure latency only")
    parser.add_argument("--no-latency", action="store_true", help="count over kills only")
    parser.add_argument("--home", type=Path, default=HOME / "bench-evidence", help="folder of the stack; deleted")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "bench" / "evidence.json")
    return parser.parse_args(argv)


def python_workers(stack: LocalStack, index: int) -> list[psutil.Process]:
    """Return the Python processes of a TaskManager's operators in process mode."""
    manager = psutil.Process(stack.process(f"taskmanager-{index}").pid)
    return [child for child in manager.children(recursive=True) if "python" in child.name()]


def taskmanager_of(stack: LocalStack, job_id: str) -> int:
    """Return the number of the TaskManager that runs a job of one slot; 0 where none does just now."""
    vertex = stack.rest.get(f"/jobs/{job_id}")["vertices"][0]["id"]
    hosts = stack.rest.get(f"/jobs/{job_id}/vertices/{vertex}/taskmanagers")["taskmanagers"]
    names = [host["taskmanager-id"] for host in hosts]
    return next((i for i in range(2) if any(f"taskmanager-{i}" in name for name in names)), 0)


def kill(what: str, stack: LocalStack, job_id: str, service: SideService) -> None:
    """SIGKILL one thing, and start it again."""
    if what == "service":
        service.kill()
        time.sleep(2.0)  # so that requests meet nobody for a while
        service.start()
        return
    index = taskmanager_of(stack, job_id)
    if what == "python":
        for worker in python_workers(stack, index):
            worker.kill()
        return
    stack.kill_taskmanager(index)
    stack.start_taskmanager(index)
    stack.rest.wait_until_running(job_id, START_SECONDS)


class KillStory:
    """Sends requests while things are killed, and counts how they end.

    Each kill falls into the midst of requests that are on their way. The next comes only when a request that was sent
    behind it has its committed ending: else most of them would wait out their budget in a job that is down.
    """

    def __init__(self, stack: LocalStack, job: ScoringJob, service: SideService) -> None:
        self._stack, self._job, self._service = stack, job, service
        topics = job.settings.topics
        self._topic = topics.evidence_requests
        self.requests: list[dict[str, Any]] = []
        self.evidence, self.alerts = job.read(topics.evidence), job.read(topics.alerts, committed_only=False)
        self._ended: set[bytes] = set()
        self._decoded = 0
        self.kills: Counter[str] = Counter()

    def send(self, part: str, count: int) -> None:
        """Send `count` requests at `SEND_RATE`, `PER_ALERT` for an alert."""
        began = time.monotonic()
        for first in range(0, count, PER_ALERT):
            alert = an_alert(f"t{part}-{first}", account_id=f"a{first % 97}")
            numbers = range(first, min(count, first + PER_ALERT))
            new = requests_for(alert, [("vision", f"file:///e/{part}/{i}.png") for i in numbers], VERSION)
            self._job.send_headed(self._topic, SERVICE_HEADER, [encoded(piece) for piece in new])
            self.requests += new
            time.sleep(max(0.0, began + (first + PER_ALERT) / SEND_RATE - time.monotonic()))
        self._job.flush()

    def kill(self, what: str) -> None:
        """SIGKILL one thing and start it again; requests go on meanwhile."""
        kill(what, self._stack, self._job.id, self._service)
        self.kills[what] += 1

    def wait_until_ended(self, request_id: str) -> None:
        """Wait for the committed ending of a request."""

        def has_ended() -> bool:
            self.evidence.poll()
            for message in self.evidence.messages[self._decoded :]:
                self._ended.add(decode_record(message.value() or b"", name="evidence")["request_id"])
            self._decoded = len(self.evidence)
            return request_id in self._ended

        wait_until(has_ended, START_SECONDS, f"request {request_id} ended")

    def settle(self) -> None:
        """Wait until all have ended, and then for what there should not be."""
        self.evidence.wait_for(len(self.requests), 3 * START_SECONDS)
        self.alerts.wait_for(len(self.requests), 3 * START_SECONDS)
        self._job.wait_for_checkpoints()
        self.evidence.read_to_end()
        self.alerts.read_to_end()


def count_over_kills(stack: LocalStack, count: int, kills: int, say: Any) -> dict[str, Any]:
    """Send requests while things are killed; return how they ended."""
    with SideService() as service:
        job = ScoringJob(
            stack,
            "kills",
            module=GATHER,
            parallelism=1,
            evidence_vision_url=service.url,
            evidence_vision_output="probability",
        )
        began = time.monotonic()
        with job, ThreadPoolExecutor(1) as sender:
            story = KillStory(stack, job, service)
            for part in range(kills):
                size = count // kills + (part < count % kills)
                around = sender.submit(story.send, f"{part}", size - BEHIND_A_KILL)
                time.sleep((size - BEHIND_A_KILL) / SEND_RATE / 2)
                story.kill(KILLED[part % len(KILLED)])
                around.result()
                story.send(f"{part}-behind", BEHIND_A_KILL)
                story.wait_until_ended(story.requests[-1]["request_id"])
                say(
                    f"{story.kills.total()} kills, {len(story.requests):,} requests sent, {len(story.evidence):,} ended"
                )
            story.settle()
            elapsed = time.monotonic() - began
            checkpoints = stack.rest.checkpoints(job.id)
            restarts = job.restarts()
    endings = assert_one_final_revision_each(story.requests, story.evidence.values, story.alerts.values)
    return {
        "requests": len(story.requests),
        "endings": len(story.evidence),
        "distinct": len(endings),
        "statuses": dict(Counter(ending["status"] for ending in endings.values())),
        "alerts_delivered": len(story.alerts),
        "kills": dict(story.kills),
        "restored": checkpoints["counts"]["restored"],
        "restarts": restarts,
        "seconds": round(elapsed, 1),
    }


def print_latency(console: Console, result: dict[str, Any]) -> None:
    """Print what was measured of one behaviour."""
    console.print(f"{result['service']}: {result['requests']:,} requests for evidence")
    for label in ("without", "with"):
        alerts = result[f"alerts_{label}_ms"]
        console.print(f"  {label:<8}{alerts['count']:>7,} alerts  p50 {alerts['p50']} ms  p99 {alerts['p99']} ms")
    for kind, name in (("alerts", "p99_ratio"), ("decisions", "decisions_p99_ratio")):
        low, high = result[f"{name}_interval"]
        console.print(f"  ratio of p99 of {kind} {result[name]:.2f}, 95% interval {low:.2f} to {high:.2f}")
    console.print(f"  of blocks, alerts: {result['p99_ratio_of_blocks']}")


def save(results: dict[str, Any], path: Path) -> None:
    """Write all results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")


def main(argv: list[str]) -> int:
    """Run the measurements."""
    options = options_of(argv)
    console = Console(width=120 if not sys.stdout.isatty() else None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))

    def say(line: str) -> None:
        console.print(f"[dim]{line}[/]")

    about = {
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d"),
        "arguments": [argument for argument in argv if "/" not in argument and argument != "--out"],
        "machine": machine(),
    }
    # What is not measured this time stays as it was.
    results: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    shutil.rmtree(options.home, ignore_errors=True)
    kills = LocalStack(options.home, StackOptions(taskmanagers=2), progress=say)
    # A saturated machine answers heartbeats late, and nothing is killed there.
    steps = LocalStack(
        options.home,
        StackOptions(taskmanagers=2, partitions={"transactions": 2}, flink_options={"heartbeat.timeout": "60 s"}),
        progress=say,
    )
    try:
        if not options.no_kills:
            with kills:
                results["kills"] = {**about, **count_over_kills(kills, options.requests, options.kills, say)}
            kills.down(delete_data=True)
            console.print_json(json.dumps(results["kills"]))
        if not options.no_latency:
            with steps:
                plan = LatencyPlan(
                    behaviours=tuple(options.behaviours),
                    rate=options.rate,
                    blocks=options.blocks,
                    seconds=options.seconds,
                    lead_seconds=options.lead_seconds,
                    warm_up_seconds=options.warm_up_seconds,
                    accounts=options.accounts,
                    share=options.share,
                    alert_share=options.alert_share,
                )
                for result in measure_latency(steps, plan, say):
                    print_latency(console, result)
                    results.setdefault("latency", {})[result["service"]] = {**about, **result}
                    save(results, options.out)  # what has been measured is kept, whatever comes of the rest
    except (BenchError, AssertionError) as error:
        console.print(f"[red]the promise or the measurement is broken:[/] {error}")
        return 1
    finally:
        steps.down(delete_data=True)  # of the same folder as the other
        shutil.rmtree(options.home, ignore_errors=True)
    save(results, options.out)
    say(f"wrote {options.out.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
