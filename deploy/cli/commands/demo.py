"""``weir demo``: the whole of it, live."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from deploy.cli.context import CommandContext, fail, pass_context


@click.command()
@click.option(
    "--duration-seconds",
    type=click.FloatRange(0, min_open=True),
    envvar="DURATION",
    help="How long to send.  [default: until Ctrl-C]",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    envvar="RATE",
    default=2_000.0,
    show_default=True,
    help="Records/s.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the simulator.")
@click.option("--poison", type=click.FloatRange(0, 1), default=0.005, show_default=True, help="Share of bad records.")
@click.option("--duplicates", type=click.FloatRange(0, 1), default=0.005, show_default=True, help="Share sent twice.")
@click.option(
    "--evidence-share",
    type=click.FloatRange(0, 1),
    default=0.04,
    show_default=True,
    help="Share of the transfers from 1,000 EUR on that come with a document.",
)
@click.option("--no-evidence", is_flag=True, help="Without documents and side services: scoring alone.")
@click.option(
    "--picture", type=click.Path(path_type=Path, dir_okay=False), help="Write the last view as an SVG picture."
)
@pass_context
def command(
    context: CommandContext,
    duration_seconds: float | None,
    rate: float,
    seed: int,
    poison: float,
    duplicates: float,
    evidence_share: float,
    no_evidence: bool,
    picture: Path | None,
) -> None:
    """Show everything at work: a stack of its own, the scoring job, simulated payments, and what is found in them.

    Starts Kafka, Flink and Redis on free ports under .weir/demo, beside whatever runs already; submits the job; sends
    payments with fraud, laundering, bad records and duplicates among them; and shows rates, latencies, decisions,
    alerts with their reasons and dead letters. Some transfers come with a document (a cheque, an invoice, a receipt,
    some of them forged): side services look at those of alerts, and the alerts are revised. At the end it writes one
    such alert as a page for a browser. Ends after the duration or with Ctrl-C, counts the topics, and leaves no process
    behind. Without a terminal it prints a line every few seconds.

    Latency runs from the moment a record was due to the moment its answer was read here.
    """
    from rich.console import Console

    from deploy.cli.live.run import Demo, DemoOptions

    options = DemoOptions(
        rate=rate,
        duration_seconds=duration_seconds,
        seed=seed,
        poison_rate=poison,
        duplicate_rate=duplicates,
        evidence_share=0.0 if no_evidence else evidence_share,
        picture=picture,
    )

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)  # `kill` cleans up as Ctrl-C does
    demo = Demo(context.settings, context.home / "demo", options, Console())
    try:
        is_even = demo.run()
    except KeyboardInterrupt:
        fail("stopped before the end; nothing was left behind")
    if not is_even:
        fail("some records are not accounted for: see the summary above")
