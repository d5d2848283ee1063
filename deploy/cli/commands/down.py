"""``weir down``: stop the embedded stack."""

import click

from deploy.cli.context import CommandContext, pass_context, say


@click.command()
@click.option("--delete-data", is_flag=True, help="Also remove Kafka's data, checkpoints and logs.")
@pass_context
def command(context: CommandContext, delete_data: bool) -> None:
    """Stop what 'weir up' started, exactly that.

    Kafka's data, checkpoints and logs stay under .weir for the next 'weir up', unless you ask otherwise. Stopping a
    stack that does not run does nothing.
    """
    from deploy.local.stack import LocalStack

    stopped = LocalStack(context.settings().home_dir).down(delete_data)
    say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
