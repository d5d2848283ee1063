"""When the machine itself stood still, as a process of its own: `python -m tests.bench.hiccups`.

On each core a thread of the highest real-time priority sleeps five milliseconds at a time and looks how much longer it
took. No process can keep such a thread waiting, so what it misses, the host took: a virtual machine that gets no core,
or whose memory is moved. A stall of the system under test shows in its latencies and not here. Where real-time
priority is not to be had, ordinary threads look, and waiting for other processes counts too; `real_time` says which.

References
----------
Tene, jHiccup, https://www.azul.com/jhiccup: measure the platform beside the system.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

PERIOD_SECONDS = 0.005
NOTED_MS = 10.0
"""A timer may be late by a millisecond or two on any machine."""


class Probe(threading.Thread):
    """Watches one core; `stalls` holds (wall clock at its end in ms, its length in ms), in order."""

    def __init__(self, core: int) -> None:
        super().__init__(daemon=True, name=f"hiccups-{core}")
        self._core = core
        self.stalls: list[tuple[float, float]] = []
        self.is_real_time = False

    def run(self) -> None:
        """Sleep, look, repeat."""
        os.sched_setaffinity(0, {self._core})  # 0 is this thread
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_max(os.SCHED_FIFO)))
            self.is_real_time = True
        except PermissionError:
            pass
        before = time.perf_counter()
        while True:
            time.sleep(PERIOD_SECONDS)
            now = time.perf_counter()
            late_ms = (now - before - PERIOD_SECONDS) * 1000
            if late_ms > NOTED_MS:
                self.stalls.append((time.time() * 1000, late_ms))
            before = now


def stolen_seconds() -> float:
    """Return the CPU time that the host gave to others while this machine wanted it, since its start."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def summary(stalls: list[tuple[float, float]], from_ms: float, until_ms: float) -> dict[str, float]:
    """Return how often and how long at most a core stood still in a span of the wall clock, milliseconds."""
    within = [late for end, late in stalls if from_ms <= end <= until_ms + late]
    return {"stalls": len(within), "longest_stall_ms": round(max(within, default=0.0), 1)}


def main() -> int:
    """Answer each line with what was seen since the line before."""
    json.loads(sys.stdin.readline())
    probes = [Probe(core) for core in sorted(os.sched_getaffinity(0))]
    for probe in probes:
        probe.start()
    before = stolen_seconds()
    for _ in sys.stdin:
        stalls = sorted(stall for probe in probes for stall in probe.stalls)
        for probe in probes:
            probe.stalls = []
        now = stolen_seconds()
        answer = {"stalls": stalls, "stolen_seconds": now - before}
        answer["real_time"] = all(probe.is_real_time for probe in probes)
        before = now
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
