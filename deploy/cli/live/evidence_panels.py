"""How evidence looks in the live view: counts by service, and alerts being revised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from deploy.cli.live.evidence import EvidenceSnapshot, ServiceCounts
from deploy.cli.show import OUTCOME_STYLES, money

REVISION_LINES = 2  # a heading, and what changed


def evidence_table(evidence: EvidenceSnapshot, room: int) -> Group:
    """Pieces of evidence by service: asked, and how they ended; late ones timed out, failed ones count refusals too."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(ratio=1, no_wrap=True, min_width=10)
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    table.add_row("", *(Text(title, style="bold") for title in ("asked", "answered", "late", "failed")))
    for name, counts in evidence.services.items():
        table.add_row(name, *_cells(counts))
    if not evidence.services:
        table.add_row(Text("none asked yet", style="dim"), "", "", "", "")
    notes = [Text(note, style="yellow", no_wrap=True, overflow="ellipsis") for note in evidence.notes]
    return Group(table, *notes[: max(0, room - 1 - len(evidence.services))])


def _cells(counts: ServiceCounts) -> tuple[Text, ...]:
    lost = counts.refused + counts.failed
    return (
        Text(f"{counts.asked:,}"),
        Text(f"{counts.answered:,}", style="green" if counts.answered else "dim"),
        Text(f"{counts.timed_out:,}", style="yellow" if counts.timed_out else "dim"),
        Text(f"{lost:,}", style="red" if lost else "dim"),
    )


def revision_list(evidence: EvidenceSnapshot, room: int) -> Group:
    """The newest revisions: which alert, from what to what, and why."""
    blocks = [_revision(alert) for alert in evidence.newest[: max(1, room // REVISION_LINES)]]
    return Group(*blocks) if blocks else Group(Text("none yet", style="dim"))


def _revision(alert: Mapping[str, Any]) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"rev {alert['supersedes']} → {alert['revision']}", style="cyan")
    text.append(f"  {money(alert['amount_minor'], alert['currency'])}  ", style="bold")
    before, after = alert["outcome_before"], alert["outcome"]
    if before is not None:
        text.append(str(before), style=OUTCOME_STYLES.get(before, ""))
        text.append(f" {alert['score_before']:.3f} → ")
    text.append(after, style=f"bold {OUTCOME_STYLES[after]}" if after != before else OUTCOME_STYLES[after])
    text.append(f" {alert['score']:.3f}")
    if alert["is_final"]:
        text.append("  final", style="dim")
    elif alert["degraded"]:
        text.append(f"  waits for {', '.join(alert['degraded'])}", style="dim yellow")
    text.append(f"\n    {alert['change']}", style="dim")
    return text


def evidence_words(evidence: EvidenceSnapshot) -> str:
    """The counts in short, for a line."""
    total = evidence.total
    lost = total.refused + total.failed
    return (
        f"evidence asked {total.asked:,} answered {total.answered:,} timed out {total.timed_out:,}"
        f"{f' no answer {lost:,}' if lost else ''}  revisions {evidence.revisions:,}"
    )


def revision_line(alert: Mapping[str, Any]) -> str:
    """One revision in one line."""
    return f"        revision {alert['revision']} of {alert['transaction_id']}: {alert['change']}"


def evidence_summary(evidence: EvidenceSnapshot) -> list[Text]:
    """What is printed of evidence at the end."""
    total = evidence.total
    endings = [("answered", total.answered), ("timed out", total.timed_out), ("refused", total.refused)]
    shown = " + ".join(f"{count:,} {name}" for name, count in [*endings, ("failed", total.failed)])
    even = total.waiting == 0
    lines = [
        Text(
            f"evidence: {total.asked:,} asked {'=' if even else '≠'} {shown}"
            + ("" if even else f": {total.waiting:,} had not ended when the run did"),
            style="green" if even else "yellow",
        )
    ]
    for name, counts in evidence.services.items():
        lines.append(Text(f"  {name}: {counts.asked:,} asked, {counts.answered:,} answered", style="dim"))
    lines.append(
        Text(
            f"alerts revised: {evidence.revised_alerts:,}, by {evidence.revisions:,} revisions, of which "
            f"{evidence.changed_outcomes:,} changed what is to be done"
        )
    )
    return [*lines, *(Text(note, style="yellow") for note in evidence.notes)]
