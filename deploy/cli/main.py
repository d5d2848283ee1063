"""``weir``: the one command line; its commands are the modules of ``deploy/cli/commands``, loaded when asked for."""

import importlib
import logging
import pkgutil
import sys
from pathlib import Path
from typing import Any

import click

from deploy.cli import commands
from deploy.cli.context import CommandContext
from jobs.settings import SettingsError

EPILOG = """\b
A first look, on this machine alone:
  weir up                 start Kafka, Flink and Redis, and make the topics
  weir score              submit the scoring job
  weir simulate           send made-up transactions
  weir alerts --follow    watch what it finds, with reasons
  weir status             what runs, where, and how far behind
  weir down               stop it all
\b
Against clusters of your own, addresses are enough:
  weir --bootstrap-servers k1:9092 --flink-rest-url http://flink:8081 score

Settings: option > environment (WEIR_BOOTSTRAP_SERVERS ...) > weir.toml > what 'weir up' wrote > default;
'weir settings' shows them all. Results go to standard output, everything else to standard error. Exit status: 0 done,
1 failed, 2 wrong usage."""


class LazyCommands(click.Group):
    """A group whose commands are modules, so that ``weir status`` need not import what ``weir simulate`` does."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the modules, with dashes."""
        del ctx
        names = (module.name for module in pkgutil.iter_modules(commands.__path__))
        return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{commands.__name__}.{cmd_name.replace('-', '_')}")
        command = module.command
        assert isinstance(command, click.Command), f"{module.__name__}.command is no click command"
        return command


@click.group(cls=LazyCommands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML). Default: weir.toml, if there.")
@click.option("--bootstrap-servers", metavar="HOST:PORT", help="Kafka.")
@click.option("--flink-rest-url", metavar="URL", help="Flink's JobManager.")
@click.option("--redis-url", metavar="URL", help="Redis with reference data.")
@click.option("--schema-registry-url", metavar="URL", help="Confluent schema registry, where producers use one.")
@click.option("--topic-prefix", metavar="TEXT", help="Put before each topic's name.  [default: weir.]")
@click.option("--home-dir", type=click.Path(path_type=Path), help="Folder of the embedded stack.  [default: .weir]")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    help="Least severe message logged to standard error.  [default: INFO]",
)
@click.version_option(package_name="weir")
@click.pass_context
def weir(ctx: click.Context, /, config: Path | None, **flags: Any) -> None:
    """Score a stream of transactions for fraud and money laundering, and explain every decision."""
    if flags["log_level"]:
        flags["log_level"] = flags["log_level"].upper()
    ctx.obj = CommandContext(config, flags)
    logging.basicConfig(
        level=flags["log_level"] or "INFO",
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s %(message)s",
    )


def main() -> None:
    """Run the command line."""
    # Imported late: the errors' package is light, yet --help should not need it
    from deploy.local.errors import StackError

    try:
        weir(prog_name="weir")
    except SettingsError as error:
        click.echo(f"weir: {error}", err=True)
        sys.exit(2)
    except StackError as error:
        click.echo(f"weir: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
