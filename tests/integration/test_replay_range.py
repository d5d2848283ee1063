"""Ranges that cannot be replayed get a sentence before anything starts."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from jobs.stream.replay.range import RangeError, resolve, resolve_place

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

MINUTE_MS = 60_000


@pytest.fixture
def times(broker: str, new_topic: Callable[..., str]) -> tuple[dict[str, str], str, int]:
    """Produce a record a minute for an hour to two partitions; return properties, topic and the first timestamp."""
    topic = new_topic("transactions", partitions=2)
    begin = int(time.time() * 1000) - 60 * MINUTE_MS
    producer = Producer({"bootstrap.servers": broker})
    for i in range(60):
        producer.produce(topic, b"x", partition=i % 2, timestamp=begin + i * MINUTE_MS)
    producer.flush()
    return {"bootstrap.servers": broker}, topic, begin


def delete_before(properties: dict[str, str], topic: str, offsets: dict[int, int]) -> None:
    admin = AdminClient(properties)  # named: a client that nothing holds is freed, and its futures never end
    for future in admin.delete_records([TopicPartition(topic, p, offset) for p, offset in offsets.items()]).values():
        future.result(timeout=30)


def asked(times: tuple[dict[str, str], str, int], first: float, last: float, partitions: tuple[int, ...] = ()):  # type: ignore[no-untyped-def]
    properties, topic, begin = times
    at = [begin + round(minutes * MINUTE_MS) for minutes in (first, last)]
    return resolve(
        properties, topic, f"{topic}-none", at[0], at[1], 0, begin + 60 * MINUTE_MS, partitions, 2 * MINUTE_MS
    )


def test_times_become_offsets_of_every_partition(times: tuple[dict[str, str], str, int]) -> None:
    found = asked(times, 10, 20)
    assert [(s.warm, s.begin, s.end, s.stop) for s in found.transactions] == [(0, 5, 10, 11), (0, 5, 10, 11)]
    assert found.is_from_beginning
    assert (found.first_ms - times[2], found.last_ms - times[2]) == (10 * MINUTE_MS, 19 * MINUTE_MS)
    assert found.labels == ()


@pytest.mark.parametrize(
    ("first", "last", "partitions", "message"),
    [
        (20, 20, (), "is empty"),
        (30, 20, (), "is empty"),
        (61, 70, (), "in the future"),
        (-30, -10, (), "nothing was produced then"),
        (10.1, 10.9, (), "no transaction was produced"),
        (0, 60, (0, 7), "no partition 7"),
    ],
)
def test_ranges_without_anything_are_refused(
    times: tuple[dict[str, str], str, int], first: float, last: float, partitions: tuple[int, ...], message: str
) -> None:
    with pytest.raises(RangeError, match=message):
        asked(times, first, last, partitions)


def test_what_the_broker_has_deleted_is_said_to_have_expired(times: tuple[dict[str, str], str, int]) -> None:
    properties, topic, _ = times
    delete_before(properties, topic, {0: 20, 1: 20})
    with pytest.raises(RangeError, match="have expired"):
        asked(times, 0, 20)
    with pytest.raises(RangeError, match="the begin of the range has expired"):
        asked(times, 10, 50)
    assert not asked(times, 45, 50).is_from_beginning


def test_an_unknown_topic_and_an_empty_one_are_refused(broker: str, topic: str) -> None:
    now = int(time.time() * 1000)
    for name, message in (("no-such-topic", "does not exist"), (topic, "holds no records")):
        with pytest.raises(RangeError, match=message):
            resolve({"bootstrap.servers": broker}, name, "none", now - 1000, now, 0, now)


def test_one_place_is_found_whatever_the_timestamps_around_it(broker: str, topic: str) -> None:
    properties = {"bootstrap.servers": broker}
    begin = int(time.time() * 1000) - 60 * MINUTE_MS
    minutes = [10, 0, 30, 5, 40, 20]
    producer = Producer(properties)
    for minute in minutes:
        producer.produce(topic, b"x", partition=0, timestamp=begin + minute * MINUTE_MS)
    producer.flush()

    def asked_for(offset: int, warm: int = -60):  # type: ignore[no-untyped-def]
        at = begin + minutes[offset] * MINUTE_MS if offset < len(minutes) else begin
        return resolve_place(properties, topic, f"{topic}-none", 0, offset, at, begin + warm * MINUTE_MS, MINUTE_MS)

    for offset in range(len(minutes)):
        found = asked_for(offset)
        (span,) = found.transactions
        assert (span.begin, span.end) == (offset, offset + 1)
        assert span.warm == 0
        assert span.stop > offset
        assert (found.is_from_beginning, found.cut_ms) == (True, None)
    assert asked_for(3, warm=35).transactions[0].warm == 3, "no later than the place itself"
    with pytest.raises(RangeError, match="made anew"):
        asked_for(6)
    delete_before(properties, topic, {0: 2})
    with pytest.raises(RangeError, match="has expired"):
        asked_for(1)
    cut = asked_for(3)
    assert (cut.is_from_beginning, cut.cut_ms) == (False, begin + 30 * MINUTE_MS)
    assert asked_for(3, warm=31).cut_ms is None
