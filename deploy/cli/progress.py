"""Progress bars of work on many rows."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def progress_columns() -> tuple[ProgressColumn, ...]:
    """Return what a progress bar shows: how much is done, how fast, since when, and for how long still."""
    return (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip


def count_rows(progress: Progress, text: str, total: int | None) -> Callable[[int], None]:
    """Add a bar; return what to call with every number of further rows that are done."""
    task = progress.add_task(text, total=total, rate="")
    begun = time.monotonic()
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        progress.update(task, completed=done, rate=rate_of(done, begun))

    return advance


def rate_of(rows: int, begun: float) -> str:
    """Say how many rows a second that is, since a moment of the monotonic clock."""
    return f"{rows / max(1e-9, time.monotonic() - begun):,.0f} rows/s"
