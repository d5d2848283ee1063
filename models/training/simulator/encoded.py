"""The stream as Kafka records: keys and values, ready to send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from models.training.simulator.config import SimulatorConfig
from models.training.simulator.simulate import SimulatedBatch, Simulator
from schemas.columns import I64, Bool, StringColumn
from schemas.encode import encode_labels, encode_transactions


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """Consecutive records of the transactions topic, and of the labels topic: keys are the account ids."""

    keys: list[bytes]
    values: list[bytes]  # Avro, single-object encoding
    event_time_ms: I64
    is_fraud: Bool
    label_keys: list[bytes]
    label_values: list[bytes]

    def __len__(self) -> int:
        return len(self.values)


def encode_stream(config: SimulatorConfig, batch_size: int = 5_000, count: int | None = None) -> Iterator[EncodedBatch]:
    """Yield the simulated stream as records; see `Simulator.batches` for the arguments.

    Cost about 2.5 µs an event on one core.
    """
    for batch in Simulator(config).batches(batch_size, count):
        yield encode_batch(batch)


def encode_batch(batch: SimulatedBatch) -> EncodedBatch:
    """Encode one batch."""
    return EncodedBatch(
        keys=keys_of(batch.transactions.account_id),
        values=encode_transactions(batch.transactions),
        event_time_ms=batch.transactions.event_time_ms,
        is_fraud=batch.is_fraud,
        label_keys=keys_of(batch.labels.account_id),
        label_values=encode_labels(batch.labels),
    )


def keys_of(column: StringColumn) -> list[bytes]:
    """Return the strings of a column without nulls as Kafka keys."""
    data = column.buffer.tobytes()
    ends = column.offsets + column.lengths
    return [data[start:end] for start, end in zip(column.offsets.tolist(), ends.tolist(), strict=True)]
