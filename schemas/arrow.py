"""Transactions between Arrow and our columns, without a Python object a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from schemas.columns import CHANNELS, I32, I64, U8, StringColumn, TransactionColumns

STRINGS = (
    "transaction_id", "account_id", "counterparty_id", "currency", "account_country", "counterparty_country",
    "device_id", "ip_address", "memo",
)  # fmt: skip
"""Fields of a transaction that are text."""

NUMBERS = {"event_time_ms": pa.int64(), "amount_minor": pa.int64(), "merchant_category": pa.int32()}
"""Fields that are numbers, with their types."""

FIELDS = (*STRINGS, *NUMBERS, "channel")
"""Fields that travel between Arrow and columns; evidence and attributes do not."""

REQUIRED = ("transaction_id", "event_time_ms", "account_id", "counterparty_id", "amount_minor", "currency")
"""Fields without a default."""

_CHANNELS = pa.array(CHANNELS)


class ArrowError(ValueError):
    """A batch holds what cannot become columns as it stands; rows one by one may still."""


def arrow_strings(column: StringColumn) -> pa.Array:
    """Return a string column in Arrow's layout: the bytes one after the other."""
    lengths = np.maximum(column.lengths, 0)
    ends = np.cumsum(lengths, dtype=np.int32)
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    data = np.empty(int(offsets[-1]), np.uint8)
    _gather(column.buffer, column.offsets, lengths, offsets, data)
    validity = np.packbits(column.lengths >= 0, bitorder="little")
    buffers = [pa.py_buffer(validity.tobytes()), pa.py_buffer(offsets.tobytes()), pa.py_buffer(data.tobytes())]
    return pa.Array.from_buffers(pa.string(), len(column), buffers)


def arrow_words(words: tuple[str, ...], codes: U8) -> pa.Array:
    """Return codes as the words that they stand for."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(words)).cast(pa.string())


def arrow_fields(transactions: TransactionColumns, names: Iterable[str] = FIELDS) -> dict[str, pa.Array]:
    """Return some fields of transactions as Arrow arrays, by name."""
    made: dict[str, Any] = {}
    for name in names:
        values = getattr(transactions, name)
        if name == "channel":
            made[name] = arrow_words(CHANNELS, values)
        elif name == "merchant_category":
            made[name] = pa.array(values, mask=values < 0)
        else:
            made[name] = arrow_strings(values) if name in STRINGS else pa.array(values)
    return made


def columns_of(batch: pa.RecordBatch, schema_version: int = 0) -> TransactionColumns:
    """Return the transactions of a batch whose columns bear the names of the fields.

    What is not there is null, or 0; what is there and of another type than the field's is refused, and so are nulls
    and empty texts in fields that have no default.

    Raises
    ------
    ArrowError
        If a column cannot be taken as it stands; the message names it.
    """
    n = batch.num_rows
    found = {name: batch.column(name) for name in FIELDS if name in batch.schema.names}
    for name in REQUIRED:
        if name in found and found[name].null_count:
            raise ArrowError(f"{name} is null in some rows")
    fields: dict[str, Any] = {}
    for name in STRINGS:
        empty = StringColumn(np.zeros(0, np.uint8), np.zeros(n, np.int64), np.full(n, -1, np.int32))
        fields[name] = _strings(name, found[name]) if name in found else empty
        if name in REQUIRED and name in found and bool((fields[name].lengths <= 0).any()):
            raise ArrowError(f"{name} is empty in some rows")
    for name, kind in NUMBERS.items():
        default = -1 if name == "merchant_category" else 0
        fields[name] = _numbers(name, found[name], kind, default) if name in found else np.full(n, default, np.int64)
    fields["merchant_category"] = fields["merchant_category"].astype(np.int32)
    channel = np.zeros(n, np.uint8)
    if "channel" in found:
        # A symbol that we do not know is `other`, as in Avro's schema resolution.
        codes = pc.index_in(_text("channel", found["channel"]), value_set=_CHANNELS)
        channel = pc.fill_null(codes, 0).to_numpy(zero_copy_only=False).astype(np.uint8)
    return TransactionColumns(
        **fields,
        channel=channel,
        evidence_count=np.zeros(n, np.int32),
        attributes=np.zeros((n, 0), np.float64),
        attribute_names=(),
        schema_version=np.full(n, schema_version, np.int16),
    )


def _text(name: str, column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_null(kind) or pa.types.is_large_string(kind):
        column, kind = column.cast(pa.string()), pa.string()
    if not pa.types.is_string(kind):
        raise ArrowError(f"{name} is {kind}, not text")
    return column


def _strings(name: str, column: pa.Array) -> StringColumn:
    text = _text(name, column)
    validity, offsets, data = text.buffers()
    n, start = len(text), text.offset
    places = np.zeros(n + 1, np.int32) if offsets is None else np.frombuffer(offsets, np.int32, n + 1, 4 * start)
    lengths = np.diff(places).astype(np.int32)
    if validity is not None and text.null_count:
        lengths[pc.is_null(text).to_numpy(zero_copy_only=False)] = -1
    lengths[lengths == 0] = -1  # as everywhere in a row: an empty text is none
    buffer: U8 = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return StringColumn(buffer, places[:-1].astype(np.int64), lengths)


def _numbers(name: str, column: pa.Array, kind: pa.DataType, default: int) -> I64:
    if not (pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise ArrowError(f"{name} is {column.type}, not a whole number")
    try:
        values: I64 = pc.fill_null(column.cast(kind), default).to_numpy(zero_copy_only=False).astype(np.int64)
    except pa.ArrowInvalid as error:
        raise ArrowError(f"{name}: {error}") from error
    return values


@njit(cache=True, nogil=True)
def _gather(source: U8, starts: I64, lengths: I32, offsets: I32, out: U8) -> None:
    for i in range(len(starts)):
        for k in range(lengths[i]):
            out[offsets[i] + k] = source[starts[i] + k]
