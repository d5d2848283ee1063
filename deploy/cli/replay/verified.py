"""What is printed of an audit."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from models.replay.audit import DIFFERENT, EQUAL, UNVERIFIABLE, Verification

_STYLES = {EQUAL: "green", DIFFERENT: "bold red", UNVERIFIABLE: "yellow"}


def parts_of_verification(verification: Verification) -> list[Any]:
    """Make what is printed, part by part."""
    head = Table.grid(padding=(0, 2))
    head.add_column(style="bold")
    head.add_row("verified", Text(_sentence(verification), style=_STYLES[verification.verdict]))
    if verification.records:
        head.add_row("recomputed", f"from {verification.records:,} records of the log")
    if verification.obstacle:
        head.add_row("obstacle", Text(verification.obstacle))
    if not verification.differences:
        return ["", head]
    table = Table(box=None, header_style="bold")
    for title in ("field", "recorded", "recomputed", "why"):
        table.add_column(title)
    for difference in verification.differences:
        table.add_row(difference.name, Text(str(difference.recorded)), Text(str(difference.recomputed)), difference.why)
    return ["", head, "", table]


def _sentence(verification: Verification) -> str:
    if verification.differences:
        return f"DIFFERENT in {', '.join(difference.name for difference in verification.differences)}"
    if not verification.obstacle:
        return "equal byte for byte, in all but how it was processed"
    if verification.records:
        return "not in full; what could be recomputed is equal"
    return "no"
