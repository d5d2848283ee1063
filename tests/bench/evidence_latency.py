"""What provisional alerts feel of evidence: their latency with and without, in turn, on one running job.

Each behaviour of the service is measured in blocks of four equal steps: without, with, with, without evidence. Both
kinds of step have the same mean moment then, so that a host which gets slower or faster does not look like an effect of
evidence. Percentiles are taken over all steps of a kind. What of a ratio is noise is shown by its interval (bootstrap
over steps, since events of one step share its bad moments), by the ratio of each block, and by `control`, whose steps
are all without evidence. Of decisions there are many more than of alerts, which leave with them: their ratio is the
steadier one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from confluent_kafka import Consumer, TopicPartition

from deploy.local.stack import LocalStack
from tests.bench.alert_share import alerting_model
from tests.bench.bootstrap import percentile_ratio, ratio_interval
from tests.bench.measures import BenchError, CpuMeter, Helper, latency_summary
from tests.bench.openloop import JOB, Run, job_arguments
from tests.side_service import VERSION, SideService

GATHER = "jobs.gather_evidence"
CONTROL = "control"
BEHAVIOURS = (CONTROL, "fast", "slow", "hang", "dead")
BLOCK = (False, True, True, False)
"""Whether a step has evidence."""
WARM_UP_RATE = 5_000
WARM_UP_SHARE = 0.1
"""Of transactions with a document meanwhile: thousands of requests, as many as half an hour of the steps'
rate. What is measured is a gathering job that has run for a while, not one that has just begun."""
DRAIN_SECONDS = 4.0  # of a step, about: until its last decision is in the ledger; only for what the plan says of time


@dataclass(frozen=True, slots=True)
class LatencyPlan:
    """What is measured, and for how long.

    Attributes
    ----------
    behaviours
        Of the service, some of `BEHAVIOURS`.
    rate
        Transactions a second: far below what the job can take, so that what is seen is interference, not saturation.
    blocks
        Of four steps, for each behaviour.
    seconds, lead_seconds
        Of a step: measured, and before that left out.
    warm_up_seconds
        Before the first step.
    accounts
        Of the simulated population.
    share
        Of transactions with a document, in the steps with evidence.
    alert_share
        Of transactions that the model has reviewed: a percentile of a hundred alerts would say nothing.
    """

    behaviours: tuple[str, ...]
    rate: int
    blocks: int
    seconds: float
    lead_seconds: float
    warm_up_seconds: float
    accounts: int
    share: float
    alert_share: float

    @property
    def steps(self) -> int:
        """Of all behaviours."""
        return len(self.behaviours) * self.blocks * len(BLOCK)

    @property
    def minutes(self) -> float:
        """How long it takes, about, once the stack is up."""
        step = self.seconds + self.lead_seconds + DRAIN_SECONDS
        return (self.steps * step + self.warm_up_seconds + 60) / 60


def measure_latency(stack: LocalStack, plan: LatencyPlan, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measure each behaviour of the service; yields its result."""
    with SideService() as service:
        environment = {
            "WEIR_EVIDENCE_VISION_URL": service.url,
            "WEIR_EVIDENCE_VISION_VERSION": VERSION,
            "WEIR_EVIDENCE_VISION_OUTPUT": "probability",
            "WEIR_MODELS_DIR": str(alerting_model(stack.home / "model", plan.alert_share, plan.accounts)),
        }
        job = stack.submit(JOB, job_arguments(1), environment=environment)
        gather = stack.submit(GATHER, environment=environment)
        servers = stack.bootstrap_servers
        reader = Helper(
            "tests.bench.reader", {"servers": servers, "alerts": "weir.alerts", "decisions": "weir.decisions"}
        )
        events = int(plan.rate * (plan.seconds + plan.lead_seconds)) * plan.steps
        events += int(WARM_UP_RATE * plan.warm_up_seconds)
        task = {"servers": servers, "topic": "weir.transactions", "events": events, "accounts": plan.accounts}
        task["end_ms"] = time.time_ns() // 1_000_000
        # Senders of one stream, of which each skips what the others send: events of two streams would be late to
        # each other by days, and late ones cost the entity store more.
        senders = [
            Helper("tests.bench.sender", {**task, "seed": 7, "evidence_share": share})
            for share in (0.0, plan.share, WARM_UP_SHARE)
        ]
        try:
            reader.answer()
            run = Run(stack, job, reader, senders[0])
            say(f"warming up for {plan.warm_up_seconds:.0f} s; all takes about {plan.minutes:.0f} minutes")
            _step(run, senders, len(senders) - 1, WARM_UP_RATE, 0.0, plan.warm_up_seconds)
            for name in plan.behaviours:
                yield _behaviour(stack, service, run, senders, plan, name, say)
        finally:
            for sender in senders:
                sender.stop()
            reader.stop()
        states = {stack.rest.state(job), stack.rest.state(gather)}
        if states != {"RUNNING"}:
            raise BenchError(f"a job did not run to the end: {states}")


def _step(
    run: Run, senders: list[Helper], number: int, rate: int, lead_seconds: float, seconds: float
) -> dict[str, Any]:
    """Let one of the senders send a step; the others skip it."""
    run.sender = senders[number]
    result = run.step(rate, lead_seconds, seconds)
    for other in senders[:number] + senders[number + 1 :]:
        other.ask({"skip": {"count": int(rate * (lead_seconds + seconds))}})
    return result


def _behaviour(
    stack: LocalStack,
    service: SideService,
    run: Run,
    senders: list[Helper],
    plan: LatencyPlan,
    name: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Measure one behaviour of the service against a stream without evidence."""
    if name == "dead":
        service.kill()
    elif name != CONTROL:
        service.set_mode(name)
    seen: dict[str, dict[bool, list[Any]]] = {kind: {False: [], True: []} for kind in ("alerts", "decisions")}
    cores: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    requests, unsustained, ratios = 0, 0, []
    for block in range(plan.blocks):
        for with_evidence in BLOCK:
            asked = requests_so_far(stack)
            workers, began = CpuMeter(_workers(stack)), time.monotonic()
            number = int(with_evidence and name != CONTROL)
            result = _step(run, senders, number, plan.rate, plan.lead_seconds, plan.seconds)
            asking = sum(workers.cores(time.monotonic() - began).values())
            cores[with_evidence].append({**result["cpu_cores"], "python workers": asking})
            requests += requests_so_far(stack) - asked
            unsustained += not result["sustained"]
            for kind, parts in seen.items():
                pairs = run.window[kind]
                parts[with_evidence].append(pairs[:, 1] - pairs[:, 0])
        if not all(len(latencies) for has in (False, True) for latencies in seen["alerts"][has]):
            raise BenchError("a step had no alerts: raise --rate or --seconds")
        ratios.append(_ratio({has: parts[-2:] for has, parts in seen["alerts"].items()}))
        say(f"{name}: block {block + 1} of {plan.blocks}, p99 with to without evidence {ratios[-1]:.2f}")
    together = {kind: {has: np.concatenate(parts[has]) for has in parts} for kind, parts in seen.items()}
    return {
        "service": name,
        "rate": plan.rate,
        "requests": requests,
        "steps_not_sustained": unsustained,
        **{
            f"{kind}_{label}_ms": latency_summary(together[kind][has])
            for kind in seen
            for has, label in ((False, "without"), (True, "with"))
        },
        "p99_ratio": _ratio(seen["alerts"]),
        "p99_ratio_interval": _interval(seen["alerts"]),
        "p99_ratio_of_blocks": ratios,
        "decisions_p99_ratio": _ratio(seen["decisions"]),
        "decisions_p99_ratio_interval": _interval(seen["decisions"]),
        **{
            f"cores_{label}": {
                name: round(float(np.mean([one[name] for one in cores[has]])), 3) for name in cores[has][0]
            }
            for has, label in ((False, "without"), (True, "with"))
        },
    }


def _workers(stack: LocalStack) -> dict[str, int]:
    """Return the Python processes of the TaskManagers: those of the gathering job, the only one in process mode."""
    managers = [one.pid for one in stack.processes() if one.name.startswith("taskmanager")]
    children = [child for pid in managers for child in psutil.Process(pid).children(recursive=True)]
    return {f"{child.pid}": child.pid for child in children if "python" in child.name()}


def _ratio(steps: dict[bool, list[Any]]) -> float:
    return round(percentile_ratio(steps[True], steps[False], 99), 3)


def _interval(steps: dict[bool, list[Any]]) -> list[float]:
    return [round(bound, 3) for bound in ratio_interval(steps[True], steps[False], 99)]


def requests_so_far(stack: LocalStack) -> int:
    """Return how many requests the scoring job has written: the end of their topic."""
    consumer = Consumer({"bootstrap.servers": stack.bootstrap_servers, "group.id": "bench-evidence"})
    try:
        return int(consumer.get_watermark_offsets(TopicPartition("weir.evidence-requests", 0), timeout=10)[1])
    finally:
        consumer.close()
