"""``weir simulate``: send made-up transactions to Kafka."""

from __future__ import annotations

import signal
import time

import click

from deploy.cli.context import CommandContext, fail, pass_context, say


@click.command()
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=2_000.0, show_default=True, help="Records/s.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="How long.  [default: until Ctrl-C]")
@click.option("--count", type=click.IntRange(1), help="How many records, instead of --seconds.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of everything random.")
@click.option("--accounts", type=click.IntRange(200), default=50_000, show_default=True, help="Size of the population.")
@click.option("--merchants", type=click.IntRange(200), default=5_000, show_default=True, help="Shops among it.")
@click.option("--labels/--no-labels", default=True, show_default=True, help="Send labels too, as they become known.")
@click.option(
    "--poison", type=click.FloatRange(0, 1), default=0.0, help="Share of bad records of every kind, say 0.01."
)
@click.option("--duplicates", type=click.FloatRange(0, 1), default=0.0, help="Share of records sent twice.")
@click.option(
    "--evidence", type=click.FloatRange(0, 1), default=0.0, help="Share of payments with a reference to a document."
)
@click.option(
    "--evidence-root",
    metavar="URI",
    default="file:///evidence",
    show_default=True,
    help="What stands before the document's name, which is TRANSACTION_ID.jpg.",
)
@pass_context
def command(
    context: CommandContext,
    rate: float,
    seconds: float | None,
    count: int | None,
    seed: int,
    accounts: int,
    merchants: int,
    labels: bool,
    poison: float,
    duplicates: float,
    evidence: float,
    evidence_root: str,
) -> None:
    """Send simulated transactions, with fraud and laundering among them, to the transactions topic.

    The load is open-loop: each record carries as its Kafka timestamp the moment it was due, so that latencies counted
    from it are honest even if something holds the sender up. Event times end about now and run faster than the clock;
    a smaller population makes them run faster still.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from deploy.cli.kafka import check_topic, client_properties, plain_errors
    from deploy.load.generator import LoadGenerator, LoadReport
    from deploy.load.plan import LoadPlan

    if seconds is not None and count is not None:
        raise click.UsageError("give --seconds or --count, not both")
    settings = context.settings()
    total = count if count is not None else None if seconds is None else max(1, round(rate * seconds))
    plan = LoadPlan(
        rate=rate,
        count=total,
        end_ms=int(time.time() * 1_000),
        seed=seed,
        accounts=accounts,
        merchants=merchants,
        has_labels=labels,
        poison_rate=poison,
        duplicate_rate=duplicates,
        evidence_share=evidence,
        evidence_root=evidence_root,
    )
    topics = settings.topics
    with plain_errors():
        check_topic(settings, topics.transactions)
        if labels:
            check_topic(settings, topics.labels)
        generator = LoadGenerator(plan, client_properties(settings), topics.transactions, topics.labels)
        signal.signal(signal.SIGINT, lambda *_: generator.stop())
        signal.signal(signal.SIGTERM, lambda *_: generator.stop())
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("simulating ...", total=total)

            def show(report: LoadReport) -> None:
                late = f", {report.behind_seconds * 1_000:.0f} ms late" if report.behind_seconds > 0.1 else ""
                text = f"{report.sent:,} sent, {report.rate:,.0f}/s{late}"
                progress.update(task, completed=report.sent, description=text)

            report = generator.run(show)
    say(
        f"sent {report.sent:,} transactions and {report.labels:,} labels in {report.elapsed_seconds:.1f} s: "
        f"{report.rate:,.0f} transactions/s"
    )
    if report.failed:
        fail(f"{report.failed:,} records were refused by the broker; the first: {generator.first_error or 'no answer'}")
