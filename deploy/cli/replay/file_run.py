"""``weir replay --file``: decide on the transactions of a file, without Kafka and Flink."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from deploy.cli.transaction_file import BLOCK_ROWS, FILE, BadRow, FileBlock, TransactionFile
from models.replay.decide_recorded import is_of_account
from models.replay.file_core import FileCore
from models.scoring.core_settings import CoreSettings
from models.scoring.decide_batch import Assembled, Run, decide_rows
from models.scoring.decider import Decider
from schemas.columns import I64, Bool, RawRecords, Rejected
from schemas.container import ContainerWriter
from schemas.errors import SerializationError
from schemas.records import decode_record

DECISIONS, ALERTS, DEAD_LETTERS = "decisions.avro", "alerts.avro", "dead-letters.jsonl"


@dataclass(frozen=True, slots=True)
class Selection:
    """What is decided on; everything else only fills the windows.

    Attributes
    ----------
    from_ms, to_ms
        Event times: the first, and the one after the last; None is without bound.
    account
        Of this originator alone.
    order
        FILE or TIME.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    account: str | None = None
    order: str = FILE

    def holds(self, time_ms: I64) -> Bool:
        """Return which times are in the range. Those that are none of our age (negative) are: nobody can tell."""
        inside: Bool = np.ones(len(time_ms), np.bool_)
        if self.from_ms is not None:
            inside &= (time_ms >= self.from_ms) | (time_ms < 0)
        if self.to_ms is not None:
            inside &= time_ms < self.to_ms
        return inside


@dataclass(slots=True)
class FileAccount:
    """What became of the rows: rows = decisions + dead letters + duplicates + outside + of others."""

    rows: int = 0
    decisions: int = 0
    alerts: int = 0
    dead_letters: int = 0
    duplicates: int = 0
    outside: int = 0
    of_others: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def is_even(self) -> bool:
        """Whether every row is accounted for."""
        return self.rows == self.decisions + self.dead_letters + self.duplicates + self.outside + self.of_others


class RunFiles:
    """Writes the results of a run to a folder; files get their names when the run is complete.

    Parameters
    ----------
    folder
        Made if it is not there. What an earlier run left in it is replaced.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open = ExitStack()
        self._decisions = self._open.enter_context(ContainerWriter(self._part(DECISIONS), "decision"))
        self._alerts = self._open.enter_context(ContainerWriter(self._part(ALERTS), "alert"))
        self._dead_letters = self._open.enter_context(self._part(DEAD_LETTERS).open("w", encoding="utf-8"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()
        for name in (DECISIONS, ALERTS, DEAD_LETTERS):
            if error is None:
                self._part(name).replace(self._folder / name)
            else:
                self._part(name).unlink()

    def _part(self, name: str) -> Path:
        return self._folder / f"{name}.part"

    def add(self, decisions: list[bytes], alerts: list[bytes]) -> None:
        """Take in decisions and alerts."""
        self._decisions.add(decisions)
        self._alerts.add(alerts)

    def refuse(self, row: BadRow) -> None:
        """Take in a row that is refused."""
        fields = {
            "row": row.number, "stage": row.stage, "error": row.error, "message": row.message, "content": row.content,
        }  # fmt: skip
        self._dead_letters.write(json.dumps(fields, ensure_ascii=False, default=str) + "\n")


def run_id_of(file: TransactionFile, decider: Decider, selection: Selection) -> str:
    """Return the name of a run that was given none: the same for the same file, versions and selection."""
    parts = (
        file.sha256(), decider.model_sha256, decider.rules.version, selection.order, str(selection.from_ms),
        str(selection.to_ms), selection.account or "",
    )  # fmt: skip
    return "f" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def replay_file(
    file: TransactionFile,
    core: CoreSettings,
    decider: Decider,
    run: Run,
    selection: Selection,
    files: RunFiles,
    batch_rows: int = BLOCK_ROWS,
    advance: Callable[[FileAccount, float], None] = lambda account, share: None,
    reading: Callable[[float], None] = lambda share: None,
) -> FileAccount:
    """Decide on the transactions of a file.

    Parameters
    ----------
    file
        To read.
    core
        Settings of the core.
    decider
        Model and rules.
    run
        Kind and name of the run.
    selection
        What to decide on, in which order.
    files
        Where results go, entered.
    batch_rows
        Rows at once: nothing depends on it but speed.
    advance
        Called after each batch, with the account and the share of the file that is done.
    reading
        Called while the file is read before its first row can be decided on.
    """
    stages = FileCore(core)
    account = FileAccount()
    originator = None if selection.account is None else selection.account.encode()
    for block in file.blocks(batch_rows, selection.order, reading):
        taken = stages.take(block.records)
        account.rows += len(block.records) + len(block.bad)
        for bad in _refused(block, taken.rejected, selection):
            files.refuse(bad)
            account.dead_letters += 1
            account.reasons[bad.error] = account.reasons.get(bad.error, 0) + 1
        is_inside = selection.holds(block.records.timestamp_ms)
        account.outside += int((~is_inside[[r.row for r in taken.rejected]]).sum()) if taken.rejected else 0
        account.duplicates += int(is_inside[taken.duplicates].sum())
        account.outside += int((~is_inside[taken.duplicates]).sum())
        if taken.assembled is not None:
            _decide(decider, taken.assembled, run, selection, originator, files, account)
        advance(account, block.share)
    return account


def _decide(
    decider: Decider,
    assembled: Assembled,
    run: Run,
    selection: Selection,
    originator: bytes | None,
    files: RunFiles,
    account: FileAccount,
) -> None:
    is_inside = selection.holds(assembled.batch.columns.event_time_ms)
    is_wanted = is_inside & is_of_account(originator, assembled.batch)
    account.outside += int((~is_inside).sum())
    account.of_others += int((is_inside & ~is_wanted).sum())
    if not is_wanted.any():
        return
    wanted = assembled if is_wanted.all() else assembled.take(np.flatnonzero(is_wanted))
    scored = decide_rows(decider, wanted, False, 0, run)
    files.add(scored.decisions, scored.alerts)
    account.decisions += len(scored.decisions)
    account.alerts += len(scored.alerts)


def _refused(block: FileBlock, rejected: list[Rejected], selection: Selection) -> Iterator[BadRow]:
    """Yield the bad rows of a block in the order of the replay: what was no transaction, and what may not be one."""
    is_inside = selection.holds(block.records.timestamp_ms)
    found = [*block.bad]
    for fault in sorted(rejected, key=lambda rejected: rejected.row):
        if is_inside[fault.row]:
            number = int(block.records.offset[fault.row]) + 1
            found.append(BadRow(number, fault.stage, fault.error, fault.message, _content(block.records, fault.row)))
    # By time the former come first, in a block of their own.
    yield from sorted(found, key=lambda bad: bad.number) if selection.order == FILE else found


def _content(records: RawRecords, row: int) -> object:
    try:
        return decode_record(records.values[row] or b"", name="transaction")
    except SerializationError:
        return None


@dataclass(slots=True)
class Overview:
    """What a file holds, read and not decided on."""

    rows: int = 0
    unreadable: int = 0
    inside: int = 0
    first_ms: int | None = None
    last_ms: int | None = None


def overview(file: TransactionFile, selection: Selection) -> Overview:
    """Read a file through."""
    found = Overview()
    for block in file.blocks():
        times = block.records.timestamp_ms
        found.rows += len(times) + len(block.bad)
        found.unreadable += len(block.bad)
        found.inside += int(selection.holds(times).sum())
        known = times[times >= 0]
        if len(known):
            first, last = int(known.min()), int(known.max())
            found.first_ms = first if found.first_ms is None else min(first, found.first_ms)
            found.last_ms = last if found.last_ms is None else max(last, found.last_ms)
    return found
