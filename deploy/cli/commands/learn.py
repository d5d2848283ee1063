"""``weir learn``: submit the learner job to Flink."""

import click

from deploy.cli.context import CommandContext, fail, pass_context, say
from deploy.cli.submission import submission_options, submit

JOB = "jobs.update_learners"
JOB_NAME = "update-learners"
FIXED = {
    "feature_set": "weights and waiting decisions are of the features of then: start the learner job without it",
    "learner": "start the learner job without it",
}


@click.command()
@click.option("--learner", metavar="NAME", help="Learner that follows the labels.  [default: logistic-regression]")
@click.option("--idle-seconds", type=click.FloatRange(0), help="Go on without a silent partition; 0 waits for ever.")
@submission_options
@pass_context
def command(
    context: CommandContext,
    learner: str | None,
    idle_seconds: float | None,
    savepoint: str | None,
    ship_connector: bool,
    wait_seconds: float,
) -> None:
    """Submit the learner job, wait until it runs, and print its id.

    It learns from the topics decisions and labels, and writes the learner's parameters to model-updates. It needs a
    TaskManager slot of its own beside the scoring job.
    """
    from deploy.local.savepoints import changes_since
    from deploy.local.submit import FlinkRest
    from jobs.job_parameters import learner_parameters

    settings = context.settings(learner=learner, idle_seconds=idle_seconds)
    rest = FlinkRest(settings.flink_rest_url)
    if rest.running_jobs(JOB_NAME):
        fail("a learner job runs already: two of them would publish over each other. Cancel it first.")
    if savepoint:
        for change in changes_since(savepoint, learner_parameters(settings), FIXED):
            say(f"since the savepoint: {change}")
    submit(
        settings,
        JOB,
        savepoint=savepoint,
        ship_connector=ship_connector,
        wait_seconds=wait_seconds,
    )
