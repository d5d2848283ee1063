"""Write the table of the services' settings into a document: ``python -m models.services.settings_page FILE``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.services.base.settings import SHIPPED, ServiceSettings

BEGIN = "<!-- settings of services: made by `make docs` -->"
END = "<!-- end of settings of services -->"


def settings_table() -> str:
    """One row a setting, as Markdown."""
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in ServiceSettings.model_fields.items():
        rows.append(f"| `{name}` | {_shown(field.default)} | {field.description} |")
    return "\n".join(rows)


def with_current_table(text: str) -> str:
    """Replace what stands between the markers."""
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"the document needs the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{settings_table()}\n\n{END}{after}"


def _shown(value: Any) -> str:
    if value is None or value == ():
        return "–"
    return "`models/shipped`" if value == SHIPPED else f"`{value}`"


def main(arguments: Sequence[str]) -> int:
    """Rewrite each named file."""
    for name in arguments:
        path = Path(name)
        path.write_text(with_current_table(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
