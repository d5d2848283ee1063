"""``weir gather``: submit the job that asks side services about evidence to Flink."""

import click

from deploy.cli.context import CommandContext, fail, pass_context
from deploy.cli.submission import submission_options, submit

JOB = "jobs.gather_evidence"
JOB_NAME = "gather-evidence"


@click.command()
@click.option("--vision-url", metavar="URL", help="Service that looks at documents.")
@click.option("--text-url", metavar="URL", help="Service that reads memos.")
@click.option("--multimodal-url", metavar="URL", help="Service that compares documents with payments.")
@click.option("--budget-seconds", type=click.FloatRange(0.1, 60), help="Longest that an alert waits.  [default: 10]")
@submission_options
@pass_context
def command(
    context: CommandContext,
    vision_url: str | None,
    text_url: str | None,
    multimodal_url: str | None,
    budget_seconds: float | None,
    savepoint: str | None,
    ship_connector: bool,
    wait_seconds: float,
) -> None:
    """Submit the gathering job, wait until it runs, and print its id.

    It asks the services whose address is set about the evidence that alerts wait for, and revises the alerts. The
    scoring job asks for evidence only where it was submitted with the same addresses, so set them where both jobs find
    them: in weir.toml or the environment. The job needs a TaskManager slot of its own beside the others.
    """
    from deploy.local.submit import FlinkRest
    from jobs.evidence_settings import service_addresses

    settings = context.settings(
        evidence_vision_url=vision_url,
        evidence_text_url=text_url,
        evidence_multimodal_url=multimodal_url,
        evidence_budget_seconds=budget_seconds,
    )
    if not service_addresses(settings):
        fail("no service has an address: set evidence_vision_url, evidence_text_url or evidence_multimodal_url")
    rest = FlinkRest(settings.flink_rest_url)
    if rest.running_jobs(JOB_NAME):
        fail("a gathering job runs already: two of them would ask about every request. Cancel it first.")
    submit(
        settings,
        JOB,
        savepoint=savepoint,
        ship_connector=ship_connector,
        wait_seconds=wait_seconds,
    )
