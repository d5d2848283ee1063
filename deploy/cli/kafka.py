"""What the commands that talk to Kafka share: errors as one sentence, and sending with a count."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from deploy.cli.context import fail
from deploy.load.generator import FLUSH_SECONDS, PRODUCER
from jobs.settings import Settings, kafka_properties
from jobs.stream.topic_reader import ReadError, TopicReader

Headers = Sequence[tuple[str, bytes]]


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what Kafka, files and records can do to us into one line and status 1; Ctrl-C ends in order."""
    from schemas.errors import SerializationError

    try:
        yield
    except (ReadError, SerializationError) as error:
        fail(str(error))
    except KafkaException as error:
        detail = error.args[0]
        fail(f"Kafka: {detail.str() if isinstance(detail, KafkaError) else detail}")
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def client_properties(settings: Settings) -> dict[str, Any]:
    """Address and security."""
    return kafka_properties(settings)


def check_topic(settings: Settings, topic: str) -> None:
    """Refuse early, in a sentence, where the broker or the topic is not there."""
    TopicReader(client_properties(settings), [topic]).close()


class Sender:
    """Sends records one by one, remembers what the broker refused, and makes sure of the rest at the end."""

    def __init__(self, settings: Settings, topic: str) -> None:
        check_topic(settings, topic)
        self._producer = Producer({**PRODUCER, **client_properties(settings)})
        self._topic = topic
        self.refused: list[str] = []

    def send(
        self, key: bytes | None, value: bytes | None, timestamp_ms: int = 0, headers: Headers | None = None
    ) -> None:
        """Hand a record over; waits where the client's queue is full. A timestamp of 0 means now."""
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value,
                    key,
                    on_delivery=self._on_delivery,
                    timestamp=timestamp_ms,
                    headers=None if headers is None else list(headers),
                )
                break
            except BufferError:
                self._producer.poll(0.05)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the broker has everything; what it did not take in time counts as refused."""
        left = self._producer.flush(FLUSH_SECONDS)
        self.refused.extend(["no answer from the broker"] * left)

    def _on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.refused.append(error.str())
