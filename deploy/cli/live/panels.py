"""How a snapshot looks: as panels for a terminal, as one line, and as the summary at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deploy.cli.live.evidence_panels import evidence_summary, evidence_table, evidence_words, revision_list
from deploy.cli.live.latency import Percentiles
from deploy.cli.live.model import Snapshot
from deploy.cli.show import OUTCOME_STYLES, moment, money

TARGET_MS = 200  # to the alert, at the 99th percentile
ALERT_LINES = 3  # a heading and two reasons
LEAST_EVIDENCE_LINES = 6  # a border, a heading and three services


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounting identity of a run, counted from the topics."""

    sent: int
    decisions: int
    dead_letters: int
    duplicates: int

    @property
    def is_even(self) -> bool:
        """Whether every record ended in exactly one of the three."""
        return self.sent == self.decisions + self.dead_letters + self.duplicates


def line(snapshot: Snapshot) -> str:
    """One line for where there is no terminal."""
    alert, decision = snapshot.alert_latency, snapshot.decision_latency
    outcomes = " ".join(f"{name} {count:,}" for name, count in snapshot.outcomes.items())
    return (
        f"{snapshot.elapsed_seconds:5.0f} s  in {snapshot.sent:,} ({snapshot.sent_rate:,.0f}/s)  "
        f"out {snapshot.answered:,} ({snapshot.answered_rate:,.0f}/s)  {outcomes}  "
        f"alerts {snapshot.alerts:,}  dead letters {sum(snapshot.dead_letters.values()):,}  "
        f"duplicates {snapshot.duplicates:,}  "
        f"to decision p50 {decision.p50:.0f} p99 {decision.p99:.0f} ms  "
        f"to alert p50 {alert.p50:.0f} p99 {alert.p99:.0f} ms"
        f"{'' if snapshot.evidence is None else '  ' + evidence_words(snapshot.evidence)}"
    )


def alert_line(alert: Mapping[str, Any]) -> str:
    """One alert in one line, with its first reason."""
    reasons = "; ".join(str(reason["text"]) for reason in alert["reasons"][:2]) or "no reasons given"
    amount = money(alert["amount_minor"], alert["currency"])
    return f"        {alert['outcome']}  {alert['score']:.3f}  {amount}  {alert['account_id']}: {reasons}"


class LiveView:
    """The whole screen; alerts fill what the terminal leaves."""

    def __init__(self, snapshot: Snapshot, hint: str = "") -> None:
        self.snapshot = snapshot
        self.hint = hint

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the panels out for the terminal's size."""
        height = options.height or 30
        shown = self.snapshot
        dead = len(shown.dead_letters)
        top = max(8, min(4 + dead, 10))
        layout = Layout()
        evidence = shown.evidence
        middle = 0 if evidence is None else max(LEAST_EVIDENCE_LINES, min(10, (height - top) // 3))
        layout.split_column(
            Layout(header(shown, self.hint), size=3),
            Layout(name="top", size=top),
            Layout(name="evidence", size=max(1, middle), visible=bool(middle)),
            Layout(name="alerts"),
        )
        layout["top"].split_row(
            Layout(Panel(flow_table(shown), title="Flow", border_style="cyan")),
            Layout(Panel(latency_table(shown), title="Latency, ms", border_style="cyan")),
            Layout(Panel(dead_letter_table(shown, top - 2), title="Dead letters", border_style="cyan")),
        )
        if evidence is not None:
            layout["evidence"].split_row(
                Layout(Panel(evidence_table(evidence, middle - 2), title="Evidence", border_style="magenta"), ratio=2),
                Layout(
                    Panel(
                        revision_list(evidence, middle - 2),
                        title=f"Alerts being revised ({evidence.revised_alerts:,} so far)",
                        border_style="magenta",
                    ),
                    ratio=3,
                ),
            )
        room = max(1, (height - top - middle - 5) // ALERT_LINES)
        layout["alerts"].update(
            Panel(alert_list(shown, room), title=f"Newest alerts ({shown.alerts:,} so far)", border_style="yellow")
        )
        yield from console.render(layout, options.update(height=height))


def header(snapshot: Snapshot, hint: str) -> Panel:
    """The first line: what is going on."""
    text = Text.assemble(("Weir ", "bold cyan"), ("· ", "dim"), (snapshot.phase, "bold"))
    if snapshot.elapsed_seconds:
        text.append(f"  {snapshot.elapsed_seconds:.0f} s")
    if hint:
        text.append(f"  · {hint}", style="dim")
    return Panel(text, border_style="cyan")


def flow_table(snapshot: Snapshot) -> Table:
    """Events in and out, and what was decided."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(ratio=1)
    table.add_column(justify="right")
    table.add_column(justify="right", style="dim")
    table.add_row("in", f"{snapshot.sent:,}", f"{snapshot.sent_rate:,.0f}/s")
    table.add_row("out", f"{snapshot.answered:,}", f"{snapshot.answered_rate:,.0f}/s")
    total = max(1, snapshot.decisions)
    for name, count in snapshot.outcomes.items():
        table.add_row(Text(f"  {name}", style=OUTCOME_STYLES[name]), f"{count:,}", f"{100 * count / total:.2f}%")
    table.add_row("  duplicates", f"{snapshot.duplicates:,}", "")
    return table


def latency_table(snapshot: Snapshot) -> Table:
    """Percentiles from the moment an event was due to the moment its answer was read."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(ratio=1)
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_row("", Text("to decision", style="bold"), Text("to alert", style="bold"))
    for name in ("p50", "p95", "p99", "max"):
        cells = [_latency(getattr(part, name), part) for part in (snapshot.decision_latency, snapshot.alert_latency)]
        table.add_row(name, *cells)
    return table


def _latency(value: float, of: Percentiles) -> Text:
    if not of.count:
        return Text("–", style="dim")
    return Text(f"{value:,.0f}", style="green" if value <= TARGET_MS else "red")


def dead_letter_table(snapshot: Snapshot, room: int) -> Table:
    """Dead letters by reason, most frequent first."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(ratio=1, no_wrap=True)
    table.add_column(justify="right")
    rows = list(snapshot.dead_letters.items())
    shown = rows if len(rows) <= room else rows[: room - 1]
    for error, count in shown:
        table.add_row(error, f"{count:,}")
    if len(shown) < len(rows):
        rest = rows[len(shown) :]
        table.add_row(Text(f"{len(rest)} more kinds", style="dim"), f"{sum(count for _, count in rest):,}")
    if not rows:
        table.add_row(Text("none", style="dim"), "")
    return table


def alert_list(snapshot: Snapshot, room: int) -> Group:
    """The newest alerts, each with its two strongest reasons."""
    blocks = []
    for alert in snapshot.newest_alerts[:room]:
        style = OUTCOME_STYLES[alert["outcome"]]
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(moment(alert["decision_time_ms"])[11:], style="dim")
        text.append(f"  {alert['outcome']:<8}", style=f"bold {style}")
        text.append(f"{alert['score']:.3f}  ")
        text.append(f"{money(alert['amount_minor'], alert['currency']):>16}", style="bold")
        text.append(f"  {alert['account_id']} → {alert['counterparty_id']}")
        if alert["typologies"]:
            text.append(f"  {', '.join(alert['typologies'])}", style="magenta")
        for reason in alert["reasons"][: ALERT_LINES - 1]:
            text.append(f"\n    {reason['text']}")
            text.append(f"  {reason['code']}", style="dim")
        blocks.append(text)
    return Group(*blocks) if blocks else Group(Text("none yet", style="dim"))


def summary(snapshot: Snapshot, accounts: Accounts | None) -> Group:
    """What is printed at the end."""
    parts: list[Any] = [
        Text.assemble(("Summary ", "bold cyan"), f"of {snapshot.elapsed_seconds:.0f} s of simulated payments"),
        _side_by_side(flow_table(snapshot), latency_table(snapshot)),
    ]
    if snapshot.dead_letters:
        reasons = ", ".join(f"{error} {count:,}" for error, count in snapshot.dead_letters.items())
        parts.append(Text(f"dead letters: {reasons}"))
    parts.append(Text(f"alerts: {snapshot.alerts:,}, delivered again: {snapshot.repeated_alerts:,}"))
    if snapshot.evidence is not None:
        parts += evidence_summary(snapshot.evidence)
    if accounts is None:
        parts.append(Text("the topics were not counted: the run was cut off", style="yellow"))
    else:
        parts.append(Text(identity(accounts), style="bold green" if accounts.is_even else "bold red"))
    return Group(*parts)


def identity(accounts: Accounts) -> str:
    """The accounting identity in words."""
    right = accounts.decisions + accounts.dead_letters + accounts.duplicates
    relation = "=" if accounts.is_even else "≠"
    verdict = "every record is accounted for" if accounts.is_even else f"{accounts.sent - right:+,} are unaccounted for"
    return (
        f"{accounts.sent:,} in {relation} {accounts.decisions:,} decisions + {accounts.dead_letters:,} dead letters + "
        f"{accounts.duplicates:,} duplicates: {verdict}"
    )


def _side_by_side(*tables: Table) -> Table:
    grid = Table.grid(padding=(0, 6))
    for _ in tables:
        grid.add_column(min_width=34)
    grid.add_row(*tables)
    return grid
