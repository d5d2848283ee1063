"""The last run for people and for the next run: a table, a JSON file, and a section of docs/reliability.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.chaos.faults.matrix import FAULTS

KILL_P95_SECONDS = 30.0
STABLE_SECONDS = 60.0
BEGIN, END = "<!-- chaos: made by `make chaos` -->", "<!-- end of chaos -->"
HEADINGS = ("fault", "times", "recovery p50", "p95", "max", "stable max", "restarts")


def summarise(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return times in seconds by kind of fault, and for all kills of processes that decide or are decided through."""
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for outcome in outcomes:
        by_kind.setdefault(outcome["kind"], []).append(outcome)
        if FAULTS[outcome["kind"]].is_kill:
            by_kind.setdefault("every kill", []).append(outcome)
    order = [*FAULTS, "every kill"]
    return {kind: _summary(by_kind[kind]) for kind in order if kind in by_kind}


def _summary(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    recovery = [outcome["recovery_seconds"] for outcome in outcomes]
    return {
        "times": len(outcomes),
        "p50": round(float(np.percentile(recovery, 50)), 1),
        "p95": round(float(np.percentile(recovery, 95)), 1),
        "max": max(recovery),
        "stable_max": max(outcome["stable_seconds"] for outcome in outcomes),
        "restarts": sum(outcome["restarts"] for outcome in outcomes),
    }


def broken_bars(result: Mapping[str, Any]) -> list[str]:
    """Say which of the bars the run missed."""
    broken = [f"{count} {kind}" for kind, count in result["anomalies"].items()]
    broken += result["hangs"]
    summary = summarise(result["outcomes"])
    slow = {kind: s["p95"] for kind, s in summary.items() if kind == "every kill" and s["p95"] > KILL_P95_SECONDS}
    broken += [f"p95 recovery after {kind}: {p95} s, above {KILL_P95_SECONDS:g}" for kind, p95 in slow.items()]
    broken += [
        f"the last stable offset stood for {outcome['stable_seconds']} s after {outcome['kind']} at {outcome['row']}"
        for outcome in result["outcomes"]
        if outcome["stable_seconds"] > STABLE_SECONDS
    ]
    return broken


def rows_of(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the table's rows."""
    shown = []
    for kind, s in summarise(result["outcomes"]).items():
        times = [f"{s[name]:.1f}" for name in ("p50", "p95", "max", "stable_max")]
        shown.append([kind, str(s["times"]), *times, str(s["restarts"])])
    return shown


def print_result(console: Console, result: Mapping[str, Any]) -> None:
    """Print the table and the verdict."""
    table = Table(title="seconds until a read_committed reader had decisions again")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    for row in rows_of(result):
        table.add_row(*row)
    console.print(table)
    if result["counts"]:
        console.print(", ".join(f"{count:,} {name}" for name, count in result["counts"].items()))
    for line in result["description"]:
        console.print(f"[red]{line}[/]")
    broken = broken_bars(result)
    console.print("[green]every bar is met[/]" if not broken else "\n".join(f"[red]missed: {b}[/]" for b in broken))


def write_result(result: Mapping[str, Any], file: Path) -> None:
    """Write the JSON file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n")


def section(result: Mapping[str, Any]) -> str:
    """Return the section of the page, between its marks."""
    machine, counts, broken = result["machine"], result["counts"], broken_bars(result)
    lines = ["| " + " | ".join(HEADINGS) + " |", "| --- |" + " ---: |" * (len(HEADINGS) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows_of(result)]
    lists = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    skipped = "".join(f"\nNot done: {kind}: {reason}.\n" for kind, reason in result["skipped"].items())
    verdict = "Every bar was met." if not broken else "Missed: " + "; ".join(broken) + "."
    return f"""{BEGIN}

`{result["command"]}` on {result["date"]}, {machine["cores"]} cores ({machine["cpu"]}), {machine["memory_gib"]} GiB,
in {result["seconds"] / 60:.0f} minutes with {len(result["outcomes"])} faults: {lists}. {verdict}

{chr(10).join(lines)}
{skipped}
{END}"""


def update_page(result: Mapping[str, Any], page: Path) -> None:
    """Put the section in its place."""
    text = page.read_text()
    before, rest = text.split(BEGIN, 1)
    page.write_text(before + section(result) + rest.split(END, 1)[1])
