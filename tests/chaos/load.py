"""Sends the input in its order at a rate that can be changed, in a thread of its own, whatever the broker does."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from confluent_kafka import KafkaError, Message, Producer

from tests.chaos.stream import Row
from tests.recorded import Recorded

PIECE_SECONDS = 0.01
FLUSH_SECONDS = 180.0


class Load:
    """The sender.

    Parameters
    ----------
    servers
        Of the broker.
    topic
        Of the transactions.
    partitions, rows
        The input, and its order.
    """

    def __init__(self, servers: str, topic: str, partitions: Sequence[Recorded], rows: Sequence[Row]) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,  # what is sent again after a fault of the broker must not come twice
                "message.timeout.ms": 0,  # nor be given up
                "message.max.bytes": 16_000_000,
                "queue.buffering.max.kbytes": 1_000_000,
                "queue.buffering.max.messages": 2_000_000,
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        self._topic, self._partitions, self._rows = topic, partitions, rows
        self._changed = threading.Condition()
        self._limit, self._rate, self._is_over = 0, 0.0, False
        self._next = 0
        self.refused: list[str] = []
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    @property
    def sent(self) -> int:
        """Rows handed to the producer so far."""
        return self._next

    def ends(self) -> dict[int, int]:
        """Return the offset that the next row of each partition will get."""
        with self._changed:
            ends = dict.fromkeys(range(len(self._partitions)), 0)
            for row in self._rows[: self._next]:
                ends[row.partition] = row.offset + 1
            return ends

    def go(self, limit: int, rate: float) -> None:
        """Send up to a row at so many a second; does not wait."""
        with self._changed:
            self._limit, self._rate = min(limit, len(self._rows)), rate
            self._changed.notify_all()

    def wait(self, timeout_seconds: float) -> None:
        """Wait until that row has been sent."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._next >= self._limit, timeout_seconds):
                raise TimeoutError(f"{self._next} of {self._limit} rows sent after {timeout_seconds:.0f} s")

    def finish(self) -> None:
        """Wait until the broker has everything, and end."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._thread.join(FLUSH_SECONDS)
        left = self._producer.flush(FLUSH_SECONDS)
        if left or self.refused:
            raise RuntimeError(
                f"{left} records not taken by the broker, {len(self.refused)} refused: {self.refused[:3]}"
            )

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            with self._changed:
                if self._next >= self._limit:
                    self._changed.notify_all()
                    if self._is_over:
                        return
                    self._changed.wait(0.1)
                    due = time.monotonic()
                else:
                    count = int((time.monotonic() - due) * self._rate)
                    if count:
                        due += count / self._rate
                        for row in self._rows[self._next : min(self._limit, self._next + count)]:
                            self._send(row)
                            self._next += 1
            self._producer.poll(PIECE_SECONDS)

    def _send(self, row: Row) -> None:
        recorded, i = self._partitions[row.partition], row.offset
        self._producer.produce(
            self._topic, recorded.values[i], recorded.keys[i], row.partition,
            timestamp=recorded.timestamp_ms[i], on_delivery=self._note,
        )  # fmt: skip

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.refused.append(f"{message.partition()}: {error.str()}")
