"""Checkpoints are written by threads that take the processor from the stream; here they are asked to stand back."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

CHECKPOINT_THREADS = "AsyncOperations"
"""Flink's threads that write state while the stream goes on, by the beginning of their name."""
NICE = 15
"""A thirtieth of a stream thread\'s share where both want a core: then the checkpoint takes longer, not the stream. Not
less: where the stream wants every core for minutes, as after an outage, checkpoints must still come to an end."""
LOOK_SECONDS = 1.0

_TASKS = Path("/proc/self/task")


class BackgroundThreads:
    """Lowers the priority of the threads of this process that write checkpoints. Without effect but on Linux."""

    def __init__(self) -> None:
        self._next_look = 0.0

    def stand_back(self) -> None:
        """Look for new ones, once in a while: Flink makes them when it needs them."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        for thread in _TASKS.iterdir() if _TASKS.exists() else ():
            with contextlib.suppress(OSError):  # it may end while it is looked at; and a system may refuse
                if (thread / "comm").read_text().startswith(CHECKPOINT_THREADS):
                    os.setpriority(os.PRIO_PROCESS, int(thread.name), NICE)
