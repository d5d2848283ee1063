"""A Python process of process mode stands back behind scoring, and ends when its TaskManager is gone.

Left alone it may never end: where the connection to the TaskManager breaks, Beam's log handler waits for its reader
thread with its lock held, that thread reports the broken connection by `print`, and PyFlink's `print` asks for the same
lock. What stays behind is a process of 250 MB for every TaskManager that was killed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WORKER_MODULE = "pyflink.fn_execution.beam.beam_boot"
TASKMANAGER = "java"
LOOK_SECONDS = 1.0

NICE = 10
"""Of that process: scoring comes first where both want a core, and evidence has seconds."""

_TASKS = Path("/proc/self/task")
_started = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Process:
    """One line of /proc/PID/stat."""

    pid: int
    name: str
    state: str
    parent: int
    started: str  # ticks since the system started: tells a process from a later one of the same number


def process_of(pid: int) -> _Process | None:
    """Return what the system says of a process; None if there is none, or no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return _Process(pid, text[text.index("(") + 1 : text.rindex(")")], fields[0], int(fields[1]), fields[19])


def ancestors(pid: int) -> Iterator[_Process]:
    """Yield the parent of a process, its parent, and so on."""
    process = process_of(pid)
    while process is not None and (process := process_of(process.parent)) is not None:
        yield process


def serve_taskmanager() -> None:
    """Stand back behind scoring, and watch the TaskManager from now on, if this is a process that one has started.

    The watch has no effect but on Linux.
    """
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    if main is None or main.name != WORKER_MODULE or not _started.acquire(blocking=False):
        return
    _stand_back()
    found = next((process for process in ancestors(os.getpid()) if process.name == TASKMANAGER), None)
    if found is not None:
        threading.Thread(target=_watch, args=(found,), name="taskmanager-watch", daemon=True).start()


def _stand_back() -> None:
    """Lower the priority of every thread: on Linux each has its own, and takes that of the one that starts it."""
    for thread in _TASKS.iterdir() if _TASKS.exists() else (Path("0"),):
        with contextlib.suppress(OSError):  # it may have ended
            own = os.getpriority(os.PRIO_PROCESS, int(thread.name))
            os.setpriority(os.PRIO_PROCESS, int(thread.name), max(own, NICE))  # a smaller number may not be asked for


def _watch(taskmanager: _Process) -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        now = process_of(taskmanager.pid)
        if now is None or now.started != taskmanager.started or now.state in "ZX":
            os._exit(1)  # nothing that is in this process can be of use to anybody
