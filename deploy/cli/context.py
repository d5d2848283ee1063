"""What the global options say, handed to every command as its click context object."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import click

from jobs.settings import Settings, SettingsError

logger = logging.getLogger(__name__)


@dataclass
class CommandContext:
    """The options given before the command's name.

    Attributes
    ----------
    config
        Settings file, if one was named.
    flags
        Settings given as options; None where they were not given.
    """

    config: Path | None = None
    flags: dict[str, Any] = field(default_factory=dict)

    def settings(self, **overrides: Any) -> Settings:
        """Make the effective settings; a command's own options are `overrides` (None means not given)."""
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            if self.config is None:
                return Settings.load(**{**self.flags, **given})
            named = (self.config,)
            stack = self.home / "stack.json"
            return Settings.load(files=(*named, stack) if stack.exists() else named, **{**self.flags, **given})
        except SettingsError as error:
            raise click.UsageError(str(error)) from error

    @property
    def home(self) -> Path:
        """Folder of the embedded stack."""
        if self.config is None:
            return Settings.load(**{"home_dir": self.flags.get("home_dir")}).home_dir
        return Settings.load(files=(self.config,), home_dir=self.flags.get("home_dir")).home_dir


def say(line: str) -> None:
    """Tell the user about progress: on standard error, since standard output is for results."""
    click.echo(line, err=True)


def fail(message: str) -> NoReturn:
    """End with status 1 and the message on standard error."""
    click.echo(f"weir: {message}", err=True)
    sys.exit(1)


pass_context: Callable[..., Any] = click.make_pass_decorator(CommandContext)
