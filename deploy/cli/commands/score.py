"""``weir score``: submit the scoring job to Flink."""

import click

from deploy.cli.context import CommandContext, fail, pass_context, say

JOB = "jobs.score_transactions"
JOB_NAME = "score-transactions"
FIXED = {"shards": "or the state of the shards would not be found: give --shards as it was"}
LEARNER_JOB_NAME = "update-learners"


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--savepoint", metavar="PATH", help="Savepoint or retained checkpoint to continue from.")
@click.option("--parallelism", type=click.IntRange(1), help="TaskManager slots to use.  [default: 1]")
@click.option("--shards", type=click.IntRange(1), help="Entity shards; never change them for a running state.")
@click.option("--microbatch-ms", type=click.IntRange(1), help="Milliseconds of records that are scored together.")
@click.option(
    "--risk-labels",
    type=click.Choice(["raw", "matured"]),
    help="Labels that the risk features count; matured ones need the learner job.  [default: raw]",
)
@click.option("--ship-connector", is_flag=True, help="Send the Kafka connector along, for a cluster that lacks it.")
@click.option("--wait-seconds", type=click.FloatRange(0), default=180.0, show_default=True, help="Until it runs.")
@click.option("--again", is_flag=True, help="Submit even though a job scores the same topics already.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_context
def command(
    context: CommandContext,
    savepoint: str | None,
    parallelism: int | None,
    shards: int | None,
    microbatch_ms: int | None,
    risk_labels: str | None,
    ship_connector: bool,
    wait_seconds: float,
    again: bool,
    arguments: tuple[str, ...],
) -> None:
    """Submit the scoring job, wait until it runs, and print its id.

    ARGUMENTS after -- go to the job as they are.
    """
    from deploy.local.jars import fetch_jars
    from deploy.local.savepoints import changes_since
    from deploy.local.stack import LocalStack
    from deploy.local.submit import FlinkRest, submit_job
    from jobs.job_parameters import scoring_parameters

    settings = context.settings(
        parallelism=parallelism, shards=shards, microbatch_ms=microbatch_ms, risk_labels=risk_labels
    )
    say("settings: " + "  ".join(f"{name}={value}" for name, value in settings.masked().items() if value is not None))
    rest = FlinkRest(settings.flink_rest_url)
    running = rest.running_jobs(JOB_NAME)
    if running and not again:
        names = ", ".join(f"{job['name']} ({job['jid']})" for job in running)
        fail(f"a job runs already: {names}; two of them would score every transaction twice. Use --again to insist.")
    if savepoint:
        for change in changes_since(savepoint, scoring_parameters(settings), FIXED):
            say(f"since the savepoint: {change}")
    if settings.risk_labels == "matured" and not rest.running_jobs(LEARNER_JOB_NAME):
        say("risk_labels is matured and no learner job runs: no label counts until 'weir learn' has started it")
    stack = LocalStack(settings.home_dir)
    is_ours = stack.status()["flink_rest_url"] == settings.flink_rest_url
    job_id = submit_job(
        settings.flink_rest_url,
        JOB,
        arguments,
        jars=fetch_jars(stack.jars_folder, say),
        work_folder=settings.home_dir / "logs",
        options=stack.flink.job_options() if is_ours else None,
        savepoint=savepoint,
        ship_connector=ship_connector,
        environment=settings.as_environment(),
    )
    say(f"submitted {job_id}")
    if wait_seconds:
        rest.wait_until_running(job_id, wait_seconds)
        say("it runs")
    click.echo(job_id)
