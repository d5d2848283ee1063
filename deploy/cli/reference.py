"""docs/cli.md, made of the commands' own help: ``python -m deploy.cli.reference > docs/cli.md``."""

from __future__ import annotations

import sys
from typing import Any

import click

from deploy.cli.main import weir

WIDTH = 100

INTRODUCTION = """\
# The command line

Made by `make docs` from the commands' own help; `weir COMMAND --help` says the same.

Global options stand before the command's name. Results go to standard output, everything else to standard error. Exit
status: 0 done, 1 failed, 2 wrong usage.

Things that are worth knowing and that no single option tells:

- `weir alerts` shows an alert once, however often it was delivered; `jobs/stream/alert_reader.py` is the helper behind
  it, for consumers in Python. `weir decisions` and `weir explain` read what is committed, so they are up to one
  checkpoint behind.
- `weir redrive` never sends a record twice: what it sends carries the header `weir.redriven-from` with the topic,
  partition and offset of the original, and it searches the transactions topic for that header first. Two things end the
  promise: two of them at the same moment, and a transactions topic that forgets sooner than the dead-letters topic.
- `weir simulate`, `weir produce` and `weir redrive` place records as Java's clients do (murmur2 of the key), so that an
  account stays in its partition whoever sends.
"""


def reference() -> str:
    """Return the document."""
    parts = [INTRODUCTION]
    size: dict[str, Any] = {"max_content_width": WIDTH, "terminal_width": WIDTH}
    with click.Context(weir, info_name="weir", **size, **weir.context_settings) as context:
        parts.append(_section("weir", weir, context))
        for name in weir.list_commands(context):
            command = weir.get_command(context, name)
            assert command is not None, f"{name} is listed and not there"
            parts += _sections(f"weir {name}", command, context)
    return "\n".join(parts)


def _sections(name: str, command: click.Command, parent: click.Context) -> list[str]:
    with click.Context(
        command, info_name=name.rpartition(" ")[2], parent=parent, max_content_width=WIDTH, terminal_width=WIDTH
    ) as context:
        sections = [_section(name, command, context)]
        if isinstance(command, click.Group):
            for inner_name in command.list_commands(context):
                inner = command.get_command(context, inner_name)
                assert inner is not None, f"{inner_name} is listed and not there"
                sections += _sections(f"{name} {inner_name}", inner, context)
        return sections


def _section(name: str, command: click.Command, context: click.Context) -> str:
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"## {name}\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
