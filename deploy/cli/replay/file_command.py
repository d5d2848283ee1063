"""What `weir replay` does where a file is named: the terminal's side of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from deploy.cli.context import CommandContext, fail, say

KAFKA_ONLY = ("partitions", "speed", "warm", "risk_labels", "parallelism", "detach", "ship_connector")
"""Options that mean nothing for a file."""


def run_on_file(
    context: CommandContext,
    path: Path,
    from_ms: int | None,
    to_ms: int | None,
    order: str,
    account: str | None,
    model: str | None,
    rules: Path | None,
    run_id: str | None,
    batch_rows: int,
    dry_run: bool,
    out: Path | None,
    maps: tuple[str, ...],
    defaults: tuple[str, ...],
    kind: str | None,
) -> None:
    """Decide on the transactions of a file, write what comes of it, and say what became of every row."""
    from rich.console import Console
    from rich.progress import Progress

    from deploy.cli.deciding import load_decider
    from deploy.cli.mapping import MappingError
    from deploy.cli.progress import progress_columns, rate_of
    from deploy.cli.replay.file_run import FileAccount, RunFiles, Selection, overview, replay_file, run_id_of
    from deploy.cli.row_files import FileError
    from deploy.cli.transaction_file import file_of
    from jobs.core_settings import core_settings
    from models.scoring.decide_batch import Run

    if account is not None and not account:
        fail("--account is empty")
    if from_ms is not None and to_ms is not None and to_ms <= from_ms:
        fail(f"the range is empty: it ends at {_moment(to_ms)}, not after its begin at {_moment(from_ms)}")
    settings = context.settings()
    decider = load_decider(settings, model, rules)
    selection = Selection(from_ms, to_ms, account, order)
    try:
        file = file_of(path, kind, maps, defaults)
        if file.left_out:
            say(f"left out: {', '.join(file.left_out)}")
        name = run_id or run_id_of(file, decider, selection)
        _describe(name, path, selection, decider)
        if dry_run:
            _show_overview(overview(file, selection))
            return
        folder = out or Path(f"replay-{name}")
        begun = time.monotonic()
        with (
            Progress(*progress_columns(), console=Console(stderr=True)) as progress,
            RunFiles(folder) as files,
        ):
            task = progress.add_task("reading" if order == "time" else "deciding", total=1.0, rate="")

            def advance(done: FileAccount, share: float) -> None:
                progress.update(task, description="deciding", completed=share, rate=rate_of(done.rows, begun))

            found = replay_file(
                file, core_settings(settings), decider, Run("replay", name), selection, files, batch_rows, advance,
                lambda share: progress.update(task, completed=share),
            )  # fmt: skip
    except MappingError as error:
        raise click.UsageError(str(error)) from error
    except FileError as error:
        fail(str(error))
    except KeyboardInterrupt:
        say("interrupted: nothing was written")
        raise SystemExit(130) from None
    _account(found, time.monotonic() - begun)
    say(f"wrote {folder}/decisions.avro, alerts.avro ({found.alerts:,}) and dead-letters.jsonl")
    say(f"'weir replay diff {folder}/decisions.avro OTHER' compares it")
    click.echo(name)


def _moment(time_ms: int) -> str:
    from jobs.stream.replay.range import moment

    return moment(time_ms)


def _describe(name: str, path: Path, selection: Any, decider: Any) -> None:
    order = "of the file's rows" if selection.order == "file" else "of event times"
    say(f"run {name}: {path} in the order {order}, model {decider.model_name} {decider.model_version}, "
        f"rules {decider.rules.version}; without reference data and labels")  # fmt: skip
    if selection.from_ms is not None or selection.to_ms is not None:
        begin = "the beginning" if selection.from_ms is None else _moment(selection.from_ms)
        end = "the end" if selection.to_ms is None else _moment(selection.to_ms)
        say(f"decided on: event times from {begin} to {end}; what lies outside only fills the windows")


def _show_overview(found: Any) -> None:
    click.echo(f"{found.rows:,} rows, {found.unreadable:,} of them no transactions; {found.inside:,} in the range")
    if found.first_ms is not None:
        click.echo(f"event times from {_moment(found.first_ms)} to {_moment(found.last_ms)}")


def _account(found: Any, seconds: float) -> None:
    parts = [
        f"{found.decisions:,} decisions", f"{found.dead_letters:,} dead letters", f"{found.duplicates:,} duplicates",
    ]  # fmt: skip
    if found.outside:
        parts.append(f"{found.outside:,} outside the range")
    if found.of_others:
        parts.append(f"{found.of_others:,} of other accounts")
    say(f"{found.rows:,} rows = {' + '.join(parts)}; {seconds:.1f} s, {found.rows / max(seconds, 1e-9):,.0f} rows/s")
    for code, count in sorted(found.reasons.items(), key=lambda item: -item[1]):
        say(f"{count:>9,}  {code}")
    assert found.is_even, "a row is not accounted for"
