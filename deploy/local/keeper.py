"""Starts TaskManagers again that end by themselves, as a supervisor does it: a process of the stack, `keeper`.

A TaskManager ends on a fatal error, such as a sink that fails while it is closed. Kubernetes would start it again; here
nobody else does, and a job that needs its slot would wait for ever.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from collections import defaultdict, deque
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.stack import LocalStack

POLL_SECONDS = 1.0
MAX_STARTS, WITHIN_SECONDS = 5, 600.0
"""Of one TaskManager: one that cannot live is left alone, and said so."""

logger = logging.getLogger(__name__)


class Keeper:
    """Watches the TaskManagers of one stack.

    Parameters
    ----------
    stack
        Up.
    max_starts, within_seconds
        How often one TaskManager is started again, at most, in how long.
    """

    def __init__(self, stack: LocalStack, max_starts: int = MAX_STARTS, within_seconds: float = WITHIN_SECONDS) -> None:
        self._stack = stack
        self._max_starts, self._within_seconds = max_starts, within_seconds
        self._starts: defaultdict[str, deque[float]] = defaultdict(deque)

    def look(self) -> list[str]:
        """Start again what has ended since; return the names.

        Raises
        ------
        StackError
            If a TaskManager does not start.
        """
        started = []
        for process in self._stack.processes():
            if process.name.startswith("taskmanager-") and not process.is_alive() and self._may_start(process.name):
                logger.warning("%s (pid %d) has ended by itself: it is started again", process.name, process.pid)
                self._stack.start_taskmanager(int(process.name.removeprefix("taskmanager-")))
                started.append(process.name)
        return started

    def _may_start(self, name: str) -> bool:
        starts, now = self._starts[name], time.monotonic()
        while starts and now - starts[0] > self._within_seconds:
            starts.popleft()
        if len(starts) >= self._max_starts:
            return False
        starts.append(now)
        if len(starts) == self._max_starts:
            logger.error(
                "%s has ended %d times in %.0f s; if it does once more it is left alone: see %s",
                name, len(starts), self._within_seconds, self._stack.logs / f"{name}.log",
            )  # fmt: skip
        return True


def main(argv: list[str]) -> int:
    """Watch until told to end, or until the stack is gone."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.keeper", description=__doc__)
    parser.add_argument("home", type=Path, help="folder of the stack")
    stack = LocalStack(parser.parse_args(argv).home)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    keeper, is_over = Keeper(stack), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: is_over.set())
    while not is_over.wait(POLL_SECONDS) and stack.state_file.exists():
        try:
            keeper.look()
        except StackError as error:
            logger.error("%s", error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
