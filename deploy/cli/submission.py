"""What the commands that submit a job have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from deploy.cli.context import say
from jobs.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--savepoint", metavar="PATH", help="Savepoint or retained checkpoint to continue from."),
    click.option("--ship-connector", is_flag=True, help="Send the Kafka connector along, for a cluster that lacks it."),
    click.option("--wait-seconds", type=click.FloatRange(0), default=180.0, show_default=True, help="Until it runs."),
)


def submission_options(command: Command) -> Command:
    """Give a command ``--savepoint``, ``--ship-connector`` and ``--wait-seconds``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def submit(
    settings: Settings,
    job: str,
    arguments: Sequence[str] = (),
    *,
    savepoint: str | None,
    ship_connector: bool,
    wait_seconds: float,
    takes_over: bool = False,
) -> None:
    """Submit a job to the Flink of the settings, wait until it runs, and print its id.

    Parameters
    ----------
    settings
        Handed to the job; the embedded stack's options for jobs go with it where that stack is the Flink they name.
    job
        Module with its ``main``.
    arguments
        Passed to that ``main``.
    savepoint, ship_connector, wait_seconds
        Values of `submission_options`; 0 s: do not wait.
    takes_over
        The savepoint is the job's own from then on.
    """
    from deploy.local.jars import fetch_jars
    from deploy.local.stack import LocalStack
    from deploy.local.submit import FlinkRest, submit_job

    stack = LocalStack(settings.home_dir)
    is_ours = stack.status()["flink_rest_url"] == settings.flink_rest_url
    job_id = submit_job(
        settings.flink_rest_url,
        job,
        arguments,
        jars=fetch_jars(stack.jars_folder, say),
        work_folder=settings.home_dir / "logs",
        options=stack.flink.job_options() if is_ours else None,
        savepoint=savepoint,
        takes_over=takes_over,
        ship_connector=ship_connector,
        environment=settings.as_environment(),
    )
    say(f"submitted {job_id}")
    if wait_seconds:
        FlinkRest(settings.flink_rest_url).wait_until_running(job_id, wait_seconds)
        say("it runs")
    click.echo(job_id)
