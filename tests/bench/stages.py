"""CPU time by stage of the stream: the threads of the broker and the TaskManagers, which are named after their work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")

STAGES: tuple[tuple[str, str], ...] = (
    ("Source Data Fet", "fetch"),
    ("Source: ", "source"),
    ("WindowAggregate", "micro-batch"),
    ("take in", "take in: decode, check, dedupe"),
    ("touch entities", "features"),
    ("decide", "decide: model, rules, encode; alerts' sink"),
    ("*anonymous", "ledger's sink"),
    ("kafka-producer", "producers"),
    ("AsyncOperations", "checkpoints"),
    ("ChangelogBlocki", "checkpoints"),
    ("GC Thread", "garbage collection"),
    ("G1 ", "garbage collection"),
    ("C1 Compiler", "compilers"),
    ("C2 Compiler", "compilers"),
)
"""Start of a TaskManager's thread name, which Linux cuts at 15 bytes, and the stage that it works for."""
OTHERS = "other threads"


class StageMeter:
    """CPU time by stage between two moments; empty where the system has no `/proc`.

    Parameters
    ----------
    pids
        Name of each process -> process id. TaskManagers are taken apart by thread, other processes count as a whole.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._start = self._seconds()

    def _seconds(self) -> dict[tuple[str, str], tuple[str, float]]:
        found = {}
        for process, pid in self._pids.items():
            try:
                threads = list((Path("/proc") / str(pid) / "task").iterdir())
            except OSError:
                continue
            for thread in threads:
                try:
                    text = (thread / "stat").read_text()
                except OSError:  # it ended meanwhile
                    continue
                name, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
                seconds = (int(fields[11]) + int(fields[12])) / _TICKS  # user and system time
                found[process, thread.name] = (stage_of(process, name), seconds)
        return found

    def microseconds(self, events: int) -> dict[str, float]:
        """Return µs of CPU time an event by stage since the start, the largest first."""
        spent: dict[str, float] = {}
        for thread, (stage, seconds) in self._seconds().items():
            before = self._start.get(thread, (stage, 0.0))[1]
            spent[stage] = spent.get(stage, 0.0) + seconds - before
        ordered = sorted(spent.items(), key=lambda item: -item[1])
        return {stage: round(1e6 * seconds / max(events, 1), 2) for stage, seconds in ordered}


def stage_of(process: str, thread: str) -> str:
    """Return the stage that a thread works for."""
    if not process.startswith("taskmanager"):
        return process
    return next((stage for start, stage in STAGES if thread.startswith(start)), OTHERS)
