"""Options of every command that reads transactions from a file of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def row_file_options(of: str = "") -> Callable[[_Command], _Command]:
    """Add `--map`, `--default` and `--format`, as `maps`, `defaults` and `kind`.

    Parameters
    ----------
    of
        The option that names the file; nothing where the file is the command's argument.
    """
    prefix = f"Of {of}: " if of else ""
    options = (
        click.option("--map", "maps", metavar="COLUMN=FIELD", multiple=True,
                     help=f"{prefix}Which column is which field. Repeatable."),
        click.option("--default", "defaults", metavar="FIELD=VALUE", multiple=True,
                     help=f"{prefix}For rows without it. Repeatable."),
        click.option("--format", "kind", type=click.Choice(["parquet", "csv", "jsonl", "avro"]),
                     help=f"{prefix}[default: by suffix]"),
    )  # fmt: skip

    def add(command: _Command) -> _Command:
        for option in reversed(options):  # a decorator stands above those that were there before it
            command = option(command)
        return command

    return add
