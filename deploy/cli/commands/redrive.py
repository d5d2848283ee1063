"""``weir redrive``: send repaired dead letters back."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.context import CommandContext, fail, pass_context, say
from deploy.cli.since import SINCE

if TYPE_CHECKING:
    from jobs.settings import Settings
    from jobs.stream.dead_letters import DeadLetter

SHOWN = 20


@click.command()
@click.option("--error", metavar="CODE", multiple=True, help="Only dead letters of this code.")
@click.option(
    "--since", type=SINCE, metavar="TIME", help="Only those since then: 10m, 2h, 3d, or 2026-01-31T12:00 (UTC)."
)
@click.option("--set", "changes", metavar="FIELD=VALUE", multiple=True, help="Set a field in every record. Repeatable.")
@click.option(
    "--edit", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="File of dead-letters --export."
)
@click.option("--as-is", is_flag=True, help="Send the untouched bytes: the fault was ours, and is repaired.")
@click.option("--yes", is_flag=True, help="Send. Without it, only show what would be sent.")
@pass_context
def command(
    context: CommandContext,
    error: tuple[str, ...],
    since: int | None,
    changes: tuple[str, ...],
    edit: Path | None,
    as_is: bool,
    yes: bool,
) -> None:
    """Send dead letters back to the transactions topic, repaired.

    Say how: --set a field, --edit an exported file, or --as-is. A record is checked before it is sent, and one that
    would fail again is left where it is. What was sent carries the header weir.redriven-from with the place of the
    original, and is never sent a second time: the transactions topic is searched for that header first.

    \b
      weir dead-letters --counts
      weir redrive --error UNKNOWN_CURRENCY --set currency=EUR         # look
      weir redrive --error UNKNOWN_CURRENCY --set currency=EUR --yes   # send
    """
    from deploy.cli.kafka import Sender, plain_errors
    from jobs.stream.dead_letters import REDRIVEN_FROM, plan_redrive, read_change

    if bool(changes) + bool(edit) + as_is == 0:
        raise click.UsageError("say how to repair the records: --set FIELD=VALUE, --edit FILE, or --as-is")
    if as_is and (changes or edit):
        raise click.UsageError("--as-is sends untouched bytes: it goes with neither --set nor --edit")
    settings = context.settings()
    sent, skipped, shown = 0, Counter[str](), 0
    with plain_errors():
        wanted_changes = dict(read_change(text) for text in changes)
        edited = None if edit is None else _read_edits(edit)
        letters = {
            letter.origin: letter
            for letter in _letters(settings, since)
            if (not error or letter.error in error) and (edited is None or letter.origin in edited)
        }
        if edited is not None:
            for origin in sorted(edited.keys() - letters.keys()):
                skipped["in the file, and not among the dead letters"] += 1
                say(f"skip {origin}: in the file, and not among the dead letters")
        already = (
            _redriven(settings, min((letter.time_ms for letter in letters.values()), default=0)) if letters else set()
        )
        sender = Sender(settings, settings.topics.transactions) if yes and letters else None
        now_ms = int(time.time() * 1_000)
        for origin, letter in letters.items():
            plan = plan_redrive(
                letter,
                changes=wanted_changes,
                replacement=None if edited is None else edited[origin],
                as_is=as_is,
                already_sent=frozenset(already),
                now_ms=now_ms,
            )
            if plan.skipped:
                skipped[plan.skipped.partition(":")[0]] += 1
                if shown < SHOWN:
                    say(f"skip {origin} ({letter.error}): {plan.skipped}")
                    shown += 1
                continue
            if sender is not None:
                sender.send(plan.key, plan.value, headers=[(REDRIVEN_FROM, origin.encode())])
            elif sent < SHOWN:
                key = "–" if plan.key is None else plan.key.decode("utf-8", "backslashreplace")
                click.echo(f"would send {origin} ({letter.error}) with key {key}, {len(plan.value or b''):,} bytes")
            sent += 1
        if sender is not None:
            sender.flush()
            if sender.refused:
                fail(f"the broker refused {len(sender.refused):,} of {sent:,} records: {sender.refused[0]}")
    click.echo(f"{'sent' if yes else 'would send'} {sent:,} of {sent + skipped.total():,}")
    for reason, number in skipped.most_common():
        say(f"skipped {number:,}: {reason}")
    if not yes and sent:
        say("nothing was sent: add --yes to send")


def _letters(settings: Settings, since_ms: int | None) -> Iterator[DeadLetter]:
    from deploy.cli.kafka import client_properties
    from jobs.stream.dead_letters import read_dead_letter
    from jobs.stream.topic_reader import Start, TopicReader

    with TopicReader(client_properties(settings), [settings.topics.dead_letters], Start(since_ms=since_ms)) as reader:
        for batch in reader.until_end():
            for message in batch:
                yield read_dead_letter(message.key(), message.value(), message.headers(), message.timestamp()[1])


def _redriven(settings: Settings, since_ms: int) -> set[str]:
    """Origins of everything that was sent again since the oldest of the dead letters in question."""
    from deploy.cli.kafka import client_properties
    from jobs.stream.dead_letters import REDRIVEN_FROM
    from jobs.stream.topic_reader import Start, TopicReader

    found = set()
    with TopicReader(client_properties(settings), [settings.topics.transactions], Start(since_ms=since_ms)) as reader:
        for batch in reader.until_end():
            for message in batch:
                for name, value in message.headers() or ():
                    if name == REDRIVEN_FROM:
                        found.add(value.decode("utf-8", "replace"))
    return found


def _read_edits(path: Path) -> dict[str, dict[str, Any]]:
    """Read the edited content by origin."""
    from schemas.errors import SerializationError

    edits = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            edits[record["origin"]] = record["value"]
        except (ValueError, KeyError, TypeError) as error:
            raise SerializationError(
                f"{path}, line {number}: not a line of 'dead-letters --export' ({error!r})"
            ) from error
        if not isinstance(record["value"], dict):
            raise SerializationError(
                f"{path}, line {number}: value is {json.dumps(record['value'])}: put the transaction's fields there, "
                f"or remove the line"
            )
    return edits
