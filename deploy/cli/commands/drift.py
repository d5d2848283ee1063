"""``weir drift``: what moved, by how much, since when."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import click

from deploy.cli.context import CommandContext, pass_context, say
from deploy.cli.since import SINCE


@click.command()
@click.option(
    "--since", type=SINCE, metavar="TIME", help="Since then: 10m, 2h, 3d, or 2026-01-31T12:00 (UTC).  [default: all]"
)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Newest ones to show.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@pass_context
def command(context: CommandContext, since: int | None, limit: int, as_json: bool) -> None:
    """Show what the learner job found to drift: scores and errors of the batch model and of the learner, and features.

    An error that rises means that a scorer got worse; a score that moves may be a change of the customers' doing. A
    feature that moves no longer looks as it did when the model was trained.
    """
    from rich.console import Console
    from rich.table import Table

    from deploy.cli.kafka import client_properties, plain_errors
    from deploy.cli.show import moment
    from jobs.stream.topic_reader import BEGINNING, Start, TopicReader
    from schemas.records import decode_record

    settings = context.settings()
    start = Start(since_ms=since) if since is not None else BEGINNING
    newest: deque[dict[str, Any]] = deque(maxlen=limit)
    with plain_errors(), TopicReader(client_properties(settings), [settings.topics.drift], start) as reader:
        for batch in reader.until_end():
            newest += [decode_record(message.value() or b"", name="drift") for message in batch]
    if as_json:
        for event in newest:
            click.echo(json.dumps(event))
        return
    if not newest:
        say("nothing drifted; 'weir learn' starts the job that watches")
        return
    table = Table(box=None, header_style="bold")
    for title in ("found", "what", "severity", "since", "detector", "finding"):
        table.add_column(title, overflow="fold")
    for event in newest:
        what = f"{event['subject']} of {event['name']}"
        times = (moment(event["detected_ms"]), moment(event["since_ms"]))
        table.add_row(times[0], what, event["severity"], times[1], event["detector"], event["explanation"])
    Console().print(table)
