"""The open-loop load as a process of its own: `python -m tests.bench.sender`.

Reads commands on standard input and answers on standard output, one JSON object a line. `prepare` simulates and encodes
the records of a step before its clock starts, so that sending costs little beside what is measured. `send` hands
record i to the client when it is due, at start + i / rate, and gives it that moment as its Kafka timestamp, whether or
not the system keeps up: a latency counted from it includes every wait, also the sender's own.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from confluent_kafka import Producer

from deploy.load.generator import PRODUCER
from models.training.simulator import SimulatorConfig, encode_stream

TICK_SECONDS = 0.002
FLUSH_SECONDS = 60.0


class Sender:
    """Sends one simulated stream, step by step.

    Parameters
    ----------
    task
        `servers`, `topic`, `events` (records of the whole stream), `accounts`, `seed`, `end_ms` (its last event time);
        `evidence_share` where some should come with a document.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self._producer = Producer(
            {**PRODUCER, "bootstrap.servers": task["servers"], "queue.buffering.max.messages": 2_000_000}
        )
        self._topic = task["topic"]
        config = SimulatorConfig(
            seed=task["seed"], accounts=task["accounts"], evidence_share=task.get("evidence_share", 0.0)
        )
        self._stream = self._records(config.ending_at(task["end_ms"], task["events"]))
        self._ready: tuple[list[bytes], list[bytes]] = ([], [])

    def _records(self, config: SimulatorConfig) -> Iterator[tuple[list[bytes], list[bytes]]]:
        for batch in encode_stream(config, 10_000):
            yield batch.keys, list(batch.values)

    def prepare(self, count: int) -> dict[str, Any]:
        """Have at least `count` records ready."""
        keys, values = self._ready
        while len(keys) < count:
            more_keys, more_values = next(self._stream)
            keys += more_keys
            values += more_values
        gc.collect()
        gc.freeze()  # millions of byte strings hold nothing that a collection during the step could free
        return {"ready": len(keys)}

    def skip(self, count: int) -> dict[str, Any]:
        """Leave out the next `count` records: another sender of the same stream has sent them."""
        self.prepare(count)
        for ready in self._ready:
            del ready[:count]
        return {"skipped": count}

    def send(self, rate: float, count: int) -> dict[str, Any]:
        """Send `count` records at `rate` a second; 0 sends as fast as possible."""
        self.prepare(count)
        keys, values = self._ready
        produce, topic, poll = self._producer.produce, self._topic, self._producer.poll
        start = time.perf_counter()
        start_ms = time.time() * 1000
        due_ms = start_ms + np.arange(count) * (1000 / rate if rate else 0)
        due_ms = due_ms.astype(np.int64).tolist()
        sent, most_behind = 0, 0.0
        while sent < count:
            now = time.perf_counter()
            due = min(count, int((now - start) * rate) + 1) if rate else min(count, sent + 10_000)
            if rate:
                most_behind = max(most_behind, now - start - sent / rate)
            for i in range(sent, due):
                try:
                    produce(topic, values[i], keys[i], timestamp=due_ms[i])
                except BufferError:
                    poll(0.05)
                    produce(topic, values[i], keys[i], timestamp=due_ms[i])
            sent = due
            poll(0)
            if rate:
                time.sleep(TICK_SECONDS)
        elapsed = time.perf_counter() - start
        left = self._producer.flush(FLUSH_SECONDS)
        del keys[:count], values[:count]
        return {
            "sent": sent,
            "lost": left,
            "start_ms": start_ms,
            "end_ms": start_ms + elapsed * 1000,
            "seconds": elapsed,
            "most_behind_ms": most_behind * 1000,
        }


def main() -> None:
    """Obey commands until standard input ends."""
    sender = Sender(json.loads(sys.stdin.readline()))
    gc.disable()
    for line in sys.stdin:
        ((name, arguments),) = json.loads(line).items()
        answer = {"send": sender.send, "prepare": sender.prepare, "skip": sender.skip}[name](**arguments)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
