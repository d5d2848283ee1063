"""``weir score``: submit the scoring job to Flink."""

import click

from deploy.cli.context import CommandContext, fail, pass_context, say
from deploy.cli.submission import submission_options, submit

JOB = "jobs.score_transactions"
JOB_NAME = "score-transactions"
FIXED = {"shards": "or the state of the shards would not be found: give --shards as it was"}
LEARNER_JOB_NAME = "update-learners"


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--parallelism", type=click.IntRange(1), help="TaskManager slots to use.  [default: 1]")
@click.option("--shards", type=click.IntRange(1), help="Entity shards; never change them for a running state.")
@click.option("--microbatch-ms", type=click.IntRange(1), help="Milliseconds of records that are scored together.")
@click.option(
    "--risk-labels",
    type=click.Choice(["raw", "matured"]),
    help="Labels that the risk features count; matured ones need the learner job.  [default: raw]",
)
@submission_options
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
    from deploy.local.savepoints import changes_since, copy_to_start_from
    from deploy.local.submit import FlinkRest
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
        own = copy_to_start_from(savepoint)
        if own == savepoint:
            say("the job takes the savepoint over: Flink removes it when later checkpoints need it no more")
        savepoint = own
    if settings.risk_labels == "matured" and not rest.running_jobs(LEARNER_JOB_NAME):
        say("risk_labels is matured and no learner job runs: no label counts until 'weir learn' has started it")
    submit(
        settings,
        JOB,
        arguments,
        savepoint=savepoint,
        ship_connector=ship_connector,
        wait_seconds=wait_seconds,
        takes_over=True,
    )
