"""From times to offsets: what a replay reads, checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from jobs.stream.replay.spec import Span

TIMEOUT_SECONDS = 10.0
_GROUP = "weir-replay-reader"  # librdkafka wants a name even of those who never join or commit


class RangeError(Exception):
    """There is nothing to replay in a range; the message says why, and what there is."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a partition holds, and where times lie in it."""

    partition: int
    low: int
    high: int
    warm: int
    begin: int
    end: int
    stop: int


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets of the transactions and labels of a replay."""

    transactions: tuple[Span, ...]
    labels: tuple[Span, ...]
    is_from_beginning: bool
    first_ms: int  # record timestamps of the transactions to decide on
    last_ms: int
    cut_ms: int | None = None  # since when the log is complete; None where it reaches back as far as it was asked for


def moment(time_ms: int) -> str:
    """Show a time."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def resolve(
    properties: Mapping[str, Any],
    transactions: str,
    labels: str,
    from_ms: int,
    to_ms: int,
    warm_ms: int,
    now_ms: int,
    partitions: Sequence[int] = (),
    margin_ms: int = 0,
) -> Range:
    """Ask the broker where a stretch of time lies.

    Parameters
    ----------
    properties
        Of librdkafka: address and security.
    transactions, labels
        Topics. The second may be missing.
    from_ms, to_ms
        Record timestamps: the first to decide on, and the one after the last.
    warm_ms
        Record timestamp from which on the log is read to fill the windows; at most `from_ms`.
    now_ms
        The time, to tell a range in the future.
    partitions
        Those to decide on, to check that they exist.
    margin_ms
        How far beyond the end the log is read, for what the live run took in before the end of another partition.

    Raises
    ------
    RangeError
        If the range is empty, in the future, has expired, or a partition is unknown.
    """
    if to_ms <= from_ms:
        raise RangeError(f"the range is empty: it ends at {moment(to_ms)}, not after its begin at {moment(from_ms)}")
    if from_ms > now_ms:
        raise RangeError(f"the range begins in the future, at {moment(from_ms)}; it is {moment(now_ms)}")
    with _asking(properties) as consumer:
        bounds, of_labels = _all_bounds(consumer, transactions, labels, from_ms, to_ms, warm_ms, margin_ms, partitions)
        _check(consumer, transactions, bounds, from_ms, to_ms)
        times = [
            time
            for b in bounds
            if b.end > b.begin
            for offset in (b.begin, b.end - 1)
            if (time := _time_at(consumer, transactions, b.partition, offset)) is not None
        ]
    first_ms, last_ms = min(times, default=from_ms), max(times, default=from_ms)
    return _range(transactions, labels, bounds, of_labels, first_ms, last_ms)


def resolve_place(
    properties: Mapping[str, Any],
    transactions: str,
    labels: str,
    partition: int,
    offset: int,
    time_ms: int,
    warm_ms: int,
    margin_ms: int,
) -> Range:
    """Ask the broker for what precedes one transaction, whose place is known.

    Parameters
    ----------
    properties, transactions, labels, warm_ms, margin_ms
        As of `resolve`.
    partition, offset
        Where the transaction lies.
    time_ms
        Its record timestamp.

    Returns
    -------
    Range
        With that transaction alone to decide on; `cut_ms` tells whether the log reaches back to `warm_ms`.

    Raises
    ------
    RangeError
        If the transaction is not there any more.
    """
    with _asking(properties) as consumer:
        bounds, of_labels = _all_bounds(
            consumer, transactions, labels, time_ms, time_ms, warm_ms, margin_ms, (partition,)
        )
        own = next(b for b in bounds if b.partition == partition)
        if not own.low <= offset < own.high:
            why = "it has expired" if offset < own.low else "the topic was made anew"
            raise RangeError(
                f"offset {offset} of {transactions}, partition {partition}, is not there any more ({why}): the log "
                f"holds offsets {own.low} to {own.high - 1}"
            )
        cuts = []
        for topic, of_topic in ((transactions, bounds), (labels, of_labels)):
            for b in of_topic:
                if b.low > 0:  # the broker deleted what was older; of an empty partition nothing tells the time
                    first = _time_at(consumer, topic, b.partition, b.low) if b.high > b.low else None
                    cuts.append(time_ms if first is None else first)
    # Timestamps need not ascend in a partition, so a time may lie on the other side of an offset than it should.
    only = replace(own, warm=min(own.warm, offset), begin=offset, end=offset + 1, stop=max(own.stop, offset + 1))
    bounds = [only if b is own else b for b in bounds]
    cut_ms = max((cut for cut in cuts if cut > warm_ms), default=None)
    return replace(_range(transactions, labels, bounds, of_labels, time_ms, time_ms), cut_ms=cut_ms)


@contextmanager
def _asking(properties: Mapping[str, Any]) -> Iterator[Consumer]:
    consumer = Consumer({"group.id": _GROUP, "enable.auto.commit": False, "log_level": 2, **properties})
    try:
        yield consumer
    except KafkaException as error:
        raise RangeError(f"Kafka does not answer ({error.args[0].str()}): is it up ('weir status')?") from error
    finally:
        consumer.close()


def _range(
    transactions: str, labels: str, bounds: list[Bounds], of_labels: list[Bounds], first_ms: int, last_ms: int
) -> Range:
    spans = tuple(Span(transactions, b.partition, b.warm, b.begin, b.end, b.stop) for b in bounds)
    is_from_beginning = all(b.warm == b.low == 0 for b in (*bounds, *of_labels))
    of_label_spans = tuple(Span(labels, b.partition, b.warm, b.warm, b.end, b.stop) for b in of_labels)
    return Range(spans, of_label_spans, is_from_beginning, first_ms, last_ms)


def _all_bounds(
    consumer: Consumer,
    transactions: str,
    labels: str,
    from_ms: int,
    to_ms: int,
    warm_ms: int,
    margin_ms: int,
    partitions: Sequence[int],
) -> tuple[list[Bounds], list[Bounds]]:
    """Return the bounds of every partition of both topics; those named must be there."""
    known = consumer.list_topics(timeout=TIMEOUT_SECONDS).topics
    if transactions not in known:
        raise RangeError(f"topic {transactions} does not exist: 'weir up' makes it; see --topic-prefix")
    numbers = sorted(known[transactions].partitions)
    if unknown := sorted(set(partitions) - set(numbers)):
        raise RangeError(f"{transactions} has no partition {unknown[0]}; it has {numbers[0]} to {numbers[-1]}")
    bounds = [_bounds(consumer, transactions, n, from_ms, to_ms, warm_ms, margin_ms) for n in numbers]
    of_labels = []
    if labels in known:
        of_labels = [
            _bounds(consumer, labels, n, warm_ms, to_ms, warm_ms, margin_ms) for n in sorted(known[labels].partitions)
        ]
    return bounds, of_labels


def _bounds(
    consumer: Consumer, topic: str, partition: int, from_ms: int, to_ms: int, warm_ms: int, margin_ms: int
) -> Bounds:
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT_SECONDS)

    def at(time_ms: int) -> int:
        asked = TopicPartition(topic, partition, max(0, time_ms))
        found = consumer.offsets_for_times([asked], timeout=TIMEOUT_SECONDS)[0].offset
        return int(high) if found < 0 else int(found)

    begin = at(from_ms)
    end = max(begin, at(to_ms))
    stop = max(end, at(to_ms + margin_ms))
    return Bounds(partition, int(low), int(high), at(warm_ms), begin, end, stop)


def _check(consumer: Consumer, topic: str, bounds: list[Bounds], from_ms: int, to_ms: int) -> None:
    if all(b.high == b.low for b in bounds):
        raise RangeError(f"{topic} holds no records")
    first = _first_time(consumer, topic, bounds)
    is_cut = any(b.low > 0 for b in bounds)  # the broker deleted what was older
    if first is not None and to_ms <= first:
        why = "the records of that time have expired" if is_cut else "nothing was produced then"
        raise RangeError(f"{why}: the oldest record of {topic} is of {moment(first)}; choose a later range")
    if first is not None and is_cut and from_ms < first:
        raise RangeError(
            f"the begin of the range has expired: the oldest record of {topic} is of {moment(first)}; begin there, or "
            "keep records longer (retention.ms of the topic)"
        )
    if not any(b.end > b.begin for b in bounds):
        raise RangeError(f"no transaction was produced from {moment(from_ms)} to {moment(to_ms)}")


def _first_time(consumer: Consumer, topic: str, bounds: list[Bounds]) -> int | None:
    times = [_time_at(consumer, topic, b.partition, b.low) for b in bounds if b.high > b.low]
    return min((time for time in times if time is not None), default=None)


def _time_at(consumer: Consumer, topic: str, partition: int, offset: int) -> int | None:
    consumer.assign([TopicPartition(topic, partition, offset)])
    message = consumer.poll(TIMEOUT_SECONDS)
    return None if message is None or message.error() is not None else int(message.timestamp()[1])
