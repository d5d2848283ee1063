"""``weir decisions``: the ledger."""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from deploy.cli.context import CommandContext, pass_context, say
from deploy.cli.since import SINCE


@click.command()
@click.option("--outcome", type=click.Choice(["approve", "review", "decline"]), multiple=True, help="Only these.")
@click.option("--account", metavar="ID", help="Only transactions of this originator.")
@click.option(
    "--since", type=SINCE, metavar="TIME", help="Since then: 10m, 2h, 3d, or 2026-01-31T12:00 (UTC).  [default: all]"
)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Newest ones to show.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with every field.")
@pass_context
def command(
    context: CommandContext, outcome: tuple[str, ...], account: str | None, since: int | None, limit: int, as_json: bool
) -> None:
    """Show the newest decisions of the ledger, one for every accepted transaction.

    Read as a consumer should read them: committed ones only, so the newest seconds (one checkpoint) are not there yet.
    """
    from rich.console import Console

    from deploy.cli.kafka import client_properties, plain_errors
    from deploy.cli.show import as_plain
    from jobs.stream.decision_heads import read_heads
    from jobs.stream.topic_reader import Start, TopicReader
    from schemas.decisions import OUTCOMES
    from schemas.records import decode_record

    settings = context.settings()
    # Without a filter the newest are at the end; with one, nobody knows where they are
    is_filtered = bool(outcome or account)
    at = Start(since_ms=since) if since is not None else Start(last=None if is_filtered else 4 * limit)
    wanted = {OUTCOMES.index(name) for name in outcome} or set(range(len(OUTCOMES)))
    key = None if account is None else account.encode()
    newest: list[tuple[int, int, bytes]] = []  # a heap by source time: partitions come one after the other
    seen = 0
    with plain_errors():
        with TopicReader(client_properties(settings), [settings.topics.decisions], at) as reader:
            for batch in reader.until_end():
                values = [m.value() or b"" for m in batch if key is None or m.key() == key]
                heads = read_heads(values)
                rows = zip(values, heads.is_read, heads.outcome.tolist(), heads.source_time_ms.tolist(), strict=True)
                for value, is_read, what, time_ms in rows:
                    if is_read and what in wanted:
                        seen += 1
                        heapq.heappush(newest, (time_ms, seen, value))
                        if len(newest) > limit:
                            heapq.heappop(newest)
        records = [decode_record(value, name="decision") for _, _, value in sorted(newest)]
    if as_json:
        for record in records:
            click.echo(json.dumps(as_plain(record), ensure_ascii=False))
    elif records:
        Console().print(table_of(records))
    else:
        say("no decisions (of that kind); the newest are committed with the next checkpoint")


def table_of(records: Sequence[Mapping[str, Any]]):  # type: ignore[no-untyped-def]
    """Decisions as a table, oldest first."""
    from rich.table import Table

    from deploy.cli.show import moment, money
    from deploy.cli.show import outcome as coloured

    table = Table(box=None, header_style="bold")
    for title in ("decided (UTC)", "transaction", "account"):
        table.add_column(title, no_wrap=True)
    table.add_column("amount", justify="right", no_wrap=True)
    table.add_column("outcome")
    table.add_column("score", justify="right")
    table.add_column("typology", justify="right")
    table.add_column("first reason")
    for record in records:
        reasons = record["explanation"]["reasons"]
        table.add_row(
            moment(record["processing"]["decision_time_ms"]),
            record["transaction_id"],
            record["account_id"],
            money(record["amount_minor"], record["currency"]),
            coloured(record["outcome"]),
            f"{record['score']:.3f}",
            f"{record['typology_score']:.2f}",
            reasons[0]["text"] if reasons else "",
        )
    return table
