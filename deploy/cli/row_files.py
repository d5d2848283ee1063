"""Rows of Parquet, CSV, JSON lines and Avro container files, some thousand at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".avro": "avro",
}
"""Formats by the file's suffix."""

ROWS_AT_ONCE = 5_000
Progress = Callable[[int], None]


class FileError(Exception):
    """The file cannot be read as what it is said to be."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: where it stands (counted from 1), its values by column, or why it cannot be read."""

    number: int
    values: dict[str, Any] | None
    text: bytes | None = None  # the line as it stands; of JSON lines only
    problem: str = ""


def format_of(path: Path, given: str | None) -> str:
    """Tell the format: as given, or by the suffix."""
    found = given or FORMATS.get(path.suffix.lower())
    if found is None:
        raise FileError(f"cannot tell the format of {path.name}: name it with --format, or by the suffix")
    return found


def read_rows(path: Path, kind: str, progress: Progress = lambda _: None) -> Iterator[list[Row]]:
    """Yield the rows of a file in blocks.

    Parameters
    ----------
    path
        The file.
    kind
        parquet, csv, jsonl or avro.
    progress
        Called with how many of `size_of` are read.

    Raises
    ------
    FileError
        If it is no file of that kind.
    """
    readers = {"parquet": _parquet, "csv": _csv, "jsonl": _json_lines, "avro": _avro}
    yield from readers[kind](path, progress)


def size_of(path: Path, kind: str) -> int:
    """What `progress` counts up to: rows of Parquet, bytes of the others."""
    if kind == "parquet":
        return int(open_parquet(path).metadata.num_rows)
    return path.stat().st_size


def columns_of(path: Path, kind: str) -> list[str] | None:
    """Names of the columns where the file tells them at its head; None for JSON lines."""
    if kind == "parquet":
        return [str(name) for name in open_parquet(path).schema_arrow.names]
    if kind == "csv":
        with path.open(newline="", encoding="utf-8-sig") as file:
            return next(csv.reader(file), [])
    if kind == "avro":
        with path.open("rb") as file:
            return [field["name"] for field in _open_avro(path, file).writer_schema["fields"]]
    return None


def open_parquet(path: Path) -> Any:
    """Open a Parquet file; raises `FileError` where it is none."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise FileError(f"{path} is no Parquet file: {error}") from error


def _open_avro(path: Path, file: BinaryIO) -> Any:
    import fastavro

    try:
        return fastavro.reader(file)
    except Exception as error:  # fastavro raises whatever it stumbles over
        raise FileError(f"{path} is no Avro container file: {error!r}") from error


def _parquet(path: Path, progress: Progress) -> Iterator[list[Row]]:
    done = 0
    for batch in open_parquet(path).iter_batches(ROWS_AT_ONCE):
        rows = [Row(done + i, values) for i, values in enumerate(batch.to_pylist(), 1)]
        done += len(rows)
        yield rows
        progress(done)


def _csv(path: Path, progress: Progress) -> Iterator[list[Row]]:
    with path.open("rb") as raw:
        # Lines are decoded one by one, so that progress in bytes is known
        lines = (line.decode("utf-8-sig" if number == 0 else "utf-8", "replace") for number, line in enumerate(raw))
        reader = csv.DictReader(lines, restkey="")
        rows: list[Row] = []
        for number, values in enumerate(reader, 1):
            if "" in values and isinstance(values[""], list):
                rows.append(Row(number, None, problem="more values than the header has columns"))
            else:
                rows.append(Row(number, dict(values)))
            if len(rows) == ROWS_AT_ONCE:
                yield rows
                rows = []
                progress(raw.tell())
        yield rows
        progress(raw.tell())


def _json_lines(path: Path, progress: Progress) -> Iterator[list[Row]]:
    with path.open("rb") as file:
        rows: list[Row] = []
        for number, line in enumerate(file, 1):
            text = line.strip()
            if not text:
                continue
            try:
                values = json.loads(text)
                problem = "" if isinstance(values, dict) else "expected a JSON object"
            except (ValueError, RecursionError) as error:
                values, problem = None, f"not JSON: {error}"
            rows.append(Row(number, values if not problem else None, text, problem))
            if len(rows) == ROWS_AT_ONCE:
                yield rows
                rows = []
                progress(file.tell())
        yield rows
        progress(file.tell())


def _avro(path: Path, progress: Progress) -> Iterator[list[Row]]:
    with path.open("rb") as file:
        reader = _open_avro(path, file)
        rows: list[Row] = []
        number = 0
        while True:
            number += 1
            try:
                values = next(reader)
            except StopIteration:
                break
            except Exception as error:  # a block that cannot be read ends the file: its successor cannot be found
                rows.append(Row(number, None, problem=f"the rest of the file cannot be read: {error!r}"))
                break
            rows.append(Row(number, values))
            if len(rows) == ROWS_AT_ONCE:
                yield rows
                rows = []
                progress(file.tell())
        yield rows
        progress(path.stat().st_size)
