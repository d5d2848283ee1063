"""``weir dead-letters``: what could not be scored, and why."""

from __future__ import annotations

import json
from collections import Counter, deque
from pathlib import Path

import click

from deploy.cli.context import CommandContext, pass_context, say
from deploy.cli.since import SINCE


@click.command()
@click.option("--error", metavar="CODE", multiple=True, help="Only of this code, such as UNKNOWN_CURRENCY.")
@click.option(
    "--since", type=SINCE, metavar="TIME", help="Since then: 10m, 2h, 3d, or 2026-01-31T12:00 (UTC).  [default: all]"
)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Newest ones to show.")
@click.option("--counts", is_flag=True, help="Only how many there are of each code.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; with --counts, one object.")
@click.option(
    "--export", type=click.Path(path_type=Path, dir_okay=False), help="Write all as JSON lines, for redrive --edit."
)
@pass_context
def command(
    context: CommandContext,
    error: tuple[str, ...],
    since: int | None,
    limit: int,
    counts: bool,
    as_json: bool,
    export: Path | None,
) -> None:
    """Show records that could not be scored, with the reason and where they came from.

    Their keys and bytes are untouched. `weir redrive` sends them back once they, or we, are repaired.
    """
    from rich.console import Console
    from rich.table import Table

    from deploy.cli.kafka import client_properties, plain_errors
    from deploy.cli.show import moment
    from jobs.stream.dead_letters import DeadLetter, read_dead_letter
    from jobs.stream.topic_reader import BEGINNING, Start, TopicReader

    settings = context.settings()
    start = Start(since_ms=since) if since is not None else BEGINNING
    by_error: Counter[str] = Counter()
    newest: deque[DeadLetter] = deque(maxlen=limit)
    with plain_errors():
        file = None if export is None else export.open("w", encoding="utf-8")
        try:
            with TopicReader(client_properties(settings), [settings.topics.dead_letters], start) as reader:
                for batch in reader.until_end():
                    for message in batch:
                        letter = read_dead_letter(
                            message.key(), message.value(), message.headers(), message.timestamp()[1]
                        )
                        if error and letter.error not in error:
                            continue
                        by_error[letter.error] += 1
                        newest.append(letter)
                        if file is not None:
                            file.write(letter.as_export() + "\n")
        finally:
            if file is not None:
                file.close()
    if counts and as_json:
        click.echo(json.dumps(dict(by_error.most_common())))
        return
    console = Console()
    if not counts and as_json:
        for letter in newest:
            click.echo(letter.as_export())
    elif not counts and newest:
        table = Table(box=None, header_style="bold")
        for title in ("time (UTC)", "from", "error", "key"):
            table.add_column(title, no_wrap=True)
        table.add_column("bytes", justify="right")
        table.add_column("message")
        for letter in newest:
            key = "–" if letter.key is None else letter.key.decode("utf-8", "backslashreplace")
            size = "–" if letter.value is None else f"{len(letter.value):,}"
            table.add_row(moment(letter.time_ms), letter.origin, letter.error, key, size, letter.message)
        console.print(table)
    if not as_json:
        for code, number in by_error.most_common():
            console.print(f"{number:>9,}  {code}")
    if not by_error:
        say("no dead letters" + (" of that kind" if error or since is not None else ""))
    if export is not None:
        say(f"wrote {by_error.total():,} to {export}: edit the field value of each, then weir redrive --edit {export}")
