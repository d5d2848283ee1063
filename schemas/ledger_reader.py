"""Decisions from raw records to the columns that replay, comparison and audit need, in compiled code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from schemas import framing
from schemas.binary import BAD_BLOCK, BEYOND_END, read_long
from schemas.columns import F32, I32, I64, U8, U64, Bool, StringColumn
from schemas.hashing import xxh64_at
from schemas.memory import address_of, load_u8, load_u32
from schemas.versions import current

IS_REFERENCE_MISSING, IS_ENTITIES_MISSING = 1, 2
"""Bits of `LedgerColumns.degraded`: what the decision was made without."""

_STRINGS_OF_VERSIONS = 7  # name, version and sha256 of the model, of the learner, and rules_version
_SCORES = 4  # score, typology_score, model_score, learner_score
_REASON_STRINGS, _REASON_FLOATS = 3, 3
_OTHER_DEGRADED = 128


@dataclass(frozen=True, slots=True)
class Versions:
    """What a decision says it was made by."""

    model_name: str
    model_version: str
    model_sha256: str
    learner_name: str
    learner_version: str
    learner_sha256: str
    rules_version: str


@dataclass(frozen=True, slots=True)
class LedgerColumns:
    """n decisions; rows that are not written in the current schema are not `is_read`, and zero."""

    is_read: Bool
    transaction_id: StringColumn
    account_id: StringColumn
    counterparty_id: StringColumn
    currency: StringColumn
    event_time_ms: I64
    amount_minor: I64
    source_partition: I32
    source_offset: I64
    source_time_ms: I64
    outcome: U8  # index into OUTCOMES
    score: F32
    typology_score: F32
    model_score: F32  # negative: none
    learner_score: F32  # negative: none
    versions: I32  # index into `known_versions`
    known_versions: tuple[Versions, ...]
    features: F32  # (n, F), NaN is missing
    touch_sequences: I64  # (n, 3): originator, beneficiary, device; -1 none
    degraded: U8  # bits
    explanation_span: I64  # (n, 2) start and end of the Explanation in `buffer`
    body_span: I64  # (n, 2) start and end in `buffer` of all that comes before `processing`
    buffer: U8

    def __len__(self) -> int:
        return len(self.outcome)

    def body(self, row: int) -> bytes:
        """Return what two runs are compared by: the whole decision but its `processing`, without framing."""
        start, end = self.body_span[row].tolist()
        return self.buffer[start:end].tobytes()

    def body_hashes(self) -> U64:
        """Return the XXH64 of every body.  # (n,)."""
        out = np.zeros(len(self), np.uint64)
        _hash_spans(self.buffer, self.body_span, out)
        return out


class LedgerReader:
    """Reads batches of decisions of one feature set. The numbers of versions go on over the batches of one reader.

    Parameters
    ----------
    features
        How many features a decision has; a decision with another number is not read.
    """

    def __init__(self, features: int) -> None:
        self._features = features
        self._header = np.frombuffer(framing.single_object_header(current("decision")), np.uint8)
        self._numbers: dict[int, int] = {}
        self.versions: list[Versions] = []

    def decode(self, values: Sequence[bytes | None]) -> LedgerColumns:
        """Read encoded decisions (single-object encoding of the current schema)."""
        n = len(values)
        present = [value or b"" for value in values]
        ends = np.cumsum(np.fromiter(map(len, present), np.int64, n), dtype=np.int64)
        starts = np.concatenate([np.zeros(min(n, 1), np.int64), ends[:-1]])
        buffer: U8 = np.frombuffer(b"".join(present) + bytes(8), np.uint8)
        is_read = np.zeros(n, np.bool_)
        integers = np.zeros((6, n), np.int64)
        strings = np.zeros((4, 2, n), np.int64)
        scores = np.zeros((_SCORES, n), np.float32)
        features = np.full((n, self._features), np.nan, np.float32)
        sequences = np.full((n, 3), -1, np.int64)
        degraded = np.zeros(n, np.uint8)
        spans = np.zeros((n, 3, 2), np.int64)  # versions, explanation, body
        hashes = np.zeros(n, np.uint64)
        _read(
            buffer, starts, ends, self._header, is_read, integers, strings, scores.view(np.uint32),
            features.view(np.uint32), sequences, degraded, spans, hashes,
        )  # fmt: skip
        numbers = self._number(buffer, hashes, spans[:, 0], is_read)
        ids = [StringColumn(buffer, offsets.copy(), lengths.astype(np.int32)) for offsets, lengths in strings]
        event_time, amount, partition, offset, source_time, outcome = integers
        return LedgerColumns(
            is_read, ids[0], ids[1], ids[2], ids[3], event_time, amount, partition.astype(np.int32), offset,
            source_time, outcome.astype(np.uint8), scores[0], scores[1], scores[2], scores[3], numbers,
            tuple(self.versions), features, sequences, degraded, spans[:, 1], spans[:, 2], buffer,
        )  # fmt: skip

    def _number(self, buffer: U8, hashes: U64, spans: I64, is_read: Bool) -> I32:
        numbers = np.full(len(hashes), -1, np.int32)
        if not is_read.any():
            return numbers
        found, first, inverse = np.unique(hashes[is_read], return_index=True, return_inverse=True)
        rows = np.flatnonzero(is_read)
        known = np.zeros(len(found), np.int32)
        for i in np.argsort(first).tolist():  # in the order in which they come, whatever their hashes
            key = int(found[i])
            if key not in self._numbers:
                start, end = spans[rows[first[i]]].tolist()
                self._numbers[key] = len(self.versions)
                self.versions.append(Versions(*_texts(buffer[start:end].tobytes())))
            known[i] = self._numbers[key]
        numbers[rows] = known[inverse]
        return numbers


def _texts(data: bytes) -> list[str]:
    buffer = np.frombuffer(data + bytes(8), np.uint8)
    at, found = 0, []
    for _ in range(_STRINGS_OF_VERSIONS):
        length, at = (int(v) for v in _read_long(buffer, at, len(data)))
        found.append(data[at : at + length].decode("utf-8", "replace"))
        at += length
    return found


def explanation_of(columns: LedgerColumns, row: int) -> Mapping[str, Any]:
    """Return the explanation of one decision: reasons, rule_hits, warming, degraded."""
    import io

    from fastavro import schemaless_reader

    start, end = columns.explanation_span[row].tolist()
    schema = next(f["type"] for f in current("decision").parsed["fields"] if f["name"] == "explanation")
    record: Mapping[str, Any] = schemaless_reader(io.BytesIO(columns.buffer[start:end].tobytes()), schema, None)
    return record


def split_decisions(data: bytes, count: int) -> list[bytes]:
    """Cut decisions of the current schema that lie one after the other, without headers, as in a container's block.

    Raises
    ------
    ValueError
        If they are not `count` whole decisions.
    """
    ends = np.zeros(count, np.int64)
    if _find_ends(np.frombuffer(data + bytes(8), np.uint8), len(data), ends) != len(data):
        raise ValueError(f"{len(data)} bytes are not {count} decisions of the current schema")
    header = framing.single_object_header(current("decision"))
    starts = [0, *ends[:-1].tolist()] if count else []
    return [header + data[start:end] for start, end in zip(starts, ends.tolist(), strict=True)]


def warming_rows(columns: LedgerColumns) -> Bool:
    """Return which decisions name rules that could not speak yet, for want of history.  # (n,)."""
    out = np.zeros(len(columns), np.bool_)
    _find_warming(columns.buffer, columns.explanation_span, out)
    return out


@njit(cache=True, nogil=True)
def _find_warming(buffer, spans, out):  # type: ignore[no-untyped-def]
    address = address_of(buffer)
    for i in range(len(out)):
        at, end = spans[i, 0], spans[i, 1]
        if end > at:
            _, is_warming, _ = _skip_explanation(address, at, end)
            out[i] = is_warming


@njit(cache=True, nogil=True)
def _read_long(buffer, at, end):  # type: ignore[no-untyped-def]
    return read_long(address_of(buffer), np.int64(at), np.int64(end))


@njit(cache=True, nogil=True)
def _hash_spans(buffer, spans, out):  # type: ignore[no-untyped-def]
    address = address_of(buffer)
    for i in range(len(out)):
        out[i] = xxh64_at(address + spans[i, 0], spans[i, 1] - spans[i, 0], np.uint64(0))


@njit(cache=True, nogil=True)
def _skip_string(address, at, end):  # type: ignore[no-untyped-def]
    """Return (start, length, position after or a negative number)."""
    if at < 0:
        return np.int64(0), np.int64(0), at
    length, at = read_long(address, at, end)
    if at < 0:
        return np.int64(0), np.int64(0), at
    if length < 0 or length > end - at:
        return np.int64(0), np.int64(0), np.int64(-BEYOND_END)
    return at, length, at + length


@njit(cache=True, nogil=True)
def _items(address, at, end):  # type: ignore[no-untyped-def]
    """Return (items of the next block of an array, position of the first)."""
    if at < 0:
        return np.int64(0), at
    items, at = read_long(address, at, end)
    if at >= 0 and items < 0:
        _, at = read_long(address, at, end)
        items = -items
    if at >= 0 and (items < 0 or items > end - at):
        return np.int64(0), np.int64(-BAD_BLOCK)
    return items, at


@njit(cache=True, nogil=True)
def _skip_explanation(address, at, end):  # type: ignore[no-untyped-def]
    """Return (bits of what the decision was made without, whether a rule was warming, position after it)."""
    degraded = np.uint8(0)
    is_warming = False
    for part in range(4):  # reasons, rule hits, warming, degraded
        while True:
            items, at = _items(address, at, end)
            if at < 0 or items == 0:
                break
            for _ in range(items):
                if part == 0:
                    for _ in range(_REASON_STRINGS):
                        _, _, at = _skip_string(address, at, end)
                    at = at + 4 * _REASON_FLOATS if at >= 0 else at
                elif part == 1:
                    _, _, at = _skip_string(address, at, end)
                    if at >= 0:
                        _, at = read_long(address, at, end)
                    _, _, at = _skip_string(address, at, end)
                    at = at + 4 if at >= 0 else at
                else:
                    start, length, at = _skip_string(address, at, end)
                    is_warming |= part == 2
                    if part == 3 and at >= 0:
                        # told apart by length and first letter: reference, entities, model, rule:...
                        if length == 9 and load_u8(address, start) == 114 and load_u8(address, start + 4) == 114:
                            degraded |= np.uint8(IS_REFERENCE_MISSING)
                        elif length == 8 and load_u8(address, start) == 101:
                            degraded |= np.uint8(IS_ENTITIES_MISSING)
                        else:
                            degraded |= np.uint8(_OTHER_DEGRADED)
                if at < 0 or at > end:
                    return degraded, is_warming, np.int64(-BEYOND_END)
        if at < 0:
            return degraded, is_warming, at
    return degraded, is_warming, at


@njit(cache=True, nogil=True)
def _skip_longs(address, at, end, count):  # type: ignore[no-untyped-def]
    for _ in range(count):
        if at >= 0:
            _, at = read_long(address, at, end)
    return at


@njit(cache=True, nogil=True)
def _skip_strings(address, at, end, count):  # type: ignore[no-untyped-def]
    for _ in range(count):
        _, _, at = _skip_string(address, at, end)
    return at


@njit(cache=True, nogil=True)
def _find_ends(buffer, end, ends):  # type: ignore[no-untyped-def]
    """Write where each decision ends; return where the last one does, or a negative number."""
    address = address_of(buffer)
    at = np.int64(0)
    for i in range(len(ends)):
        at = _skip_strings(address, at, end, 3)  # ids
        at = _skip_longs(address, at, end, 2)  # event time, amount
        at = _skip_strings(address, at, end, 1)  # currency
        at = _skip_longs(address, at, end, 4)  # partition, offset, source time, outcome
        at = at + 4 * _SCORES if at >= 0 else at
        at = _skip_longs(address, at, end, 1)  # schema_version
        at = _skip_strings(address, at, end, _STRINGS_OF_VERSIONS + 1)  # and feature_set
        while at >= 0:
            items, at = _items(address, at, end)
            if at < 0 or items == 0:
                break
            at += 4 * items
        while at >= 0:
            items, at = _items(address, at, end)
            if at < 0 or items == 0:
                break
            at = _skip_longs(address, at, end, items)
        if at >= 0:
            _, _, at = _skip_explanation(address, at, end)
        at = _skip_longs(address, at, end, 2)  # revision, mode
        at = _skip_strings(address, at, end, 1)  # run_id
        at = _skip_longs(address, at, end, 2)  # clocks
        if at < 0 or at > end:
            return np.int64(-BEYOND_END)
        ends[i] = at
    return at


@njit(cache=True, nogil=True)
def _read(  # type: ignore[no-untyped-def]
    buffer, starts, ends, header, is_read, integers, strings, scores, features, sequences, degraded, spans, hashes
):
    address = address_of(buffer)
    for i in range(len(starts)):
        at, end = starts[i], ends[i]
        if end - at < len(header):
            continue
        is_ours = True
        for k in range(len(header)):
            is_ours &= buffer[at + k] == header[k]
        if not is_ours:
            continue
        at += len(header)
        body = at
        string = 0
        number = 0
        for field in range(10):  # ids, event time, amount, currency, partition, offset, source time, outcome
            if field < 3 or field == 5:
                start, length, at = _skip_string(address, at, end)
                strings[string, 0, i] = start
                strings[string, 1, i] = length
                string += 1
            elif at >= 0:
                value, at = read_long(address, at, end)
                integers[number, i] = value
                number += 1
        if at >= 0 and end - at < 4 * _SCORES:
            at = np.int64(-BEYOND_END)
        if at >= 0:
            for k in range(_SCORES):
                scores[k, i] = np.uint32(load_u32(address, at + 4 * k))
            at += 4 * _SCORES
            _, at = read_long(address, at, end)  # schema_version
        spans[i, 0, 0] = at
        for _ in range(_STRINGS_OF_VERSIONS):
            _, _, at = _skip_string(address, at, end)
        spans[i, 0, 1] = at
        if at >= 0:
            hashes[i] = xxh64_at(address + spans[i, 0, 0], at - spans[i, 0, 0], np.uint64(0))
        _, _, at = _skip_string(address, at, end)  # feature_set
        count = np.int64(0)
        while at >= 0:
            items, at = _items(address, at, end)
            if at < 0 or items == 0:
                break
            if items > (end - at) // 4:
                at = np.int64(-BEYOND_END)
                break
            for _ in range(items):
                if count < features.shape[1]:
                    features[i, count] = np.uint32(load_u32(address, at))
                count += 1
                at += 4
        touches = np.int64(0)
        while at >= 0:
            items, at = _items(address, at, end)
            if at < 0 or items == 0:
                break
            for _ in range(items):
                if at >= 0:
                    value, at = read_long(address, at, end)
                    if touches < 3:
                        sequences[i, touches] = value
                    touches += 1
        spans[i, 1, 0] = at
        if at >= 0:
            degraded[i], _, at = _skip_explanation(address, at, end)
        spans[i, 1, 1] = at
        if at >= 0:
            _, at = read_long(address, at, end)  # revision
        if at < 0 or count != features.shape[1] or touches != 3:
            integers[:, i] = 0
            strings[:, :, i] = 0
            spans[i] = 0
            degraded[i] = 0
            continue
        spans[i, 2, 0] = body
        spans[i, 2, 1] = at
        is_read[i] = True
