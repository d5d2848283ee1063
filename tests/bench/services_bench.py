"""Dynamic batching beside batch size 1, at 100 concurrent clients: `python -m tests.bench.services_bench`.

A service runs as a process of its own; this one sends requests, closed loop, each client on one connection that stays
open. Times of the first seconds are dropped. Beside throughput and latency stands the processor time that the service
spent on a request, which depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.measures import machine
from tests.service_process import ServiceProcess, running_service

WARM_SECONDS = 2.0
Instances = Callable[[int], dict[str, Any]]


def memos(max_words: int, seed: int = 5) -> Instances:
    """Distinct memos and invoice lines, as the text model is judged on; those of at most `max_words` words."""
    from models.training.text.texts import make_texts

    made = [text.text for text in make_texts(5_000, seed, held_out=True) if len(text.text.split()) <= max_words]
    texts = [f"{text} {number}" for number, text in enumerate(made)]
    return lambda number: {"text": texts[number % len(texts)]}


def images(max_words: int, seed: int = 5) -> Instances:
    """Images of 512 x 512: what they show does not change what they cost."""
    del max_words
    from tests.toy_service import an_image

    encoded = [base64.b64encode(an_image("JPEG", (512, 512), seed + k)).decode() for k in range(16)]
    return lambda number: {"image": {"b64": encoded[number % len(encoded)]}}


WORKLOADS: dict[str, Callable[[int], Instances]] = {"text": memos, "vision": images}


async def one_client(port: int, path: str, instances: Instances, first: int, step: int, until: float) -> list[Any]:
    """Send requests until the time is up; returns (end, seconds, status) of each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done, number = [], first
    try:
        while time.perf_counter() < until:
            body = json.dumps({"instances": [instances(number)]}).encode()
            number += step
            started = time.perf_counter()
            writer.write(
                b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body)) + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            ended = time.perf_counter()
            done.append((ended, ended - started, int(head[9:12])))
    finally:
        writer.close()
    return done


async def load(port: int, model: str, instances: Instances, clients: int, seconds: float) -> dict[str, Any]:
    """Keep `clients` requests on their way, and tell how it went once warm."""
    begun = time.perf_counter()
    until = begun + WARM_SECONDS + seconds
    path = f"/v1/models/{model}:predict"
    runs = await asyncio.gather(*(one_client(port, path, instances, k, clients, until) for k in range(clients)))
    counted = [one for run in runs for one in run if begun + WARM_SECONDS <= one[0] <= until]
    times = np.array([one[1] for one in counted]) * 1000
    return {
        "requests": len(counted),
        "refused": sum(one[2] != 200 for one in counted),
        "per_second": round(len(counted) / seconds, 1),
        "p50_ms": round(float(np.percentile(times, 50)), 1),
        "p99_ms": round(float(np.percentile(times, 99)), 1),
    }


def totals(service: ServiceProcess) -> dict[str, float]:
    """Counters that are read before and after."""
    names = {
        "process_cpu_seconds_total": "cpu",
        "weir_service_batch_size_sum": "instances",
        "weir_service_batch_size_count": "batches",
    }
    text = service.ask("GET", "/metrics")[1].decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {names[sample.name]: sample.value for sample in samples if sample.name in names}


def measure(name: str, batch_size: int, clients: int, seconds: float, threads: int, max_words: int) -> dict[str, Any]:
    """One run of one setting, in a process that is started for it."""
    instances = WORKLOADS[name](max_words)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_service(
            "models.services",
            name,
            log=Path(folder) / "log",
            max_batch_size=batch_size,
            intra_op_threads=threads,
            use_gpu=False,
        ) as service,
    ):
        before = totals(service)
        result = asyncio.run(load(service.port, name, instances, clients, seconds))
        after = totals(service)
    spent = {key: after[key] - before[key] for key in after}
    return {
        "max_batch_size": batch_size,
        **result,
        "mean_batch_size": round(spent["instances"] / max(1.0, spent["batches"]), 2),
        "cpu_ms_per_request": round(1000 * spent["cpu"] / max(1.0, spent["instances"]), 3),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", choices=sorted(WORKLOADS), default="text")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each run, after it is warm")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime, for one operator")
    parser.add_argument("--max-words", type=int, default=1_000, help="of a text: longer ones are left out")
    parser.add_argument("--rounds", type=int, default=2, help="how often both settings are measured, in turn")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args(argv)
    runs = []
    for _ in range(options.rounds):
        for batch_size in (1, options.batch_size):
            run = measure(
                options.service, batch_size, options.clients, options.seconds, options.threads, options.max_words
            )
            print(json.dumps(run), file=sys.stderr)
            runs.append(run)
    alone = [run["per_second"] for run in runs if run["max_batch_size"] == 1]
    together = [run["per_second"] for run in runs if run["max_batch_size"] != 1]
    found = {
        "service": options.service,
        "clients": options.clients,
        "threads": options.threads,
        "runs": runs,
        "throughput_ratio": round(float(np.median(together) / np.median(alone)), 2),
        "machine": machine(),
    }
    print(json.dumps(found, indent=2))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
