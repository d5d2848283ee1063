"""``weir replay``: decide again on a stretch of the stream, and compare runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from deploy.cli.context import CommandContext, fail, pass_context, say
from deploy.cli.row_file_options import row_file_options
from deploy.cli.since import SINCE


class _Replay(click.Group):
    """Its options replay; its subcommands, loaded when asked for, do what else there is to do with runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["diff", "list", "resume", "delete"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "diff":
            from deploy.cli.replay.diff import command as diff

            return diff  # type: ignore[no-any-return, unused-ignore]
        known: dict[str, click.Command] = {"list": list_runs, "resume": resume, "delete": delete}
        return known.get(cmd_name)


@click.group(cls=_Replay, invoke_without_command=True)
@click.option("--from", "from_ms", type=SINCE, metavar="TIME", help="First transaction: 2026-01-31T12:00 (UTC), or 2h.")
@click.option("--to", "to_ms", type=SINCE, metavar="TIME", help="End of the range, not in it.  [default: now]")
@click.option(
    "--order",
    type=click.Choice(["log", "recorded", "file", "time"]),
    help="Of record timestamps (log), or that of the live run, as its decisions recorded it; of a file: of its rows "
    "(file), or of event times.  [default: log; of a file: file]",
)
@click.option("--partitions", metavar="N,N", help="Decide on the transactions of these partitions alone.")
@click.option("--account", metavar="ID", help="Decide on the transactions of this originator alone.")
@click.option("--model", metavar="NAME@VERSION", help="Score with this model; or its folder.  [default: as recorded]")
@click.option(
    "--rules",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Decide by the rules of this JSON file.  [default: as recorded]",
)
@click.option("--speed", default="max", show_default=True, metavar="max|1x|10x", help="Of the stream's own pace.")
@click.option(
    "--warm",
    type=click.Choice(["window", "all"]),
    default="window",
    show_default=True,
    help="Fill the windows from the longest window before the range on, or from the log's beginning.",
)
@click.option(
    "--risk-labels",
    type=click.Choice(["raw", "matured"]),
    help="Labels that the risk features count: as the live run's, or its decisions cannot be reproduced.  [default: as "
    "the settings say]",
)
@click.option("--run-id", metavar="NAME", help="Name of the run: its topics carry it.  [default: by the time]")
@click.option("--parallelism", type=click.IntRange(1), default=1, show_default=True, help="TaskManager slots to use.")
@click.option(
    "--batch-rows", type=click.IntRange(1, 100_000), default=4_000, show_default=True, help="Records a batch."
)
@click.option(
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Decide on the transactions of this file instead (Parquet, CSV, JSON lines, Avro): no Kafka, no Flink.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Of --file: folder for the results.")
@row_file_options("--file")
@click.option("--dry-run", is_flag=True, help="Say what would be replayed, and start nothing.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@click.option("--ship-connector", is_flag=True, help="Send the Kafka connector along, for a cluster that lacks it.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Decide again on the transactions of a range, apart from the live job.

    The log before the range is read first, so that the windows are as full as they were. What comes of it goes to
    topics of the run's own (replay.RUN.decisions, .alerts, .dead-letters, .duplicates); live topics, consumer groups,
    Redis and state are read or left alone. Unless --model or --rules name others, every transaction is decided on by
    the model, the rules and the learner's parameters that its live decision names, with the reference data of then.

    Ctrl-C ends a replay so that 'weir replay resume RUN' goes on where it was.

    With --file the same core decides on the rows of a file in this process, in the order of the rows or of event
    times. --from and --to are event times then; what lies outside only fills the windows. There is no reference data,
    and no label reaches the features. --out gets decisions.avro, alerts.avro and dead-letters.jsonl; the same file,
    options and versions give the same bytes.

    \b
      weir replay --from 2h --dry-run
      weir replay --from 2026-01-31T12:00 --to 2026-01-31T13:00 --order recorded --run-id audit
      weir replay --from 7d --rules tighter.json --run-id tighter
      weir replay diff live tighter
      weir replay --file payments.parquet --rules tighter.json --out tighter
    """
    if ctx.invoked_subcommand is not None:
        return
    context = ctx.ensure_object(CommandContext)
    file = options.pop("file")
    of_file = {name: options.pop(name) for name in ("out", "maps", "defaults", "kind")}
    order = options.pop("order")
    if file is None:
        given = [name for name, value in of_file.items() if value]
        if given or order in ("file", "time"):
            raise click.UsageError("--out, --map, --default, --format and the orders file and time are of --file")
        _replay(context, order=order or "log", **options)
        return
    from deploy.cli.replay.file_command import KAFKA_ONLY, run_on_file

    for name in KAFKA_ONLY:
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} is of replays from Kafka, not of --file")
        del options[name]
    if order in ("log", "recorded"):
        raise click.UsageError(f"--order {order} is of replays from Kafka; a file has the orders file and time")
    run_on_file(context, file, order=order or "file", **options, **of_file)


def _replay(
    context: CommandContext,
    from_ms: int | None,
    to_ms: int | None,
    order: str,
    partitions: str | None,
    account: str | None,
    model: str | None,
    rules: Path | None,
    speed: str,
    warm: str,
    risk_labels: str | None,
    run_id: str | None,
    parallelism: int,
    batch_rows: int,
    dry_run: bool,
    detach: bool,
    ship_connector: bool,
) -> None:
    from deploy.cli.kafka import plain_errors
    from deploy.cli.replay.planning import PlanError, describe, new_run_id, plan
    from deploy.cli.replay.running import Run, load_run, run_file
    from jobs.stream.replay.range import RangeError

    if from_ms is None:
        raise click.UsageError("say where to begin: --from 2026-01-31T12:00 or --from 2h (see 'weir replay --help')")
    settings = context.settings(risk_labels=risk_labels)
    now_ms = int(time.time() * 1_000)
    name = run_id or new_run_id(now_ms)
    if load_run(settings, name) is not None and not dry_run:
        fail(f"there is a run {name} already: 'weir replay resume {name}' goes on with it, 'weir replay delete {name}' "
             "forgets it; or choose another --run-id")  # fmt: skip
    try:
        numbers = tuple(int(part) for part in partitions.split(",")) if partitions else ()
    except ValueError:
        raise click.UsageError(f"--partitions {partitions}: expected numbers, such as 0,2") from None
    with plain_errors():
        try:
            spec = plan(
                settings, name, from_ms, now_ms if to_ms is None else to_ms, order, numbers, account, model, rules,
                speed, batch_rows, warm, now_ms,
            )  # fmt: skip
        except (PlanError, RangeError) as error:
            fail(str(error))
    describe(spec)
    if dry_run:
        click.echo(spec.to_json())
        return
    _go(settings, Run(run_file(settings, name), spec, parallelism), detach, ship_connector)


def _go(settings: Any, run: Any, detach: bool, ship_connector: bool) -> None:
    from deploy.cli.replay.account import account_of
    from deploy.cli.replay.running import ReplayError, follow, submit
    from deploy.local.errors import StackError, SubmissionError
    from deploy.local.submit import FlinkRest

    name = run.spec.run_id
    try:
        submit(settings, run, ship_connector)
    except (ReplayError, SubmissionError, StackError) as error:
        fail(str(error))
    say(f"submitted {run.job_id}")
    if detach:
        click.echo(name)
        return
    begun = time.monotonic()
    try:
        state = follow(settings, run)
    except KeyboardInterrupt:
        say(f"interrupted: 'weir replay resume {name}' goes on with it")
        raise SystemExit(130) from None
    if state != "FINISHED":
        rest = FlinkRest(settings.flink_rest_url)
        fail(f"the replay {state.lower()}; 'weir replay resume {name}' tries again.\n{rest.failure(run.job_id)[:3000]}")
    found = account_of(settings, name)
    say(
        f"{found.decisions:,} decisions, {found.dead_letters:,} dead letters, {found.duplicates:,} duplicates "
        f"in {time.monotonic() - begun:.1f} s; 'weir replay diff live {name}' compares them"
    )
    click.echo(name)


@click.command("list")
@pass_context
def list_runs(context: CommandContext) -> None:
    """List the runs of this machine."""
    from rich.console import Console
    from rich.table import Table

    from deploy.cli.replay.running import known_runs
    from jobs.stream.replay.range import moment

    table = Table(box=None, header_style="bold")
    for title in ("run", "state", "from", "to", "order", "transactions"):
        table.add_column(title)
    for run in known_runs(context.settings()):
        spec = run.spec
        table.add_row(spec.run_id, run.state.lower(), moment(spec.from_ms), moment(spec.to_ms), spec.order,
                      f"{spec.rows_to_decide:,}")  # fmt: skip
    Console().print(table)


@click.command("resume")
@click.argument("run_id")
@click.option("--ship-connector", is_flag=True, help="Send the Kafka connector along, for a cluster that lacks it.")
@pass_context
def resume(context: CommandContext, run_id: str, ship_connector: bool) -> None:
    """Go on with the run RUN_ID from its newest checkpoint, or watch it if it still runs."""
    from deploy.cli.replay.running import follow, load_run
    from deploy.local.submit import FlinkRest
    from jobs.replay import job_name

    settings = context.settings()
    run = load_run(settings, run_id)
    if run is None:
        fail(f"there is no run {run_id} on this machine: 'weir replay list' shows what there is")
    if run.state == "FINISHED":
        fail(f"run {run_id} is finished: 'weir replay diff live {run_id}' compares it")
    running = FlinkRest(settings.flink_rest_url).running_jobs(job_name(run_id))
    if running:
        say("it still runs")
        try:
            state = follow(settings, run)
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        say(state.lower())
        return
    say(f"going on from {run.checkpoint}" if run.checkpoint else "no checkpoint was complete: beginning again")
    _go(settings, run, False, ship_connector)


@click.command("delete")
@click.argument("run_id")
@pass_context
def delete(context: CommandContext, run_id: str) -> None:
    """Delete the topics of the run RUN_ID and what is known of it; its job must have ended."""
    from deploy.cli.kafka import client_properties, plain_errors
    from deploy.cli.replay.running import run_file
    from deploy.local.run_topics import delete_run_topics
    from jobs.replay import output_settings

    settings = context.settings()
    with plain_errors():
        deleted = delete_run_topics(client_properties(settings), output_settings(settings, run_id).topic_prefix)
    run_file(settings, run_id).unlink(missing_ok=True)
    say(f"deleted {', '.join(deleted)}" if deleted else f"run {run_id} has no topics")
