"""What the measurements share: processes that obey commands, CPU shares, percentiles, the machine."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
from hdrh.histogram import HdrHistogram

from deploy.local.tools import find_java

REPOSITORY = Path(__file__).resolve().parents[2]
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


class BenchError(Exception):
    """The measurement is broken: its numbers would mean nothing."""


class Helper:
    """A process that answers one JSON line with one JSON line."""

    def __init__(self, module: str, task: Mapping[str, Any]) -> None:
        self.name = module.rpartition(".")[2]
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            start_new_session=True,
        )
        self.tell(task)

    def tell(self, command: Mapping[str, Any]) -> None:
        """Send a command without waiting for its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchError(f"the {self.name} process ended with status {self.process.wait()}; see its messages above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BenchError(str(answer["error"]))
        return answer

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.tell(command)
        return self.answer()

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(30)


class CpuMeter:
    """CPU time of processes between two moments, in cores."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._start = self._seconds()

    def _seconds(self) -> dict[str, float]:
        seconds = {}
        for name, process in self._processes.items():
            times = process.cpu_times()
            seconds[name] = times.user + times.system
        return seconds

    def cores(self, elapsed_seconds: float) -> dict[str, float]:
        """Return the mean number of cores that each process kept busy since the start."""
        now = self._seconds()
        return {name: round((now[name] - self._start[name]) / elapsed_seconds, 3) for name in now}


def latency_summary(latencies_ms: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return percentiles, maximum and count of latencies in milliseconds, exact to 0.1%."""
    if not len(latencies_ms):
        return {"count": 0}
    histogram = HdrHistogram(1, 3_600_000_000, 3)
    values, counts = np.unique(np.maximum(latencies_ms * 1000, 1).astype(np.int64), return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)
    summary = {f"p{p:g}": round(histogram.get_value_at_percentile(p) / 1000, 1) for p in PERCENTILES}
    return {"count": len(latencies_ms), **summary, "max": round(float(latencies_ms.max()), 1)}


def machine() -> dict[str, Any]:
    """Describe the machine without naming it."""
    java = subprocess.run([str(find_java()), "-version"], capture_output=True, text=True, check=True).stderr
    found = re.search(r'version "([^"]+)"', java)
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists() and (named := re.search(r"model name\s*:\s*(.+)", info.read_text())):
        cpu = named.group(1)
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "java": found.group(1) if found else "unknown",
        "load_before": round(os.getloadavg()[0], 2),
    }
