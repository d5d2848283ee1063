"""A file of transactions with what became of them: read, checked, in order of time, ready to be evaluated."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.cli.mapping import RowMapping
from deploy.cli.row_files import FileError, Row, format_of, read_rows
from models.features.assemble import entity_keys
from online_learning.evaluate.measures import Judged
from online_learning.evaluate.numeric_table import NumericTable
from online_learning.evaluate.timeline import NEVER, Rows
from schemas.columns import I64, U64, Bool, TransactionColumns
from schemas.errors import SerializationError
from schemas.records import encode_record
from schemas.transactions import TransactionDecoder
from schemas.validate import validate_transactions

_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TRUE, _FALSE = frozenset({"1", "true", "yes", "t"}), frozenset({"0", "false", "no", "f"})


class LabelError(FileError):
    """A file's labels are missing or cannot be understood."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Where a file says what a transaction was.

    Attributes
    ----------
    fraud_column, pattern_column
        Columns of the file; a pattern is optional.
    delay_ms
        From each transaction to its label.
    labels
        First label of each transaction id, instead of column and delay: (time in ms, is it fraud, pattern).
    """

    fraud_column: str = "is_fraud"
    pattern_column: str = "pattern"
    delay_ms: int = 7 * _UNIT_MS["d"]
    labels: Mapping[str, tuple[int, bool, str]] | None = None


class Stream:
    """Transactions by event time, encoded, with labels; a `TransactionSource` for the engine.

    Attributes
    ----------
    event_time_ms, label_time_ms
        (n,); `NEVER` where no label comes.
    is_fraud, has_truth
        (n,) what each was, and whether that is known at all.
    pattern
        (n,) names; None where the file has none.
    problems
        How many rows were left out, by reason.
    """

    def __init__(self, records: list[bytes], order: I64, labels: dict[str, Any], problems: Counter[str]) -> None:
        self._decoder = TransactionDecoder()
        self._records = [records[i] for i in order]
        self.event_time_ms: I64 = labels["event_time_ms"][order]
        self.label_time_ms: I64 = labels["label_time_ms"][order]
        self.is_fraud: Bool = labels["is_fraud"][order]
        self.has_truth: Bool = labels["has_truth"][order]
        self._account: I64 = labels["account"][order]
        patterns: list[str] = labels["pattern"]
        self.pattern = tuple(patterns[i] for i in order) if any(patterns) else None
        self.problems = problems

    def __len__(self) -> int:
        return len(self._records)

    def take(self, rows: Rows) -> TransactionColumns:
        """Return some of the transactions, decoded, in the order of `rows`."""
        return self._decoder.decode([self._records[row] for row in rows])[0]

    def judged(self) -> Judged:
        """Return what the scores of the transactions with a known truth are measured against."""
        known = np.flatnonzero(self.has_truth)
        pattern = None if self.pattern is None else tuple(self.pattern[i] for i in known)
        return Judged(self.is_fraud[known], self._account[known], self.event_time_ms[known], pattern)


def parse_delay(text: str) -> int:
    """Return a length of time in ms.

    >>> parse_delay("7d"), parse_delay("90m")
    (604800000, 5400000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no length of time, such as 7d, 36h, 90m or 30s")
    return round(float(found[1]) * _UNIT_MS[found[2]])


def read_labels(path: Path, kind: str | None = None) -> dict[str, tuple[int, bool, str]]:
    """Read a file of labels, with the fields of `label.avsc`: of each transaction the one that was known first."""
    labels: dict[str, tuple[int, bool, str]] = {}
    for rows in read_rows(path, format_of(path, kind)):
        for row in rows:
            values = row.values or {}
            try:
                key = str(values["transaction_id"])
                label = (int(values["label_time_ms"]), as_bool(values["is_fraud"]), str(values.get("pattern") or ""))
            except (KeyError, TypeError, ValueError) as error:
                raise LabelError(
                    f"{path} row {row.number}: expected transaction_id, label_time_ms and is_fraud ({error!r})"
                ) from error
            if key not in labels or label[0] < labels[key][0]:
                labels[key] = label
    return labels


def as_bool(value: Any) -> bool:
    """Return a label as a truth value; raises ValueError where it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip().strip('"').lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"{value!r} is neither true nor false")


def read_stream(
    path: Path, kind: str, mapping: RowMapping, truth: Truth, progress: Callable[[int], None] = lambda _: None
) -> Stream:
    """Read the transactions of a file; rows that the scoring job would refuse are counted and left out.

    Raises
    ------
    FileError
        If it is no file of that kind, or has no label column where one is needed.
    """
    records: list[bytes] = []
    found: dict[str, list[Any]] = {name: [] for name in ("label_time_ms", "is_fraud", "has_truth", "pattern")}
    times: list[I64] = []
    accounts: list[U64] = []
    problems: Counter[str] = Counter()
    seen: set[str] = set()
    for rows in read_rows(path, kind, progress):
        values: list[bytes] = []
        labels: list[tuple[int, bool, bool, str]] = []
        for row, record in _records(rows, mapping, problems):
            if record["transaction_id"] in seen:
                problems["DUPLICATE"] += 1
                continue
            seen.add(record["transaction_id"])
            values.append(encode_record("transaction", record))
            labels.append(_label_of(row, record, truth))
        columns, decoded, rejected = TransactionDecoder().decode(list(values))
        bad = {fault.row for fault in rejected}
        never_late = np.full(len(columns), NEVER, np.int64)  # against the events' own times nothing is in the future
        bad |= {int(decoded[f.row]) for f in validate_transactions(columns, never_late, 0)}
        problems["INVALID_FIELD"] += len(bad)
        kept = np.array([i for i, at in enumerate(decoded) if int(at) not in bad], np.intp)
        times.append(columns.event_time_ms[kept])
        accounts.append(entity_keys(columns)[kept, 0])
        for i in decoded[kept].tolist():
            records.append(values[i])
            for name, value in zip(found, labels[i], strict=True):
                found[name].append(value)
    event_time_ms = np.concatenate([np.zeros(0, np.int64), *times])
    arrays = {
        "event_time_ms": event_time_ms,
        "label_time_ms": np.maximum(np.array(found["label_time_ms"], np.int64), event_time_ms),
        "is_fraud": np.array(found["is_fraud"], np.bool_),
        "has_truth": np.array(found["has_truth"], np.bool_),
        "account": np.concatenate([np.zeros(0, np.uint64), *accounts]).view(np.int64),
        "pattern": found["pattern"],
    }
    return Stream(records, np.argsort(event_time_ms, kind="stable"), arrays, +problems)


def read_table(
    path: Path, kind: str, label_column: str, progress: Callable[[int], None] = lambda _: None
) -> NumericTable:
    """Read a table of numbers: features are the columns that hold a number, or nothing, in every row.

    Raises
    ------
    FileError
        If it is no file of that kind, has no such column, or its labels are not 0 and 1.
    """
    columns: dict[str, list[float]] | None = None
    fraud: list[bool] = []
    for rows in read_rows(path, kind, progress):
        for row in rows:
            if row.values is None:
                raise LabelError(f"{path} row {row.number}: {row.problem}")
            if label_column not in row.values:
                raise LabelError(f"{path} has no column {label_column!r}; it has {', '.join(row.values)}")
            if columns is None:
                columns = {name: [] for name in row.values if name != label_column}
            try:
                fraud.append(as_bool(row.values[label_column]))
            except ValueError as error:
                raise LabelError(f"{path} row {row.number}, column {label_column}: {error}") from error
            for name in list(columns):
                number = _number(row.values.get(name))
                if number is None:
                    del columns[name]  # a column of words is no feature
                else:
                    columns[name].append(number)
    if not columns:
        raise LabelError(f"{path} has no column of numbers beside {label_column!r}")
    X = np.stack([np.array(values, np.float32) for values in columns.values()], axis=1)
    return NumericTable(tuple(columns), X, np.array(fraud, np.bool_))


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _records(rows: list[Row], mapping: RowMapping, problems: Counter[str]) -> Iterator[tuple[Row, dict[str, Any]]]:
    for row in rows:
        if row.values is None:
            problems["UNREADABLE"] += 1
            continue
        try:
            yield row, mapping.apply(row.values)
        except SerializationError:
            problems["INVALID_FIELD"] += 1


def _label_of(row: Row, record: Mapping[str, Any], truth: Truth) -> tuple[int, bool, bool, str]:
    """Return when a transaction's label is known, what it says, whether there is one, and the pattern."""
    values = row.values or {}
    pattern = values.get(truth.pattern_column)
    if truth.labels is not None:
        label = truth.labels.get(str(record["transaction_id"]))
        if label is None:
            return NEVER, False, False, ""
        return label[0], label[1], True, label[2] or str(pattern or "")
    if truth.fraud_column not in values:
        raise LabelError(
            f"row {row.number} has no column {truth.fraud_column!r}: name the one that says what is fraud by "
            "--fraud-column, or give the labels in a file of their own by --labels"
        )
    try:
        is_fraud = as_bool(values[truth.fraud_column])
    except ValueError as error:
        raise LabelError(f"row {row.number}, column {truth.fraud_column}: {error}") from error
    return int(record["event_time_ms"]) + truth.delay_ms, is_fraud, True, str(pattern or "")
