"""The columns that a rule may read, and a batch as a polars frame of those that the rules in force do read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.columns import CHANNELS, F32, I64, StringColumn, TransactionColumns

_CHANNELS = StringColumn.from_values(list(CHANNELS))


@dataclass(frozen=True, slots=True)
class RuleColumn:
    """A column that rules may read."""

    name: str
    dtype: type[pl.DataType]
    window_ms: int = 0  # history that the column looks back on; 0 where it needs none


@dataclass(frozen=True, slots=True)
class RuleColumns:
    """All columns that rules may read: the features of the catalogue and the fields of a transaction.

    A feature keeps its name; a transaction's field of the same name as a feature is hidden by it. Attributes are
    named `attribute_NAME`.
    """

    feature_names: tuple[str, ...]
    feature_windows_ms: tuple[int, ...]
    attribute_names: tuple[str, ...] = ()

    @property
    def by_name(self) -> dict[str, RuleColumn]:
        """Every column by its name."""
        columns = [RuleColumn(name, dtype) for name, (dtype, _) in _FIELDS.items()]
        columns += [RuleColumn(f"attribute_{name}", pl.Float64) for name in self.attribute_names]
        windows = zip(self.feature_names, self.feature_windows_ms, strict=True)
        columns += [RuleColumn(name, pl.Float32, window_ms) for name, window_ms in windows]
        return {column.name: column for column in columns}

    def frame(self, names: Iterable[str], columns: TransactionColumns, X: F32) -> pl.DataFrame:
        """Build the frame of the named columns: n rows, NaN and absent values as null.

        Costs one pass over each named column; nothing is built for the others.
        """
        positions = {name: i for i, name in enumerate(self.feature_names)}
        names = list(names)
        features = [name for name in names if name in positions]
        rows = len(columns)
        # One conversion for all features, then slices of it: a Series per feature would cost ten times as much.
        values = pl.Series("", X.T[[positions[name] for name in features]].reshape(-1), nan_to_null=True)
        series = [values.slice(i * rows, rows).alias(name) for i, name in enumerate(features)]
        for name in names:
            if name in positions:
                continue
            if name in _FIELDS:
                series.append(_FIELDS[name][1](columns).alias(name))
            else:
                column = columns.attribute_names.index(name.removeprefix("attribute_"))
                series.append(pl.Series(name, np.ascontiguousarray(columns.attributes[:, column]), nan_to_null=True))
        return pl.DataFrame(series)


def _strings(column: StringColumn) -> pl.Series:
    """Copy strings into one Arrow array without a Python object a row."""
    lengths = np.maximum(column.lengths, 0).astype(np.int64)
    ends = np.cumsum(lengths)
    offsets = np.concatenate([np.zeros(1, np.int64), ends])
    total = int(offsets[-1])
    source = np.arange(total) + np.repeat(column.offsets - offsets[:-1], lengths)
    validity = np.packbits(column.lengths >= 0, bitorder="little")
    array = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(),
        len(column),
        [pa.py_buffer(validity), pa.py_buffer(offsets), pa.py_buffer(column.buffer[source])],
    )
    try:
        return pl.Series(pl.from_arrow(array)).cast(pl.String)
    except pl.exceptions.ComputeError:  # some bytes are no UTF-8
        return pl.Series("", [column.text_at(i) for i in range(len(column))], dtype=pl.String)


def _merchant_category(columns: TransactionColumns) -> pl.Series:
    series = pl.Series("", columns.merchant_category)
    return series.set(series < 0, None) if bool(np.any(columns.merchant_category < 0)) else series


def _empty_as_null(column: StringColumn) -> pl.Series:
    lengths = np.where(column.lengths == 0, np.int32(-1), column.lengths)
    return _strings(StringColumn(column.buffer, column.offsets, lengths))


def _integers(values: I64) -> pl.Series:
    return pl.Series("", np.ascontiguousarray(values))


_FIELDS: Mapping[str, tuple[type[pl.DataType], Callable[[TransactionColumns], pl.Series]]] = {
    "transaction_id": (pl.String, lambda c: _strings(c.transaction_id)),
    "account_id": (pl.String, lambda c: _strings(c.account_id)),
    "counterparty_id": (pl.String, lambda c: _strings(c.counterparty_id)),
    "device_id": (pl.String, lambda c: _strings(c.device_id)),
    "ip_address": (pl.String, lambda c: _strings(c.ip_address)),
    "memo": (pl.String, lambda c: _strings(c.memo)),
    "currency": (pl.String, lambda c: _strings(c.currency)),
    "account_country": (pl.String, lambda c: _empty_as_null(c.account_country)),
    "counterparty_country": (pl.String, lambda c: _empty_as_null(c.counterparty_country)),
    "channel": (pl.String, lambda c: _strings(_CHANNELS.take(c.channel.astype(np.intp)))),
    "amount_minor": (pl.Int64, lambda c: _integers(c.amount_minor)),
    "event_time_ms": (pl.Int64, lambda c: _integers(c.event_time_ms)),
    "merchant_category": (pl.Int32, _merchant_category),
    "evidence_count": (pl.Int32, lambda c: pl.Series("", np.ascontiguousarray(c.evidence_count))),
}
