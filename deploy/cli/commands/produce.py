"""``weir produce``: a file to Kafka."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy.cli.context import CommandContext, pass_context, say
from deploy.cli.row_file_options import row_file_options

if TYPE_CHECKING:
    from deploy.cli.mapping import RowMapping
    from deploy.cli.row_files import Row

Prepared = tuple[int, bytes | None, bytes, int]
"""Row number, key, value, event time in ms (0 if unknown)."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@row_file_options()
@click.option("--as-is", is_flag=True, help="Send bad rows too, as JSON: they become dead letters.")
@click.option("--event-timestamps", is_flag=True, help="Kafka timestamps are the event times instead of now.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, send nothing.")
@click.option("--max-errors", type=click.IntRange(0), default=20, show_default=True, help="Bad rows to print in full.")
@pass_context
def command(
    context: CommandContext,
    file: Path,
    maps: tuple[str, ...],
    defaults: tuple[str, ...],
    kind: str | None,
    as_is: bool,
    event_timestamps: bool,
    dry_run: bool,
    max_errors: int,
) -> None:
    """Send the transactions of FILE (Parquet, CSV, JSON lines or Avro container) to Kafka.

    Columns that bear the name of a field are that field; --map names the others. Besides the fields of the schema a
    column can be mapped to amount (major units: 12.50 becomes 1250 minor units of EUR, 12 of JPY), event_time
    (ISO 8601), event_time_s (seconds since 1970), and attributes.NAME.

    Every row is checked as the scoring job would; bad ones are told on standard error and not sent, and the exit status
    is 1 then.

    \b
      weir produce payments.csv --map TX_ID=transaction_id --map CUSTOMER=account_id \\
          --map TERMINAL=counterparty_id --map AMOUNT=amount --map TIME=event_time --default currency=EUR
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from deploy.cli.kafka import Sender, plain_errors
    from deploy.cli.mapping import MappingError, RowMapping
    from deploy.cli.row_files import FileError, columns_of, format_of, read_rows, size_of

    settings = context.settings()
    problems: Counter[str] = Counter()
    sent = 0
    try:
        mapping = RowMapping.parse(maps, defaults)
        kind = format_of(file, kind)
        columns = columns_of(file, kind)
        left_out = mapping.check_columns(columns) if columns is not None else []
        size = size_of(file, kind)
    except (MappingError, FileError) as error:
        raise click.UsageError(str(error)) from error
    if left_out:
        say(f"left out: {', '.join(left_out)}")

    def complain(number: int, code: str, message: str) -> None:
        problems[code] += 1
        if problems.total() <= max_errors:
            progress.console.print(f"row {number}: {code}: {message}", markup=False, highlight=False)
        elif problems.total() == max_errors + 1:
            progress.console.print("further bad rows are only counted")

    bar = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with plain_errors(), Progress(*bar, console=Console(stderr=True)) as progress:
        sender = None if dry_run else Sender(settings, settings.topics.transactions)
        task = progress.add_task("reading ...", total=size)
        started = time.monotonic()
        for rows in read_rows(file, kind, lambda done: progress.update(task, completed=done)):
            prepared, bad = prepare(rows, mapping, as_is, int(time.time() * 1_000))
            for number, code, message in bad:
                complain(number, code, message)
            for _, key, value, event_time_ms in prepared:
                if sender is not None:
                    sender.send(key, value, max(0, event_time_ms) if event_timestamps else 0)
                sent += 1
            rate = sent / max(1e-9, time.monotonic() - started)
            progress.update(task, description=f"{sent:,} rows, {rate:,.0f}/s")
        if sender is not None:
            sender.flush()
            for refusal in sender.refused:
                problems[f"refused by the broker: {refusal}"] += 1
            sent -= len(sender.refused)
        seconds = max(1e-9, time.monotonic() - started)
    verb = "would send" if dry_run else "sent"
    click.echo(f"{verb} {sent:,} rows in {seconds:.1f} s ({sent / seconds:,.0f}/s), {problems.total():,} bad")
    for code, number in problems.most_common():
        say(f"{number:>9,}  {code}")
    if problems:
        raise SystemExit(1)


def prepare(
    rows: list[Row], mapping: RowMapping, as_is: bool, now_ms: int
) -> tuple[list[Prepared], list[tuple[int, str, str]]]:
    """Make records of rows: those to send, and (row number, code, message) of the bad ones.

    With `as_is` the bad ones are sent too: a JSON line as it stands, other rows as the JSON of their columns.
    """
    from jobs.stream.dead_letters import find_faults
    from schemas.errors import SerializationError
    from schemas.records import encode_record

    prepared: list[Prepared] = []
    bad: list[tuple[int, str, str]] = []
    by_number = {row.number: row for row in rows}
    for row in rows:
        if row.values is None:
            bad.append((row.number, "UNREADABLE", row.problem))
            continue
        try:
            record = mapping.apply(row.values)
            value = encode_record("transaction", record)
            prepared.append((row.number, record["account_id"].encode(), value, int(record["event_time_ms"])))
        except SerializationError as error:
            bad.append((row.number, "INVALID_FIELD", str(error)))
    faults = find_faults([value for _, _, value, _ in prepared], now_ms)
    bad += [(prepared[fault.row][0], fault.error, fault.message) for fault in faults]
    bad.sort()
    refused = {prepared[fault.row][0] for fault in faults}
    if as_is:
        prepared += [
            record
            for row in map(by_number.__getitem__, _numbers_of_unprepared(bad, refused))
            for record in _raw(row, mapping)
        ]
        prepared.sort(key=lambda record: record[0])
    else:
        prepared = [record for record in prepared if record[0] not in refused]
    return prepared, bad


def _numbers_of_unprepared(bad: list[tuple[int, str, str]], refused: set[int]) -> Iterator[int]:
    return (number for number, _, _ in bad if number not in refused)


def _raw(row: Row, mapping: RowMapping) -> Iterator[Prepared]:
    if row.text is not None:
        value = row.text
    elif row.values is not None:
        named = {mapping.field_of(column) or column: part for column, part in row.values.items()}
        value = json.dumps(named, default=str, ensure_ascii=False).encode()
    else:
        return  # neither text nor values: nothing to send
    account = None
    for column, part in (row.values or {}).items():
        if mapping.field_of(column) == "account_id" and part not in (None, ""):
            account = str(part).encode()
    yield row.number, account, value, 0
