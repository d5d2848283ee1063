"""``weir learning``: what an operator asks of the learner job."""

from __future__ import annotations

import time
import uuid
from typing import Any

import click

from deploy.cli.context import CommandContext, fail, pass_context, say

SOURCES = ("other", "chargeback", "analyst", "sar", "rule", "simulator", "*")

from_seconds = click.option(
    "--from-seconds", type=float, default=10.0, show_default=True,
    help="From now, in labels' Kafka time: late enough, and every run of the job follows it at the same label.",
)  # fmt: skip
reason = click.option("--reason", default="", help="Why; kept with the command.")


@click.group()
def command() -> None:
    """Keep bad labels from the learner, or set it back, while the job runs.

    Commands lie on the control topic and are followed at a place among the labels, so that learning anew from the
    topics meets them where they were.
    """


@command.command("quarantine")
@click.argument("source", type=click.Choice(SOURCES))
@from_seconds
@reason
@pass_context
def quarantine(context: CommandContext, source: str, from_seconds: float, reason: str) -> None:
    """Let labels of SOURCE teach nothing, now or later; * freezes the learner."""
    _send(context, from_seconds, action="quarantine", source=source, reason=reason)


@command.command("release")
@click.argument("source", type=click.Choice(SOURCES))
@from_seconds
@reason
@pass_context
def release(context: CommandContext, source: str, from_seconds: float, reason: str) -> None:
    """Let labels of SOURCE teach again."""
    _send(context, from_seconds, action="release", source=source, reason=reason)


@command.command("rollback")
@click.argument("labels_seen", type=click.IntRange(0))
@from_seconds
@reason
@pass_context
def rollback(context: CommandContext, labels_seen: int, from_seconds: float, reason: str) -> None:
    """Set the learner back to its newest kept state of at most LABELS_SEEN labels; 0 begins anew.

    A state is kept for each of the last 24 hours of event time in which something was learned. Decisions name the
    number of labels as learner_version.
    """
    _send(context, from_seconds, action="rollback", labels_seen=labels_seen, reason=reason)


def _send(context: CommandContext, from_seconds: float, **fields: Any) -> None:
    from deploy.cli.kafka import Sender, plain_errors
    from schemas.records import encode_record

    settings = context.settings()
    from_ms = time.time_ns() // 1_000_000 + int(from_seconds * 1000)
    key = f"learning/{from_ms}-{uuid.uuid4().hex[:8]}"
    with plain_errors():
        sender = Sender(settings, settings.topics.control)
        sender.send(key.encode(), encode_record("learning_command", {"from_ms": from_ms, **fields}))
        sender.flush()
        if sender.refused:
            fail(f"the broker refused the command: {sender.refused[0]}")
    say(f"{fields['action']}: followed from the first label sent {from_seconds:g} s from now")
    click.echo(key)
