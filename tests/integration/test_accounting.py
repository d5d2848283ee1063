"""The books balance: in = decisions + dead letters + duplicates, counted from the topics.

Invariant: for a read_committed reader every record sent to `transactions` is in exactly one of the three topics, once;
and each dead letter has the key and the bytes of its original, and its place and the cause in headers.

``WEIR_ACCOUNTING_EVENTS`` sets the number of good events (20,000 without it): a million takes some minutes.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from confluent_kafka import KafkaError, Message, Producer

from deploy.local.stack import LocalStack
from models.training.simulator import Delivery, FaultInjector, FaultPlan, SimulatorConfig, encode_stream
from models.training.simulator.faults import KINDS
from models.training.simulator.poison import POISONS
from schemas.framing import single_object_header
from schemas.versions import current
from tests.recorded import record_stream
from tests.scoring_job import ScoringJob
from tests.waiting import wait_until

EVENTS = int(os.environ.get("WEIR_ACCOUNTING_EVENTS", "20000"))
PARTITIONS = 4
PER_SECOND = 15_000
# The slowest machine that we test on scores 2,000 events a second beside everything else it does; the rest is for
# the start of the stack and the job.
LIMIT_SECONDS = 240 + EVENTS / 2_000

pytestmark = [pytest.mark.integration, pytest.mark.flink, pytest.mark.timeout(LIMIT_SECONDS + 120)]

Place = tuple[int, int]


@dataclass(slots=True)
class Sent:
    """What was sent, and where the broker put it."""

    good: set[bytes] = field(default_factory=set)  # transaction ids
    repeated: dict[Place, tuple[bytes, bytes | None]] = field(default_factory=dict)
    poison: dict[Place, tuple[bytes, bytes | None, str]] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    @property
    def records(self) -> int:
        """Every record."""
        return sum(self.kinds.values())


def transaction_id_of(value: bytes) -> bytes:
    """Read the first field of a transaction or decision in single-object encoding: at millions a test, by hand."""
    length, shift, at = 0, 0, len(single_object_header(current("transaction")))
    while True:
        byte = value[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value[at : at + (length >> 1)]


class Sender:
    """Sends deliveries to the partition of their key, at a rate."""

    def __init__(self, job: ScoringJob) -> None:
        self._topic = job.settings.topics.transactions
        self._producer = Producer(
            {
                "bootstrap.servers": job.settings.bootstrap_servers,
                "enable.idempotence": True,
                "message.max.bytes": 16_000_000,
                "queue.buffering.max.kbytes": 1_000_000,
                "queue.buffering.max.messages": 2_000_000,
                "linger.ms": 5,
                "compression.type": "lz4",
            }
        )
        self.sent = Sent()
        self._begun = time.monotonic()

    def send(self, delivery: Delivery) -> None:
        """Send records; note the places of those that are not plainly good."""
        sent, producer, topic = self.sent, self._producer, self._topic
        for i, (key, value, kind) in enumerate(
            zip(delivery.keys, delivery.values, delivery.kind.tolist(), strict=True)
        ):
            if kind == 0:
                assert value is not None
                sent.good.add(transaction_id_of(value))
                producer.produce(topic, value, key, sum(key) % PARTITIONS)
            else:
                noted = self._note(key, value, KINDS[kind])
                producer.produce(topic, value, key, sum(key) % PARTITIONS, on_delivery=noted)
            if i % 500 == 0:
                producer.poll(max(0.0, self._begun + (sent.records + i) / PER_SECOND - time.monotonic()))
        sent.kinds.update(KINDS[kind] for kind in delivery.kind.tolist())

    def finish(self) -> Sent:
        """Wait until the broker has everything."""
        assert self._producer.flush(120) == 0
        assert not self.sent.failed
        return self.sent

    def _note(self, key: bytes, value: bytes | None, kind: str) -> Callable[[KafkaError | None, Message], None]:
        def delivered(error: KafkaError | None, message: Message) -> None:
            place = (message.partition(), message.offset())
            if error is not None:
                self.sent.failed.append(str(error))
            elif kind == "duplicate":
                self.sent.repeated[place] = (key, value)
            else:
                self.sent.poison[place] = (key, value, POISONS[kind].error)

        return delivered


def send_everything(job: ScoringJob) -> Sent:
    """Send the stream: 2% duplicates, 1% poison, at least one record of every kind of it."""
    sender = Sender(job)
    injector = FaultInjector(
        FaultPlan(
            seed=4, duplicate_rate=0.02, late_rate=0.02, out_of_order_rate=0.1, poison_rate=0.01,
            duplicate_delay_ms=600_000,
        )
    )  # fmt: skip
    config = SimulatorConfig(seed=4, accounts=max(1_000, EVENTS // 20))
    for batch in encode_stream(config, count=EVENTS):
        sender.send(injector.apply(batch.keys, batch.values, batch.event_time_ms))
    sender.send(injector.flush())
    # Rare kinds, such as records of 10 MB, may not have come by chance.
    missing = tuple(kind for kind in POISONS if not sender.sent.kinds[kind])
    if missing:
        extra = record_stream(200, seed=5, duplicate_rate=0, poison_rate=0.1, poison_kinds=missing, every_kind=True)
        for row, kind in enumerate(extra.kinds):
            if kind != "good":
                sender.send(Delivery([extra.keys[row]], [extra.values[row]], np.array([KINDS.index(kind)], np.uint8)))
    return sender.finish()


def headers_of(message: Message) -> dict[str, str]:
    return {name.removeprefix("__connect.errors."): text.decode() for name, text in message.headers()}


def place_of(headers: dict[str, str]) -> Place:
    return int(headers["partition"]), int(headers["offset"])


def test_every_record_is_a_decision_a_dead_letter_or_a_duplicate(
    stack: LocalStack, request: pytest.FixtureRequest
) -> None:
    """Counts are of records that a read_committed reader gets: offsets also count the markers of transactions."""
    with ScoringJob(stack, request.node.name, PARTITIONS) as job:
        topics = job.settings.topics
        logs = {name: job.read(name) for name in (topics.decisions, topics.dead_letters, topics.duplicates)}
        sent = send_everything(job)
        decided: Counter[bytes] = Counter()

        def read_on() -> int:
            new = logs[topics.decisions].poll()
            decided.update(transaction_id_of(message.value()) for message in new)
            logs[topics.decisions].messages.clear()  # a million of them is a gigabyte
            logs[topics.dead_letters].poll()
            logs[topics.duplicates].poll()
            return decided.total() + len(logs[topics.dead_letters]) + len(logs[topics.duplicates])

        wait_until(lambda: read_on() >= sent.records, LIMIT_SECONDS, f"{sent.records} records are accounted for")
        job.wait_for_checkpoints()
        accounted = read_on()
        while (now := read_on()) > accounted:
            accounted = now

    counts = {"decisions": decided.total(), **{n: len(logs[n]) for n in (topics.dead_letters, topics.duplicates)}}
    assert counts == {
        "decisions": len(sent.good), topics.dead_letters: len(sent.poison), topics.duplicates: len(sent.repeated),
    }  # fmt: skip
    assert accounted == sent.records
    assert decided.keys() == sent.good
    assert sent.kinds.keys() == set(KINDS), "every kind of poison has to be tried"

    letters = {}
    for message in logs[topics.dead_letters].messages:
        headers = headers_of(message)
        assert headers["topic"] == topics.transactions
        assert headers["stage"] in ("decode", "validate")
        assert headers["exception.message"]
        letters[place_of(headers)] = (message.key(), message.value(), headers["exception.class.name"])
    # Compared one by one: a record of 10 MB in a failure's message helps nobody.
    wrong = [place for place, letter in letters.items() if sent.poison.get(place) != letter]
    assert not wrong, f"{len(wrong)} dead letters are not what was sent, the first: {sent.poison.get(wrong[0])!r:.500}"
    assert letters.keys() == sent.poison.keys()
    repeated = {place_of(headers_of(m)): (m.key(), m.value()) for m in logs[topics.duplicates].messages}
    assert repeated.keys() == sent.repeated.keys()
    assert repeated == sent.repeated
