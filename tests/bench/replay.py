"""Replays of a long live run: equality byte for byte, speed, and what the live job feels.

Run by ``python -m tests.bench.replay``.

One machine, one fresh stack. A live job scores simulated transactions with late, out-of-order, repeated and unreadable
ones, and labels. Then the whole run is replayed in its recorded order, in the log's order with one slot and with two,
and in recorded order with its TaskManager killed in the midst. Every decision is compared with the others' bytes, all
but `processing`. Before and after, ends of the live topics, committed offsets and Redis keys are compared. At last the
live job is measured, open loop, in alternating steps without a replay and with one beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import Any, Self

import numpy as np
import redis
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.cli.replay.planning import plan
from deploy.cli.replay.running import Run, follow, run_file, submit
from deploy.local.stack import LocalStack, StackOptions
from jobs.replay import output_settings
from jobs.settings import Settings, kafka_properties
from jobs.stream.topic_reader import TopicReader
from models.features.catalogue import FEATURE_NAMES
from schemas.ledger_reader import LedgerReader
from schemas.records import decode_record, encode_record
from tests.bench.measures import BenchError, machine
from tests.bench.refresh import Load, percentiles
from tests.recorded import record_stream

PARTITIONS = 2
PEER_RATE = 1_820
"""Events/s of the per-event PyFlink job that does the same work, as docs/performance.md has it from `make bench`."""

Digest = np.ndarray[Any, np.dtype[Any]]


def say(line: str) -> None:
    """Tell where the measurement is."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def send(settings: Settings, events: int) -> int:
    """Produce the stream and labels on every fiftieth transaction; return how many transactions were sent."""
    recorded = record_stream(events, seed=11, accounts=20_000, duplicate_rate=0.01, poison_rate=0.001)
    producer = Producer({**kafka_properties(settings), "linger.ms": 20, "queue.buffering.max.messages": 500_000})
    topics = settings.topics
    for row, value in enumerate(recorded.values):
        partition = zlib.crc32(recorded.keys[row]) % PARTITIONS
        stamp = recorded.timestamp_ms[row]
        while True:
            try:
                producer.produce(topics.transactions, value, recorded.keys[row], partition, timestamp=stamp)
                break
            except BufferError:
                producer.poll(0.1)
        if row % 50 == 0 and recorded.kinds[row] == "good":
            about = decode_record(value or b"", name="transaction")
            label = {name: about[name] for name in ("transaction_id", "account_id", "counterparty_id", "event_time_ms")}
            label |= {"label_time_ms": stamp, "is_fraud": row % 100 == 0, "source": "analyst", "pattern": None}
            producer.produce(topics.labels, encode_record("label", label), timestamp=stamp)
        if row % 1_000 == 0:
            producer.poll(0)
    producer.flush()
    return len(recorded)


def digest(settings: Settings) -> Digest:
    """Return (partition, offset, hash of all but `processing`) of every committed decision, sorted."""
    reader = LedgerReader(len(FEATURE_NAMES))
    rows = []
    with TopicReader(kafka_properties(settings), [settings.topics.decisions]) as topic:
        for batch in topic.until_end():
            found = reader.decode([message.value() for message in batch])
            if not found.is_read.all():
                raise BenchError("a decision cannot be read")
            columns = (found.source_partition, found.source_offset, found.body_hashes().view(np.int64))
            rows.append(np.stack([column.astype(np.int64) for column in columns], axis=1))
    table = np.concatenate([np.zeros((0, 3), np.int64), *rows])
    return table[np.lexsort((table[:, 1], table[:, 0]))]


def totals(settings: Settings) -> dict[str, int]:
    """Count the committed records of the ledgers."""
    topics = settings.topics
    counts = {}
    for name in ("decisions", "dead_letters", "duplicates"):
        with TopicReader(kafka_properties(settings), [getattr(topics, name)]) as reader:
            counts[name] = sum(len(batch) for batch in reader.until_end())
    return counts


def live_state(settings: Settings) -> dict[str, Any]:
    """Return what a replay must not change."""
    found: dict[str, Any] = {}
    for topic in vars(settings.topics).values():
        with TopicReader(kafka_properties(settings), [topic], committed_only=False) as reader:
            found[topic] = reader.total
    admin = AdminClient(kafka_properties(settings))
    for future in admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(settings.group_id)]).values():
        for place in future.result().topic_partitions:
            found[f"offset of {place.topic} {place.partition}"] = place.offset
    client = redis.Redis.from_url(settings.redis_url or "")
    found["redis"] = sorted(key.decode() for key in client.scan_iter())
    return found


class OutputRate:
    """Follows how many decisions of a run are written, from a thread of its own, and gives its rate once it writes.

    As `make bench` takes the rates of the per-event programs: between a tenth and nine tenths of what came out.
    """

    POLL_SECONDS = 0.2
    FIRST_SHARE, LAST_SHARE = 0.1, 0.9

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topics.decisions
        self._consumer = Consumer({**kafka_properties(settings), "group.id": "bench-output"})
        self._curve: list[tuple[float, int]] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._consumer.close()

    def _follow(self) -> None:
        while not self._is_over.wait(self.POLL_SECONDS):
            found = self._consumer.list_topics(timeout=10).topics.get(self._topic)
            places = [] if found is None else [TopicPartition(self._topic, p) for p in found.partitions]
            written = sum(int(self._consumer.get_watermark_offsets(place, timeout=10)[1]) for place in places)
            self._curve.append((time.monotonic(), written))

    def sustained(self) -> int:
        """Return decisions a second; 0 where too little came out to tell."""
        total = self._curve[-1][1] if self._curve else 0
        if not total:
            return 0
        (since, first), (until, last) = (
            next(point for point in self._curve if point[1] >= share * total)
            for share in (self.FIRST_SHARE, self.LAST_SHARE)
        )
        return round((last - first) / (until - since)) if until > since else 0


RUNS = {
    "recorded": ("recorded", 1, False, 4_000),
    "log-1": ("log", 1, False, 4_000),
    "log-2": ("log", 2, False, 1_500),
    "killed": ("recorded", 1, True, 4_000),
}
"""Order, slots, whether its TaskManager is killed, rows of a batch."""
EQUAL = (("live", "recorded"), ("live", "killed"), ("log-1", "log-2"))


class Replays:
    """Runs replays of everything that was sent, and times them."""

    def __init__(self, stack: LocalStack, settings: Settings) -> None:
        self._stack = stack
        self._settings = settings

    def run(self, run_id: str, order: str, parallelism: int, kill: bool = False, **changed: Any) -> dict[str, Any]:
        """Replay to the end; return time and rate, from the job's own start and end."""
        now = int(time.time() * 1000)
        options: dict[str, Any] = {
            "from_ms": now - 86_400_000, "to_ms": now, "partitions": (), "account": None, "model": None, "rules": None,
            "speed": "max", "batch_rows": 4_000, "warm": "window", **changed,
        }  # fmt: skip
        spec = plan(self._settings, run_id, order=order, now_ms=now, **options)
        run = Run(run_file(self._settings, run_id), spec, parallelism)
        with OutputRate(output_settings(self._settings, run_id)) as output:
            submit(self._settings, run)
            if kill:
                self._kill(run)
            state = follow(self._settings, run)
        rest = self._stack.rest
        if state != "FINISHED":
            raise BenchError(f"replay {run_id} {state}: {rest.failure(run.job_id)[:2000]}")
        job = rest.job(run.job_id)
        begun = job["start-time"] if kill else job["timestamps"]["RUNNING"]  # which a restart sets anew
        seconds = (job["end-time"] - begun) / 1000
        result = {"order": order, "parallelism": parallelism, "seconds": round(seconds, 1),
                  "transactions_per_second": round(spec.rows_to_decide / seconds),
                  "sustained_per_second": output.sustained(), "killed": kill}  # fmt: skip
        say(f"{run_id}: {result}")
        return result

    def _kill(self, run: Run) -> None:
        from deploy.cli.replay.running import newest_checkpoint, records_read

        rest = self._stack.rest
        deadline = time.monotonic() + 120
        while not newest_checkpoint(rest, run.job_id) or (records_read(rest, run.job_id) or 0) < run.spec.rows // 4:
            if time.monotonic() > deadline or rest.state(run.job_id) == "FINISHED":
                raise BenchError("the replay was over before it could be killed")
            time.sleep(0.2)
        used = next(t for t in self._taskmanagers(run))
        self._stack.kill_taskmanager(used)
        self._stack.start_taskmanager(used)

    def _taskmanagers(self, run: Run) -> list[int]:
        rest = self._stack.rest
        vertices = rest.job(run.job_id)["vertices"]
        found = rest.get(f"/jobs/{run.job_id}/vertices/{vertices[0]['id']}/taskmanagers")["taskmanagers"]
        return [int(t["taskmanager-id"].split("-")[1]) for t in found]


def main() -> None:
    """Measure, print, and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="Good transactions of the live run.")
    parser.add_argument("--runs", nargs="+", choices=tuple(RUNS), default=tuple(RUNS), help="Which replays (all).")
    parser.add_argument(
        "--peer-rate", type=int, default=PEER_RATE, help=f"Events/s of the per-event PyFlink job ({PEER_RATE:,})."
    )
    parser.add_argument("--rate", type=int, default=2_000, help="Transactions/s while latencies are measured.")
    parser.add_argument("--seconds", type=float, default=40.0, help="Length of a step.")
    parser.add_argument("--rounds", type=int, default=2, help="Steps of each kind; 0 measures no latency.")
    parser.add_argument("--into", type=Path, default=Path("docs/bench/replay.json"), help="Where the result goes.")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as home:
        stack = LocalStack(
            Path(home), StackOptions(partitions={"transactions": PARTITIONS}, taskmanagers=3, high_availability=True)
        )
        try:
            stack.up()
            settings = Settings.load(
                environment={}, files=(Path(home) / "stack.json",), home_dir=Path(home) / "work", parallelism=1
            )
            say("sending")
            sent = send(settings, options.events)
            begun = time.monotonic()
            job_id = stack.submit("jobs.score_transactions", environment=settings.as_environment())
            say(f"scoring {sent:,} records")
            while (done := sum(totals(settings).values())) < sent:
                say(f"{done:,}")
                time.sleep(5)
            counts = totals(settings)
            say(f"live: {counts} after {time.monotonic() - begun:.0f} s")
            live, before = digest(settings), live_state(settings)
            result["live"] = {"sent": sent, **counts}
            replays = Replays(stack, settings)
            result["runs"] = {}
            digests = {"live": live}
            for run_id in options.runs:
                order, parallelism, kill, batch_rows = RUNS[run_id]
                run = replays.run(run_id, order, parallelism, kill, batch_rows=batch_rows)
                own = output_settings(settings, run_id)
                digests[run_id] = digest(own)
                run["totals"] = totals(own)
                result["runs"][run_id] = run
                if sum(run["totals"].values()) != sent:
                    raise BenchError(f"{run_id}: {run['totals']} do not add up to {sent}")
            result["equal"] = {
                f"{a} and {b}": bool(np.array_equal(digests[a], digests[b]))
                for a, b in EQUAL
                if a in digests and b in digests
            }
            result["live_unchanged"] = live_state(settings) == before and stack.rest.state(job_id) == "RUNNING"
            result["times_per_event_job"] = {
                name: round(run["sustained_per_second"] / options.peer_rate, 1) for name, run in result["runs"].items()
            }
            say(json.dumps(result, indent=2))
            if options.rounds:
                result["latency"] = beside(stack, settings, replays, options.rate, options.seconds, options.rounds)
        finally:
            stack.down(delete_data=True)
    options.into.parent.mkdir(parents=True, exist_ok=True)
    options.into.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def beside(
    stack: LocalStack, settings: Settings, replays: Replays, rate: int, seconds: float, rounds: int
) -> dict[str, Any]:
    """Measure the live job in alternating steps without and with a replay beside it."""
    load = Load(settings.bootstrap_servers, int(rate * (seconds * 2 * rounds + 60)))
    load.step(rate, 30)
    found: dict[str, dict[str, list[Any]]] = {kind: {"alerts": [], "decisions": []} for kind in ("without", "with")}
    for turn in range(2 * rounds):
        kind = "with" if turn % 2 else "without"
        thread = threading.Thread(target=replays.run, args=(f"beside-{turn}", "log", 1))
        if kind == "with":
            thread.start()
            time.sleep(25)  # until it is past its start
        for name, values in load.step(rate, seconds).items():
            found[kind][name].append(values)
        if kind == "with":
            thread.join()
        say(f"{kind} a replay: alerts {percentiles(found[kind]['alerts'][-1])}")
    load.stop()
    summary: dict[str, Any] = {"rate": rate, "seconds": seconds, "rounds": rounds}
    for kind, names in found.items():
        summary[kind] = {name: percentiles(np.concatenate(values)) for name, values in names.items()}
    return summary


if __name__ == "__main__":
    main()
