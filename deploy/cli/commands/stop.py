"""``weir stop``: stop a job with a savepoint."""

import click

from deploy.cli.context import CommandContext, fail, pass_context, say

JOB_NAMES = {"score": "score-transactions", "learn": "update-learners"}


@click.command()
@click.argument("job", type=click.Choice(sorted(JOB_NAMES)), default="score")
@click.option("--to", "folder", metavar="URI", help="Folder for the savepoint. Default: as Flink is configured.")
@click.option(
    "--timeout-seconds", type=click.FloatRange(1), default=300.0, show_default=True, help="For the savepoint."
)
@pass_context
def command(context: CommandContext, job: str, folder: str | None, timeout_seconds: float) -> None:
    """Stop the scoring job (or with 'learn' the learner job) with a savepoint, and print where it lies.

    Whatever the job decided until then is committed. Go on from there with 'weir score --savepoint PATH', with other
    code, another model or parallelism; go on from it once only, or transactions are decided twice.
    """
    from deploy.local.savepoints import write_note
    from deploy.local.submit import FlinkRest

    settings = context.settings()
    rest = FlinkRest(settings.flink_rest_url)
    running = rest.running_jobs(JOB_NAMES[job])
    if not running:
        fail(f"no job {JOB_NAMES[job]} runs at {settings.flink_rest_url}")
    if len(running) > 1:
        fail(f"{len(running)} jobs {JOB_NAMES[job]} run: stop them one by one in Flink's web interface")
    job_id = running[0]["jid"]
    parameters = rest.parameters(job_id)
    say(f"stopping {job_id} with a savepoint")
    savepoint = rest.stop_with_savepoint(job_id, folder, timeout_seconds)
    if not write_note(savepoint, parameters):
        say("it lies on no disk of this machine: what it was made by could not be written beside it")
    say(f"stopped; go on with: weir {job} --savepoint {savepoint}")
    click.echo(savepoint)
