"""The verdict on a run names every bar that it missed, and the page shows the last run alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.report import BEGIN, END, broken_bars, summarise, update_page


def an_outcome(kind: str = "broker-kill", **changes: Any) -> dict[str, Any]:
    times = {"recovery_seconds": 8.0, "stable_seconds": 2.0, "restarts": 1, "row": 10}
    return {"kind": kind, **times, **changes}


def a_result(**changes: Any) -> dict[str, Any]:
    machine = {"cores": 2, "cpu": "a processor", "memory_gib": 16}
    facts = {"command": "python -m tests.chaos", "date": "2026-01-01", "machine": machine, "skipped": {}}
    return {
        **facts,
        "outcomes": [an_outcome()],
        "anomalies": {},
        "hangs": [],
        "counts": {"decisions": 1000},
        "seconds": 600.0,
        **changes,
    }


def test_a_clean_run_misses_no_bar() -> None:
    assert broken_bars(a_result()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"anomalies": {"lost": 3}}, "3 lost"),
        ({"hangs": ["no decision after broker-kill"]}, "no decision"),
        ({"outcomes": [an_outcome(recovery_seconds=31.0)]}, "p95 recovery"),
        ({"outcomes": [an_outcome(stable_seconds=61.0)]}, "last stable offset"),
    ],
)
def test_every_missed_bar_is_named(changes: dict[str, Any], words: str) -> None:
    (missed,) = broken_bars(a_result(**changes))
    assert words in missed


def test_only_kills_have_to_recover_in_half_a_minute() -> None:
    assert broken_bars(a_result(outcomes=[an_outcome("network-drop", recovery_seconds=50.0)])) == []


def test_times_are_summed_up_by_kind_and_over_every_kill() -> None:
    outcomes = [an_outcome(recovery_seconds=s) for s in (2.0, 4.0)] + [an_outcome("redis-kill", recovery_seconds=9.0)]
    summary = summarise([*outcomes, an_outcome("disk-logs", recovery_seconds=50.0)])
    assert summary["broker-kill"]["p50"] == 3.0
    assert summary["every kill"]["times"] == 3
    assert summary["every kill"]["max"] == 9.0


def test_the_page_shows_the_last_run_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nolder\n{END}\nafter\n")
    update_page(a_result(seconds=1200.0), page)
    update_page(a_result(anomalies={"lost": 2}), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "older" not in text
    assert "20 minutes" not in text
    assert "Missed: 2 lost." in text
    assert text.count("| broker-kill | 1 |") == 1
