"""Decisions from raw records to the columns that learning needs: who, when, the score and the features as scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from schemas import framing
from schemas.binary import BEYOND_END, ERROR_TEXTS, NEGATIVE_LENGTH, read_long, read_string
from schemas.columns import F32, I64, Rejected, StringColumn
from schemas.errors import SerializationError
from schemas.memory import address_of, load_u32
from schemas.records import decode_record
from schemas.validate import MAX_ID_BYTES
from schemas.versions import current

OTHER_FEATURES = 1_000
"""Error of a decision whose features are not those expected."""
ID_TOO_LONG = 1_001
"""Error of a decision with an id that no accepted transaction has."""

_STRINGS_BETWEEN = 7  # name, version and sha256 of the model, of the learner, and rules_version
_IDS = 3  # transaction_id, account_id, counterparty_id: the first fields
_SCORES = 4  # score, typology_score, model_score, learner_score


@dataclass(frozen=True, slots=True)
class ScoredColumns:
    """n decisions as the ledger has them."""

    transaction_id: StringColumn
    account_id: StringColumn
    counterparty_id: StringColumn
    event_time_ms: I64
    score: F32
    model_score: F32  # NaN where the model gave none
    learner_score: F32  # NaN where no learner was in force
    features: F32  # (n, F), as scored; NaN is missing

    def __len__(self) -> int:
        return len(self.event_time_ms)

    def take(self, rows: slice) -> ScoredColumns:
        """Return the decisions of a slice."""

        def some(column: StringColumn) -> StringColumn:
            return StringColumn(column.buffer, column.offsets[rows], column.lengths[rows])

        return ScoredColumns(
            some(self.transaction_id),
            some(self.account_id),
            some(self.counterparty_id),
            self.event_time_ms[rows],
            self.score[rows],
            self.model_score[rows],
            self.learner_score[rows],
            self.features[rows],
        )


class DecisionReader:
    """Reads batches of decisions of one feature set.

    Records of the schema's current version are read in compiled code, those of earlier versions by fastavro.

    Parameters
    ----------
    feature_set
        As the decisions name it; others are refused.
    features
        How many it has.
    """

    def __init__(self, feature_set: str, features: int) -> None:
        self._feature_set = feature_set
        self._features = features
        self._header = np.frombuffer(framing.single_object_header(current("decision")), np.uint8)
        self._expected = np.frombuffer(feature_set.encode(), np.uint8)

    def decode(self, values: list[bytes | None]) -> tuple[ScoredColumns, npt.NDArray[np.intp], list[Rejected]]:
        """Return the decisions, the row of each in `values`, and the rejected rows."""
        n = len(values)
        present = [value or b"" for value in values]
        lengths = np.fromiter(map(len, present), np.int64, n)
        ends = np.cumsum(lengths)
        buffer = np.frombuffer(b"".join(present) + bytes(8), np.uint8)
        offsets, sizes = np.zeros((_IDS, n), np.int64), np.full((_IDS, n), -1, np.int32)
        times, scores = np.zeros(n, np.int64), np.zeros((n, _SCORES), np.float32)
        features = np.zeros((n, self._features), np.float32)
        errors = np.zeros(n, np.int32)
        is_other = np.zeros(n, np.bool_)
        _read(
            buffer, ends - lengths, ends, self._header, self._expected, offsets, sizes, times,
            scores.view(np.uint32), features.view(np.uint32), errors, is_other,
        )  # fmt: skip
        ids = [StringColumn(buffer, offsets[i], sizes[i]) for i in range(_IDS)]
        if is_other.any():
            ids = self._read_others(present, is_other, ids, times, scores, features, errors)
        for column in ids:
            errors[(errors == 0) & (column.lengths > MAX_ID_BYTES)] = ID_TOO_LONG
        rejected = [Rejected(row, "decode", *self._reason(int(errors[row]))) for row in np.flatnonzero(errors).tolist()]
        rows = np.flatnonzero(errors == 0)
        found = scores[rows]
        own, learned = (np.where(found[:, i] < 0, np.float32(np.nan), found[:, i]) for i in (2, 3))
        transaction_id, account_id, counterparty_id = (column.take(rows) for column in ids)
        columns = ScoredColumns(
            transaction_id, account_id, counterparty_id, times[rows], found[:, 0].copy(), own, learned, features[rows]
        )
        return columns, rows, rejected

    def _reason(self, error: int) -> tuple[str, str]:
        if error == OTHER_FEATURES:
            return "OTHER_FEATURES", f"the decision was made on another feature set than {self._feature_set}"
        if error == ID_TOO_LONG:
            return (
                "ID_TOO_LONG",
                f"an identifier has more than {MAX_ID_BYTES} bytes: no transaction with it is accepted",
            )
        return "UNDECODABLE", ERROR_TEXTS.get(error, "the bytes are no decision of a known version")

    def _read_others(
        self,
        present: list[bytes],
        is_other: npt.NDArray[np.bool_],
        ids: list[StringColumn],
        times: I64,
        scores: F32,
        features: F32,
        errors: npt.NDArray[np.int32],
    ) -> list[StringColumn]:
        texts: list[list[str | None]] = [[column.text_at(row) for row in range(len(column))] for column in ids]
        for row in np.flatnonzero(is_other).tolist():
            try:
                record = decode_record(present[row], name="decision")
            except SerializationError:
                errors[row] = BEYOND_END
                continue
            if record["feature_set"] != self._feature_set or len(record["features"]) != self._features:
                errors[row] = OTHER_FEATURES
                continue
            for column, name in zip(texts, ("transaction_id", "account_id", "counterparty_id"), strict=True):
                column[row] = record[name]
            times[row] = record["event_time_ms"]
            # Before version 2 the score was the model's.
            own = record["model_score"] if record.get("model_score", -1.0) >= 0 else record["score"]
            scores[row] = record["score"], record["typology_score"], own, record.get("learner_score", -1.0)
            features[row] = record["features"]
        return [StringColumn.from_values(column) for column in texts]


@njit(cache=True, nogil=True)
def _read_floats(address, at, end, out):  # type: ignore[no-untyped-def]
    """Fill `out` with the bits of an array of floats; return (number of floats, position after or minus an error)."""
    count = np.int64(0)
    while True:
        items, at = read_long(address, at, end)
        if at < 0 or items == 0:
            return count, at
        if items < 0:
            size, at = read_long(address, at, end)
            if at < 0:
                return count, at
            if size < 0 or items == np.iinfo(np.int64).min:
                return count, np.int64(-NEGATIVE_LENGTH)
            items = -items
        if items > (end - at) // 4:
            return count, np.int64(-BEYOND_END)
        for _ in range(items):
            if count < len(out):
                out[count] = np.uint32(load_u32(address, at))
            count += 1
            at += 4


@njit(cache=True, nogil=True)
def _read(buffer, starts, ends, header, expected, offsets, sizes, times, scores, features, errors, is_other):  # type: ignore[no-untyped-def]
    """Read each record up to its features; what follows them is not looked at."""
    address = address_of(buffer)
    for i in range(len(starts)):
        at, end = starts[i], ends[i]
        if end - at < len(header):
            errors[i] = BEYOND_END
            continue
        for k in range(len(header)):
            if buffer[at + k] != header[k]:
                is_other[i] = True
                break
        if is_other[i]:
            continue
        at += len(header)
        for k in range(_IDS):
            if at >= 0:
                offsets[k, i], sizes[k, i], at = read_string(address, at, end)
        time = np.int64(0)
        if at >= 0:
            time, at = read_long(address, at, end)
        if at >= 0:
            _, at = read_long(address, at, end)  # amount_minor
        if at >= 0:
            _, _, at = read_string(address, at, end)  # currency
        for _ in range(4):  # source_partition, source_offset, source_time_ms, outcome
            if at >= 0:
                _, at = read_long(address, at, end)
        if at >= 0 and end - at < 4 * _SCORES:
            at = np.int64(-BEYOND_END)
        if at >= 0:
            for k in range(_SCORES):
                scores[i, k] = np.uint32(load_u32(address, at + 4 * k))
            at += 4 * _SCORES
            _, at = read_long(address, at, end)  # schema_version
        for _ in range(_STRINGS_BETWEEN):
            if at >= 0:
                _, _, at = read_string(address, at, end)
        set_start, set_length = np.int64(0), np.int64(0)
        if at >= 0:
            set_start, set_length, at = read_string(address, at, end)
        count = np.int64(0)
        if at >= 0:
            count, at = _read_floats(address, at, end, features[i])
        if at < 0:
            errors[i] = -at
            continue
        is_expected = set_length == len(expected) and count == features.shape[1]
        for k in range(len(expected) if is_expected else 0):
            if buffer[set_start + k] != expected[k]:
                is_expected = False
                break
        if not is_expected:
            errors[i] = OTHER_FEATURES
            continue
        times[i] = time
