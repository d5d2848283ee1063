"""``weir settings``: the effective settings, or the table of all of them."""

import json

import click

from deploy.cli.context import CommandContext, pass_context
from jobs.settings import Settings, settings_table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the effective settings as JSON.")
@click.option("--table", is_flag=True, help="Print every setting with default and meaning, in Markdown.")
@pass_context
def command(context: CommandContext, as_json: bool, table: bool) -> None:
    """Show the effective settings, secrets masked, and what they mean."""
    if table:
        click.echo(settings_table())
        return
    effective = context.settings().masked()
    if as_json:
        click.echo(json.dumps(effective, indent=2))
        return
    for name, value in effective.items():
        click.echo(f"{name} = {value}")
        click.echo(click.style(f"    {Settings.model_fields[name].description}", dim=True))
