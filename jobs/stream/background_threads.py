"""Checkpoints are written, and code is compiled, by threads that take the processor from the stream; here they are
asked to stand back.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

NICE = {"AsyncOperations": 15, "ChangelogBlocki": 15, "C2 CompilerThre": 5}
"""How far threads stand back, by the beginning of their name.

Flink's that write state get a thirtieth of a stream thread's share where both want a core: then the checkpoint takes
longer, not the stream. Not less: where the stream wants every core for minutes, as after an outage, checkpoints must
still come to an end. The compiler's get a third: what they make is wanted soon, and takes most of a core for half a
second at a time."""
LOOK_SECONDS = 1.0

_TASKS = Path("/proc/self/task")


class BackgroundThreads:
    """Lowers the priority of this process's threads that are named in `NICE`. Without effect but on Linux."""

    def __init__(self) -> None:
        self._next_look = 0.0

    def stand_back(self) -> None:
        """Look for new ones, once in a while: they are made when they are needed."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        for thread in _TASKS.iterdir() if _TASKS.exists() else ():
            with contextlib.suppress(OSError):  # it may end while it is looked at; and a system may refuse
                name = (thread / "comm").read_text()
                for beginning, nice in NICE.items():
                    if name.startswith(beginning):
                        os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)
