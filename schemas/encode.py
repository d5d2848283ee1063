"""Encoders from columns to Avro single-object records, compiled field by field over the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from schemas.binary import write_bytes, write_long
from schemas.columns import I64, U8, Bool, LabelColumns, MaturedLabelColumns, StringColumn, TransactionColumns
from schemas.decisions import MODES, DecisionColumns
from schemas.framing import single_object_header
from schemas.layout import dense, dense_bytes, dense_slices
from schemas.versions import current

_ROWS_AT_ONCE = 1024  # records written together; their output stays in the processor's second-level cache


@njit(cache=True, nogil=True)
def _put_longs(out, at, first, values):  # type: ignore[no-untyped-def]
    for k in range(len(at)):
        at[k] = write_long(out, at[k], values[first + k])


@njit(cache=True, nogil=True)
def _put_optional_longs(out, at, first, values, is_null):  # type: ignore[no-untyped-def]
    for k in range(len(at)):
        if is_null[first + k]:
            at[k] = write_long(out, at[k], np.int64(0))
        else:
            at[k] = write_long(out, write_long(out, at[k], np.int64(1)), values[first + k])


@njit(cache=True, nogil=True)
def _put_strings(out, at, first, buffer, offsets, lengths, is_optional):  # type: ignore[no-untyped-def]
    for k in range(len(at)):
        position = at[k]
        length = np.int64(lengths[first + k])
        if is_optional:
            position = write_long(out, position, np.int64(0 if length < 0 else 1))
        if length >= 0:
            position = write_long(out, position, length)
            position = write_bytes(out, position, buffer, offsets[first + k], length)
        elif not is_optional:
            position = write_long(out, position, np.int64(0))
        at[k] = position


@njit(cache=True, nogil=True)
def _put_raw(out, at, first, buffer, offsets, lengths):  # type: ignore[no-untyped-def]
    for k in range(len(at)):
        at[k] = write_bytes(out, at[k], buffer, offsets[first + k], np.int64(lengths[first + k]))


@njit(cache=True, nogil=True)
def _put_rows(out, at, first, rows):  # type: ignore[no-untyped-def]
    width = rows.shape[1]
    for k in range(len(at)):
        row = rows[first + k]
        for i in range(width):
            out[np.uint64(at[k] + i)] = row[i]
        at[k] += width


@njit(cache=True, nogil=True)
def _put_constant(out, at, first, constant):  # type: ignore[no-untyped-def]
    for k in range(len(at)):
        at[k] = write_bytes(out, at[k], constant, 0, len(constant))


@njit(cache=True, nogil=True)
def _put_attributes(out, at, first, values, names, name_offsets, name_lengths):  # type: ignore[no-untyped-def]
    bits = values.view(np.uint64)
    for k in range(len(at)):
        position = at[k]
        count = 0
        for a in range(values.shape[1]):
            if not np.isnan(values[first + k, a]):
                count += 1
        if count > 0:
            position = write_long(out, position, np.int64(count))
            for a in range(values.shape[1]):
                if not np.isnan(values[first + k, a]):
                    position = write_long(out, position, np.int64(name_lengths[a]))
                    position = write_bytes(out, position, names, name_offsets[a], np.int64(name_lengths[a]))
                    word = bits[first + k, a]
                    for i in range(8):
                        out[np.uint64(position + i)] = np.uint8(word >> np.uint64(8 * i))
                    position += 8
        at[k] = write_long(out, position, np.int64(0))


class RecordWriter:
    """Writes n records side by side: a call appends one field (or a constant) to every record.

    Examples
    --------
    >>> writer = RecordWriter(2)
    >>> writer.constant(b"<")
    >>> writer.longs(np.array([1, -1]))
    >>> writer.finish()
    [b'<\\x02', b'<\\x01']
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._fields: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._sizes = np.zeros(rows, np.int64)  # upper bound of each record's size

    def _append(self, put: Callable[..., None], size: I64 | int, *arguments: Any) -> None:
        self._sizes += size
        self._fields.append((put, arguments))

    def constant(self, value: bytes) -> None:
        """Append the same bytes to every record."""
        self._append(_put_constant, len(value), dense(np.frombuffer(value, np.uint8), np.uint8))

    def longs(self, values: npt.NDArray[Any]) -> None:
        """Append an int, long or enum."""
        self._append(_put_longs, 10, dense(values, np.int64))

    def optional_longs(self, values: npt.NDArray[Any], is_null: Bool) -> None:
        """Append a union of null (first) and int or long."""
        self._append(_put_optional_longs, 11, dense(values, np.int64), dense(is_null, np.bool_))

    def fixed(self, values: npt.NDArray[Any]) -> None:
        """Append the little-endian bytes of values: boolean, float, double, or a row of them."""
        rows = dense_bytes(values)
        self._append(_put_rows, rows.shape[1], rows)

    def strings(self, column: StringColumn) -> None:
        """Append a string; null becomes empty."""
        buffer, offsets, lengths = dense_slices(column)
        self._append(_put_strings, np.maximum(lengths, 0) + np.int64(5), buffer, offsets, lengths, False)

    def optional_strings(self, column: StringColumn) -> None:
        """Append a union of null (first) and string."""
        buffer, offsets, lengths = dense_slices(column)
        self._append(_put_strings, np.maximum(lengths, 0) + np.int64(6), buffer, offsets, lengths, True)

    def raw(self, column: StringColumn) -> None:
        """Append bytes that are encoded already."""
        buffer, offsets, lengths = dense_slices(column)
        self._append(_put_raw, lengths.astype(np.int64), buffer, offsets, lengths)

    def attributes(self, values: npt.NDArray[np.float64], names: tuple[str, ...]) -> None:
        """Append a map of doubles: of each row the values that are not NaN."""
        packed = StringColumn.from_values(list(names))
        bound = 20 + sum(13 + int(length) for length in packed.lengths)
        self._append(_put_attributes, bound, dense(values, np.float64), *dense_slices(packed))

    def finish(self) -> list[bytes]:
        """Return the records."""
        records: list[bytes] = []
        for first in range(0, self._rows, _ROWS_AT_ONCE):
            ends = np.cumsum(self._sizes[first : first + _ROWS_AT_ONCE])
            starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
            out: U8 = np.empty(int(ends[-1]), np.uint8)
            at = starts.copy()
            for put, arguments in self._fields:
                put(out, at, first, *arguments)
            data = out.tobytes()
            records += [data[start:end] for start, end in zip(starts.tolist(), at.tolist(), strict=True)]
        return records


def encode_transactions(columns: TransactionColumns) -> list[bytes]:
    """Encode transactions in Avro's single-object encoding.

    An attribute that is NaN is left out.
    """
    writer = RecordWriter(len(columns))
    writer.constant(single_object_header(current("transaction")))
    writer.strings(columns.transaction_id)
    writer.longs(columns.event_time_ms)
    writer.strings(columns.account_id)
    writer.strings(columns.counterparty_id)
    writer.longs(columns.amount_minor)
    writer.strings(columns.currency)
    writer.longs(columns.channel)
    writer.strings(columns.account_country)
    writer.strings(columns.counterparty_country)
    writer.optional_longs(columns.merchant_category, columns.merchant_category < 0)
    writer.optional_strings(columns.device_id)
    writer.optional_strings(columns.ip_address)
    writer.optional_strings(columns.memo)
    if columns.evidence is None or not (columns.evidence.lengths > 0).any():
        writer.constant(b"\x00")  # an empty array
    else:
        writer.raw(_with_empty_arrays(columns.evidence))
    writer.attributes(columns.attributes, columns.attribute_names)
    return writer.finish()


def _with_empty_arrays(arrays: StringColumn) -> StringColumn:
    """Give rows without an array an empty one."""
    is_empty = arrays.lengths <= 0
    return StringColumn(
        np.concatenate([arrays.buffer, np.zeros(1, np.uint8)]),
        np.where(is_empty, len(arrays.buffer), arrays.offsets),
        np.where(is_empty, 1, arrays.lengths).astype(np.int32),
    )


def encode_labels(columns: LabelColumns) -> list[bytes]:
    """Encode labels in Avro's single-object encoding."""
    writer = RecordWriter(len(columns))
    writer.constant(single_object_header(current("label")))
    writer.strings(columns.transaction_id)
    writer.strings(columns.account_id)
    writer.strings(columns.counterparty_id)
    writer.longs(columns.event_time_ms)
    writer.longs(columns.label_time_ms)
    writer.fixed(columns.is_fraud)
    writer.longs(columns.source)
    writer.optional_strings(columns.pattern)
    return writer.finish()


def encode_matured_labels(columns: MaturedLabelColumns) -> list[bytes]:
    """Encode matured labels in Avro's single-object encoding."""
    writer = RecordWriter(len(columns))
    writer.constant(single_object_header(current("matured_label")))
    writer.strings(columns.transaction_id)
    writer.strings(columns.account_id)
    writer.strings(columns.counterparty_id)
    writer.longs(columns.event_time_ms)
    writer.longs(columns.label_time_ms)
    writer.fixed(columns.is_fraud)
    writer.longs(columns.source)
    writer.fixed(columns.is_correction)
    writer.optional_longs(columns.replaced_source, ~columns.is_correction)
    writer.optional_longs(columns.replaced_label_time_ms, ~columns.is_correction)
    return writer.finish()


def _long(value: int) -> bytes:
    out = np.empty(10, np.uint8)
    return out[: write_long(out, 0, np.int64(value))].tobytes()


def _string(value: str) -> bytes:
    encoded = value.encode()
    return _long(len(encoded)) + encoded


def _explanations(decisions: DecisionColumns) -> StringColumn:
    rows = np.fromiter(decisions.explanation.keys(), np.intp, len(decisions.explanation))
    values = [decisions.default_explanation, *decisions.explanation.values()]
    sizes = np.fromiter(map(len, values), np.int64, len(values))
    offsets = np.zeros(len(decisions), np.int64)
    lengths = np.full(len(decisions), sizes[0], np.int32)
    offsets[rows] = np.cumsum(sizes)[:-1]
    lengths[rows] = sizes[1:]
    return StringColumn(np.frombuffer(b"".join(values), np.uint8), offsets, lengths)


def encode_decisions(decisions: DecisionColumns) -> list[bytes]:
    """Encode decisions in Avro's single-object encoding."""
    writer = RecordWriter(len(decisions))
    writer.constant(single_object_header(current("decision")))
    writer.strings(decisions.transaction_id)
    writer.strings(decisions.account_id)
    writer.strings(decisions.counterparty_id)
    writer.longs(decisions.event_time_ms)
    writer.longs(decisions.amount_minor)
    writer.strings(decisions.currency)
    writer.longs(decisions.source_partition)
    writer.longs(decisions.source_offset)
    writer.longs(decisions.source_time_ms)
    writer.longs(decisions.outcome)
    writer.fixed(decisions.score.astype(np.float32, copy=False))
    writer.fixed(decisions.typology_score.astype(np.float32, copy=False))
    writer.fixed(decisions.model_score.astype(np.float32, copy=False))
    writer.fixed(decisions.learner_score.astype(np.float32, copy=False))
    writer.longs(decisions.schema_version)
    features = decisions.features.astype(np.float32, copy=False)
    versions = (
        decisions.model_name,
        decisions.model_version,
        decisions.model_sha256,
        decisions.learner_name,
        decisions.learner_version,
        decisions.learner_sha256,
        decisions.rules_version,
        decisions.feature_set,
    )
    # An array is one block of known length; one without items is its end alone.
    block = _long(features.shape[1]) if features.shape[1] else b""
    writer.constant(b"".join(_string(version) for version in versions) + block)
    writer.fixed(features)
    sequences = decisions.touch_sequences.shape[1]
    writer.constant(b"\x00" + (_long(sequences) if sequences else b""))
    for sequence in decisions.touch_sequences.T:
        writer.longs(sequence)
    writer.constant(b"\x00")
    writer.raw(_explanations(decisions))
    writer.constant(
        _long(decisions.revision)
        + _long(MODES.index(decisions.mode))
        + _string(decisions.run_id)
        + _long(decisions.ingest_time_ms)
        + _long(decisions.decision_time_ms)
    )
    return writer.finish()
