"""What a fault acts on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.local.errors import StackError
from deploy.local.stack import LocalStack
from tests.chaos.clock import Clock
from tests.chaos.disks import Disks
from tests.chaos.proxy import Proxy
from tests.waiting import wait_until

RESTART_SECONDS = 150.0
"""Until a process that was started again is there; some seconds on an idle machine."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of the run."""

    time: float  # of the monotonic clock
    ends: dict[int, int]  # by partition of the input: offset of the next record


@dataclass(slots=True)
class World:
    """The stack and its job, and what stands between them."""

    stack: LocalStack
    ends: Callable[[], dict[int, int]] = field(default=dict)
    job_id: str = ""
    proxy: Proxy | None = None
    disks: Disks | None = None
    clock: Clock | None = None
    struck: Moment | None = None

    def now(self) -> Moment:
        """Return this moment."""
        return Moment(time.monotonic(), self.ends())

    def strike(self) -> None:
        """Note that the fault has just begun: what is sent from here on is sent into it."""
        self.struck = self.now()

    def hosts(self) -> list[int]:
        """Return the indices of the TaskManagers that run tasks of the job."""
        vertices = self.stack.rest.get(f"/jobs/{self.job_id}")["vertices"]
        names = {
            host["taskmanager-id"]
            for vertex in vertices
            for host in self.stack.rest.get(f"/jobs/{self.job_id}/vertices/{vertex['id']}/taskmanagers")["taskmanagers"]
        }
        return sorted({int(name.split("-")[1]) for name in names if name.startswith("taskmanager-")})

    def a_host(self, draw: random.Random) -> int:
        """Draw one of them."""
        return draw.choice(self.hosts())

    def wait_until_known(self) -> None:
        """Wait until a JobManager that started again has taken its predecessor's job up."""

        def is_known() -> bool:
            try:
                return bool(self.stack.rest.get(f"/jobs/{self.job_id}")["state"])
            except StackError:
                return False

        wait_until(is_known, RESTART_SECONDS, "the job is taken up by the new JobManager")

    def is_alive(self, name: str) -> bool:
        """Whether a process of the stack runs."""
        return self.stack.process(name).is_alive()


def last(seconds: float) -> None:
    """Let a fault last."""
    time.sleep(seconds)
