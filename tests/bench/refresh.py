"""How soon a label changes scores, and what the swaps cost the stream: ``python -m tests.bench.refresh``.

One machine, one fresh stack: broker, scoring job and learner job with default settings, load, reader.

Swap: produce-to-alert and produce-to-decision latency at one rate, open loop, in alternating steps without any update
and with one every 5 s (parameters of a linear learner with its mix), each several times, so that what drifts on the
machine falls on both alike.

Label to score: a label a tenth of a second for a transaction decided before; a version is the number of labels
learned, so the label is in use when the first decision that names its number, or a higher one, can be read (as
written). All of the label's way counts: its turn, learning, publication and its commit, the swap, the decision.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer

from deploy.local.stack import LocalStack, StackOptions
from schemas.records import decode_record, encode_record
from tests.bench.measures import BenchError, Helper, machine
from tests.learner_updates import KEY, an_update

SWAP_SECONDS = 5.0
WARM_UP_RATE = 10_000
LABEL_SECONDS = 0.1


def percentiles(milliseconds: Any) -> dict[str, float]:
    """Summarise latencies."""
    points = {"p50": 50, "p95": 95, "p99": 99, "p99.9": 99.9, "max": 100}
    return {name: round(float(np.percentile(milliseconds, q)), 1) for name, q in points.items()}


class Load:
    """Sender and reader beside a running scoring job."""

    def __init__(self, servers: str, events: int) -> None:
        self._reader = Helper(
            "tests.bench.reader", {"servers": servers, "alerts": "weir.alerts", "decisions": "weir.decisions"}
        )
        self._sender = Helper(
            "tests.bench.sender",
            {"servers": servers, "topic": "weir.transactions", "events": events, "accounts": 50_000, "seed": 7,
             "end_ms": time.time_ns() // 1_000_000},
        )  # fmt: skip
        self._reader.answer()

    def step(self, rate: int, seconds: float, during: Any = None) -> dict[str, Any]:
        """Send at a rate; return latencies in ms of what came out."""
        count = int(rate * seconds)
        self._sender.ask({"prepare": {"count": count}})
        self._take()
        self._sender.tell({"send": {"rate": rate, "count": count}})
        end = time.monotonic() + seconds + 1
        while time.monotonic() < end:
            if during is not None:
                during()
            time.sleep(0.05)
        self._sender.answer()
        return self._take()

    def _take(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "x.npz"
            self._reader.ask({"take": str(file)})
            with np.load(file) as found:
                return {name: found[name][:, 1] - found[name][:, 0] for name in ("alerts", "decisions")}

    def stop(self) -> None:
        """Stop both."""
        self._sender.stop()
        self._reader.stop()


def swaps(load: Load, servers: str, rate: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure steps without and with swaps in turn."""
    producer = Producer({"bootstrap.servers": servers})
    updates = [encode_record("model_update", an_update(seed, is_combined=True)) for seed in (1, 2)]
    found: dict[str, dict[str, list[Any]]] = {kind: {"alerts": [], "decisions": []} for kind in ("without", "with")}
    sent = 0
    for turn in range(2 * rounds):
        kind = "with" if turn % 2 else "without"
        due = time.monotonic() + 1.0

        def swap() -> None:
            nonlocal due, sent
            if time.monotonic() >= due:
                producer.produce("weir.model-updates", updates[sent % 2], KEY)
                producer.poll(0)
                due, sent = due + SWAP_SECONDS, sent + 1

        taken = load.step(rate, seconds, swap if kind == "with" else None)
        for name, values in taken.items():
            found[kind][name].append(values)
        print(f"{kind} swaps: alerts {percentiles(taken['alerts'])}", flush=True)
    producer.produce("weir.model-updates", b"", KEY)
    producer.flush()
    result: dict[str, Any] = {"rate": rate, "seconds": seconds, "rounds": rounds, "swaps": sent}
    for kind, names in found.items():
        result[kind] = {name: percentiles(np.concatenate(values)) for name, values in names.items()}
    result["p99_ratio"] = {
        name: round(result["with"][name]["p99"] / result["without"][name]["p99"], 3) for name in ("alerts", "decisions")
    }
    return result


def label_to_score(load: Load, servers: str, rate: int, labels: int) -> dict[str, Any]:
    """Measure the way of labels to the first decision that knows them."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bench-refresh", "auto.offset.reset": "latest",
                         "isolation.level": "read_uncommitted", "enable.auto.commit": False})  # fmt: skip
    consumer.subscribe(["weir.decisions"])
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
    sent_at: list[float] = []
    seen: list[float] = []
    decided: list[dict[str, Any]] = []
    due = 0.0

    def follow() -> None:
        nonlocal due
        messages = consumer.consume(2_000, 0.02)
        now = time.monotonic()
        if not messages:
            return
        newest = decode_record(messages[-1].value(), name="decision")
        if newest["learner_version"]:
            while len(seen) < min(int(newest["learner_version"]), len(sent_at)):
                seen.append(now)
        decided.append(newest)
        # Of some seconds ago: a label comes after its decision is committed.
        if now >= due and len(decided) > 100 and len(sent_at) < labels:
            due = now + LABEL_SECONDS
            about = decided[-100]
            producer.produce("weir.labels", encode_record("label", {
                "transaction_id": f"{about['transaction_id']}", "account_id": about["account_id"],
                "counterparty_id": about["counterparty_id"], "event_time_ms": about["event_time_ms"],
                "label_time_ms": time.time_ns() // 1_000_000, "is_fraud": len(sent_at) % 2 == 0, "source": "analyst",
                "pattern": None,
            }))  # fmt: skip
            producer.flush()
            sent_at.append(time.monotonic())

    load.step(rate, labels * LABEL_SECONDS + 60, follow)
    consumer.close()
    known = len(seen)
    if not known:
        raise BenchError(f"none of {len(sent_at)} labels reached a score; the learner job's log says why")
    milliseconds = 1000 * (np.array(seen) - np.array(sent_at[:known]))
    return {"rate": rate, "labels": len(sent_at), "in_use": known, **percentiles(milliseconds)}


def main() -> None:
    """Measure, print, and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=5_000, help="Transactions/s of the swap's steps.")
    parser.add_argument("--seconds", type=float, default=30.0, help="Length of a step.")
    parser.add_argument("--rounds", type=int, default=3, help="Steps of each kind.")
    parser.add_argument("--labels", type=int, default=600, help="Labels to follow to the score.")
    parser.add_argument("--label-rate", type=int, default=1_000, help="Transactions/s while labels are followed.")
    parser.add_argument("--into", type=Path, default=Path("docs/bench/refresh.json"), help="Where the result goes.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        stack = LocalStack(Path(home), StackOptions(partitions={"transactions": 2}, taskmanagers=2))
        try:
            stack.up()
            servers = stack.bootstrap_servers
            stack.submit("jobs.score_transactions", ["--parallelism", "1"])
            events = int(options.rate * options.seconds * 2 * options.rounds + 60 * WARM_UP_RATE)
            load = Load(servers, events + int(options.label_rate * (options.labels * LABEL_SECONDS + 90)))
            load.step(WARM_UP_RATE, 45)
            result = {"machine": machine(), "swap": swaps(load, servers, options.rate, options.seconds, options.rounds)}
            stack.submit("jobs.update_learners", environment={"WEIR_START_FROM": "latest"})
            load.step(options.label_rate, 30)
            result["label_to_score"] = label_to_score(load, servers, options.label_rate, options.labels)
            load.stop()
        finally:
            stack.down(delete_data=True)
    options.into.parent.mkdir(parents=True, exist_ok=True)
    options.into.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
