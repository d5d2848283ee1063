"""Batches of records as columns: what travels between the decoder, the features and the scoring core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

CHANNELS = (
    "other", "card_present", "card_not_present", "atm", "transfer", "instant_transfer", "wire", "cash", "direct_debit",
)  # fmt: skip
"""Symbols of the schema's enum `Channel`, in its order: the channel column holds indices into this tuple."""


@dataclass(frozen=True, slots=True)
class StringColumn:
    """n UTF-8 strings as slices of one byte buffer.

    A length of -1 means null. Slices of different columns may share the buffer, and may overlap.
    """

    buffer: U8
    offsets: I64  # (n,)
    lengths: I32  # (n,)

    def __len__(self) -> int:
        return len(self.offsets)

    def bytes_at(self, i: int) -> bytes | None:
        """Return string i as UTF-8 bytes, or None where it is null."""
        if self.lengths[i] < 0:
            return None
        start = int(self.offsets[i])
        return self.buffer[start : start + int(self.lengths[i])].tobytes()

    def text_at(self, i: int) -> str | None:
        """Return string i as text, or None where it is null."""
        value = self.bytes_at(i)
        return None if value is None else value.decode("utf-8", "replace")

    def take(self, rows: npt.NDArray[np.intp] | Bool) -> StringColumn:
        """Return the strings at `rows`; the buffer is shared, not copied."""
        return StringColumn(self.buffer, self.offsets[rows], self.lengths[rows])

    @classmethod
    def from_values(cls, values: list[str | None] | list[str]) -> StringColumn:
        """Pack Python strings (for tests and slow paths)."""
        encoded = [b"" if v is None else v.encode() for v in values]
        lengths = np.array([-1 if v is None else len(e) for v, e in zip(values, encoded, strict=True)], np.int32)
        sizes = np.array([len(e) for e in encoded], np.int64)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)[:-1]]) if values else np.zeros(0, np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets, lengths)


@dataclass(frozen=True, slots=True)
class TransactionColumns:
    """n decoded transactions; fields as in `transaction.avsc`, every array of length n."""

    transaction_id: StringColumn
    event_time_ms: I64
    account_id: StringColumn
    counterparty_id: StringColumn
    amount_minor: I64
    currency: StringColumn
    channel: U8  # index into CHANNELS
    account_country: StringColumn
    counterparty_country: StringColumn
    merchant_category: I32  # -1 where null
    device_id: StringColumn
    ip_address: StringColumn
    memo: StringColumn
    evidence_count: I32
    attributes: F64  # (n, len(attribute_names)); NaN where an attribute is absent
    attribute_names: tuple[str, ...]
    schema_version: I16  # 0 for JSON and foreign writers' schemas
    evidence: StringColumn | None = None  # references as an Avro array, binary; empty: none. None: they were not kept

    def __len__(self) -> int:
        return len(self.event_time_ms)

    def take(self, rows: npt.NDArray[np.intp] | Bool) -> TransactionColumns:
        """Return the transactions at `rows`, in that order."""
        taken: dict[str, Any] = {
            name: value.take(rows) if isinstance(value, StringColumn) else value[rows]
            for name in self.__slots__
            if name != "attribute_names"
            for value in (getattr(self, name),)
            if value is not None
        }
        return TransactionColumns(**taken, attribute_names=self.attribute_names)

    def text_bytes(self) -> I64:
        """Return how many bytes the texts of each transaction have together."""
        total = np.zeros(len(self), np.int64)
        for name in self.__slots__:
            if isinstance(value := getattr(self, name), StringColumn):
                total += np.maximum(value.lengths, 0)
        return total


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """n decoded labels; fields as in `label.avsc`, every array of length n."""

    transaction_id: StringColumn
    account_id: StringColumn
    counterparty_id: StringColumn
    event_time_ms: I64
    label_time_ms: I64
    is_fraud: Bool
    source: U8  # index into the symbols of the schema's enum LabelSource
    pattern: StringColumn

    def __len__(self) -> int:
        return len(self.event_time_ms)

    def take(self, rows: npt.NDArray[np.intp] | Bool) -> LabelColumns:
        """Return the labels at `rows`, in that order."""
        taken: dict[str, Any] = {
            name: value.take(rows) if isinstance(value, StringColumn) else value[rows]
            for name in self.__slots__
            for value in (getattr(self, name),)
        }
        return LabelColumns(**taken)


@dataclass(frozen=True, slots=True)
class MaturedLabelColumns:
    """n matured labels; fields as in `matured_label.avsc`, every array of length n."""

    transaction_id: StringColumn
    account_id: StringColumn
    counterparty_id: StringColumn
    event_time_ms: I64
    label_time_ms: I64
    is_fraud: Bool
    source: U8  # index into the symbols of the schema's enum LabelSource
    is_correction: Bool
    replaced_source: U8  # of a correction; else of no meaning, written as null
    replaced_label_time_ms: I64  # likewise

    def __len__(self) -> int:
        return len(self.event_time_ms)


@dataclass(frozen=True, slots=True)
class RawRecords:
    """n Kafka records of one topic, in the order to process them; values and keys untouched.

    Rows of a file that were read on columns bring them along as `decoded`; their values are made when asked for.
    """

    topic: str
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    partition: I32
    offset: I64
    timestamp_ms: I64  # Kafka record timestamp: when it was produced
    decoded: TransactionColumns | None = None

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a record of a batch goes to the dead letters."""

    row: int  # index into the RawRecords
    stage: str  # decode | validate
    error: str  # stable code, such as UNDECODABLE
    message: str  # expected, found, what to do
