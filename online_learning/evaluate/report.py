"""An evaluation's outcome as one table: a row for each contestant and group, written as Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from online_learning.evaluate.measures import Judged, Measures, by_pattern, by_week, measure
from schemas.columns import F64

GROUPINGS = ("week", "pattern")
FILE = "measures.parquet"


@dataclass(frozen=True, slots=True)
class Row:
    """The measures of one contestant on one group of transactions.

    Attributes
    ----------
    grouping
        `all`, `week` or `pattern`.
    group
        `all`, the week's first day (ISO 8601), or the pattern's name.
    """

    contestant: str
    grouping: str
    group: str
    measures: Measures


def rows_of(judged: Judged, scores: Mapping[str, F64], groupings: tuple[str, ...] = GROUPINGS) -> Iterator[Row]:
    """Yield the measures of every contestant: of all transactions, then by each grouping."""
    for name, score in scores.items():
        yield Row(name, "all", "all", measure(judged, score))
        if "week" in groupings:
            for start, found in by_week(judged, score).items():
                yield Row(name, "week", day_of(start), found)
        if "pattern" in groupings:
            for pattern, found in by_pattern(judged, score).items():
                yield Row(name, "pattern", pattern, found)


def day_of(time_ms: int) -> str:
    """Return the day of a time, UTC.

    >>> day_of(1_767_225_600_000)
    '2026-01-01'
    """
    return datetime.fromtimestamp(time_ms / 1_000, UTC).date().isoformat()


def write_rows(rows: list[Row], path: Path) -> None:
    """Write rows as Parquet: contestant, grouping, group, and a column for each of the measures."""
    names = [field.name for field in fields(Measures)]
    measured = [asdict(row.measures) for row in rows]
    columns = {
        "contestant": [row.contestant for row in rows],
        "grouping": [row.grouping for row in rows],
        "group": [row.group for row in rows],
        **{name: [values[name] for values in measured] for name in names},
    }
    pq.write_table(pa.table(columns), path)
