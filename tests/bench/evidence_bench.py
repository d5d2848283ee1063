"""Measure evidence on this machine: `make bench-evidence`, or `python -m tests.bench.evidence_bench`.

Two questions, each with a stack of its own:

- Does every requested piece of evidence end in exactly one final revision, over thousands of requests with SIGKILLs of
  the service, of the job's TaskManager and of its Python process?
- How soon do provisional alerts leave, while a service is fast, slow, hanging or dead, against a stream without
  evidence: the same job, at the same rate, in turn?

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
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from deploy.local.stack import HOME, LocalStack, StackOptions
from jobs.stream.evidence_function import SERVICE_HEADER
from tests.bench.measures import REPOSITORY, BenchError, Helper, machine
from tests.bench.openloop import JOB, WARM_UP_RATE, Run, job_arguments
from tests.evidence import an_alert, assert_one_final_revision_each, encoded, requests_for
from tests.scoring_job import START_SECONDS, ScoringJob
from tests.side_service import VERSION, SideService
from tests.waiting import wait_until

GATHER = "jobs.gather_evidence"
PER_ALERT = 2
STEPS = ("none", "fast", "none", "slow", "none", "hang", "none", "dead", "none")
"""What the service does in each step; `none` is a stream without evidence."""


def options_of(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.evidence_bench", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="pieces of evidence in the story of kills")
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs in it")
    parser.add_argument("--rate", type=int, default=2_000, help="transactions a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="measured for each behaviour of the service")
    parser.add_argument("--lead-seconds", type=float, default=10.0, help="before each, left out")
    parser.add_argument("--warm-up-seconds", type=float, default=90.0)
    parser.add_argument("--accounts", type=int, default=50_000, help="of the simulated population")
    parser.add_argument("--share", type=float, default=0.2, help="share of transactions with a document")
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
        topics = job.settings.topics
        requests: list[dict[str, Any]] = []
        killed: Counter[str] = Counter()
        began = time.monotonic()
        with job:
            evidence, alerts = job.read(topics.evidence), job.read(topics.alerts, committed_only=False)
            parts = kills + 1
            for part in range(parts):
                size = count // parts + (part < count % parts)
                for start in range(0, size, 50):
                    new: list[dict[str, Any]] = []
                    for i in range(start, min(size, start + 50), PER_ALERT):
                        alert = an_alert(f"t{part}-{i}", account_id=f"a{i % 97}")
                        pieces = [("vision", f"file:///e/{part}/{i + n}.png") for n in range(min(PER_ALERT, size - i))]
                        new += requests_for(alert, pieces, VERSION)
                    job.send_headed(topics.evidence_requests, SERVICE_HEADER, [encoded(piece) for piece in new])
                    job.flush()
                    requests += new
                    evidence.poll()
                    time.sleep(0.05)
                if part == kills:
                    break
                what = ("service", "taskmanager", "python")[part % 3]
                kill(what, stack, job.id, service)
                killed[what] += 1
                evidence.poll()
                say(f"{len(requests):,} requests sent, {len(evidence):,} ended, {killed.total()} kills")

            def all_ended() -> bool:
                evidence.poll()
                return len(evidence) >= len(requests)

            wait_until(all_ended, 3 * START_SECONDS, f"{len(requests)} requests ended")
            alerts.wait_for(len(requests), 3 * START_SECONDS)
            job.wait_for_checkpoints()
            evidence.read_to_end()
            alerts.read_to_end()
            elapsed = time.monotonic() - began
            restored = stack.rest.checkpoints(job.id)["counts"]["restored"]
            restarts = job.restarts()
    endings = assert_one_final_revision_each(requests, evidence.values, alerts.values)
    return {
        "requests": len(requests),
        "endings": len(evidence),
        "distinct": len(endings),
        "statuses": dict(Counter(ending["status"] for ending in endings.values())),
        "alerts_delivered": len(alerts),
        "kills": dict(killed),
        "restored": restored,
        "restarts": restarts,
        "seconds": round(elapsed, 1),
    }


def measure_latency(stack: LocalStack, options: argparse.Namespace, say: Any) -> list[dict[str, Any]]:
    """Measure provisional alerts at one rate, with and without evidence in turn."""
    results = []
    with SideService() as service:
        environment = {
            "WEIR_EVIDENCE_VISION_URL": service.url,
            "WEIR_EVIDENCE_VISION_VERSION": VERSION,
            "WEIR_EVIDENCE_VISION_OUTPUT": "probability",
        }
        job = stack.submit(JOB, job_arguments(1), environment=environment)
        gather = stack.submit(GATHER, environment=environment)
        servers = stack.bootstrap_servers
        reader = Helper(
            "tests.bench.reader", {"servers": servers, "alerts": "weir.alerts", "decisions": "weir.decisions"}
        )
        events = int(options.rate * (options.seconds + options.lead_seconds)) * (len(STEPS) + 1)
        events += int(WARM_UP_RATE * options.warm_up_seconds)
        task = {"servers": servers, "topic": "weir.transactions", "events": events, "accounts": options.accounts}
        task["end_ms"] = time.time_ns() // 1_000_000
        senders = {
            share: Helper("tests.bench.sender", {**task, "seed": seed, "evidence_share": share})
            for seed, share in ((7, 0.0), (8, options.share))
        }
        try:
            reader.answer()
            run = Run(stack, job, reader, senders[0.0])
            say(f"warming up for {options.warm_up_seconds:.0f} s")
            run.step(WARM_UP_RATE, 0.0, options.warm_up_seconds)
            for step in STEPS:
                run.sender = senders[0.0 if step == "none" else options.share]
                if step == "dead":
                    service.kill()
                elif step != "none":
                    service.set_mode(step)
                asked = requests_so_far(stack)
                result = run.step(options.rate, options.lead_seconds, options.seconds)
                result = {"service": step, **result, "requests": requests_so_far(stack) - asked}
                results.append(result)
                alerts = result["alerts_ms"]
                say(f"{step}: alerts p50 {alerts.get('p50')} p99 {alerts.get('p99')} ms, {result['requests']} requests")
        finally:
            for sender in senders.values():
                sender.stop()
            reader.stop()
        states = {stack.rest.state(job), stack.rest.state(gather)}
        if states != {"RUNNING"}:
            raise BenchError(f"a job did not run to the end: {states}")
    without = sorted(result["alerts_ms"]["p99"] for result in results if result["service"] == "none")
    baseline = without[len(without) // 2]
    for result in results:
        result["p99_ratio"] = round(result["alerts_ms"]["p99"] / baseline, 3)
    return results


def requests_so_far(stack: LocalStack) -> int:
    """Return how many requests the scoring job has written: the end of their topic."""
    consumer = Consumer({"bootstrap.servers": stack.bootstrap_servers, "group.id": "bench-evidence"})
    try:
        return int(consumer.get_watermark_offsets(TopicPartition("weir.evidence-requests", 0), timeout=10)[1])
    finally:
        consumer.close()


def main(argv: list[str]) -> int:
    """Run the measurements."""
    options = options_of(argv)
    console = Console(width=120 if not sys.stdout.isatty() else None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))

    def say(line: str) -> None:
        console.print(f"[dim]{line}[/]")

    results: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d"),
        "arguments": [argument for argument in argv if "/" not in argument],
        "machine": machine(),
    }
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
                results["kills"] = count_over_kills(kills, options.requests, options.kills, say)
            kills.down(delete_data=True)
            console.print_json(json.dumps(results["kills"]))
        if not options.no_latency:
            with steps:
                results["latency"] = measure_latency(steps, options, say)
    except (BenchError, AssertionError) as error:
        console.print(f"[red]the promise or the measurement is broken:[/] {error}")
        return 1
    finally:
        steps.down(delete_data=True)  # of the same folder as the other
        shutil.rmtree(options.home, ignore_errors=True)
    for result in results.get("latency", []):
        alerts = result["alerts_ms"]
        console.print(
            f"{result['service']:<5} alerts {alerts['count']:>6,}  p50 {alerts['p50']:>7} ms  "
            f"p99 {alerts['p99']:>7} ms  ratio {result['p99_ratio']:.2f}  requests {result['requests']:,}"
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    say(f"wrote {options.out.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
