"""``weir alerts``: what an analyst should look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from deploy.cli.context import CommandContext, pass_context, say
from deploy.cli.since import SINCE


@click.command()
@click.option("--follow", is_flag=True, help="Go on with new alerts until Ctrl-C.")
@click.option(
    "--since",
    type=SINCE,
    metavar="TIME",
    help="Alerts of transactions since then: 10m, 2h, 3d, or 2026-01-31T12:00 (UTC).",
)
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Newest ones to show, without --since."
)
@click.option(
    "--shadow", is_flag=True, help="Would-be alerts of rules and a model on trial, with the live outcome of each."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@pass_context
def command(context: CommandContext, follow: bool, since: int | None, limit: int, shadow: bool, as_json: bool) -> None:
    """Show the newest alerts with their reasons.

    An alert that was delivered twice is shown once. With --follow a later revision of it is shown again, as it says
    more; what is there already is shown in its newest revision alone.
    """
    from rich.console import Console

    from deploy.cli.kafka import client_properties, plain_errors
    from jobs.stream.alert_reader import AlertReader, newest_of
    from jobs.stream.topic_reader import Start

    settings = context.settings()
    topic = settings.topics.shadow_alerts if shadow else settings.topics.alerts
    console = Console()
    start = Start(since_ms=since) if since is not None else Start(last=limit)

    def show(alert: Mapping[str, Any]) -> None:
        if as_json:
            click.echo(line_of(alert))
        else:
            console.print(block_of(alert), soft_wrap=True)

    with plain_errors():
        reader = AlertReader(client_properties(settings), topic, start)
        try:
            # In the order of decisions, across partitions; the last ones where only so many are asked for
            found = sorted(newest_of(reader.until_end()), key=lambda alert: int(alert["decision_time_ms"]))
            shown = found if since is not None else found[-limit:]
            for alert in shown:
                show(alert)
            if not shown and not follow:
                say("no alerts")
            if follow:
                for alert in reader.follow():
                    show(alert)
        finally:
            reader.close()
            if reader.unreadable:
                say(f"{reader.unreadable} records on {topic} are no alerts and were passed over")


def line_of(alert: Mapping[str, Any]) -> str:
    """One alert as one line of JSON."""
    from deploy.cli.show import as_plain

    return json.dumps(as_plain(alert), ensure_ascii=False)


def block_of(alert: Mapping[str, Any]):  # type: ignore[no-untyped-def]
    """One alert as a heading and a line for each reason."""
    from rich.text import Text

    from deploy.cli.show import OUTCOME_STYLES, moment, money

    style = OUTCOME_STYLES[alert["outcome"]]
    revision = f" revision {alert['revision']}" if alert["revision"] else ""
    text = Text.assemble(
        (moment(alert["decision_time_ms"]), "dim"),
        "  ",
        (f"{alert['outcome']:<8}", f"bold {style}"),
        f"score {alert['score']:.3f}  ",
        (money(alert["amount_minor"], alert["currency"]), "bold"),
        f"  {alert['account_id']} → {alert['counterparty_id']}  ",
        (f"{alert['transaction_id']}{revision}", "cyan"),
    )
    if "live_outcome" in alert:
        text.append(f"  live: {alert['live_outcome']}", style="dim")
    if alert.get("change"):
        text.append(f"\n    {alert['change']}", style="cyan")
    for reason in alert["reasons"]:
        text.append(f"\n    {reason['text']}")
        text.append(f"  {reason['code']}", style="dim")
    if alert["typologies"]:
        text.append(f"\n    typology: {', '.join(alert['typologies'])}", style="magenta")
    if alert["degraded"]:
        text.append(f"\n    decided without: {', '.join(alert['degraded'])}", style="dim yellow")
    if not alert.get("is_final", True):
        text.append("\n    waits for evidence: a revision follows", style="dim")
    return text
