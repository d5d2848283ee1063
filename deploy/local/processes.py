"""Processes that the stack owns: started detached, found again by pid and start time, stopped exactly.

A pid alone is not an identity, because the system reuses it; so every pid travels with the start time that the kernel
gives for it, and a signal is sent only where both still agree.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import ServiceNotReadyError

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class OwnedProcess:
    """One process of the stack.

    Attributes
    ----------
    name
        What it is: ``broker``, ``redis``, ``jobmanager``, ``taskmanager-0``.
    pid
        Process id.
    started
        The kernel's start time of that pid, as an opaque token.
    log
        File that holds its standard output and error.
    """

    name: str
    pid: int
    started: str
    log: str

    def is_alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        _reap(self.pid)
        return start_token(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Send a signal, to this process and to no later one of the same pid."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self, timeout_seconds: float = 10.0) -> None:
        """SIGKILL, and wait until the kernel has taken it away."""
        self.send(signal.SIGKILL)
        self.wait(timeout_seconds)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the end; False if it still runs after `timeout_seconds`."""
        deadline = time.monotonic() + timeout_seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def as_record(self) -> dict[str, str | int]:
        """Make the JSON form kept in stack.json."""
        return {"name": self.name, "pid": self.pid, "started": self.started, "log": self.log}


def start_token(pid: int) -> str | None:
    """Start time of `pid` as the kernel tells it; None if there is no such process or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return None if Path("/proc/self/stat").exists() else _start_token_by_ps(pid)
    # State is field 3 and starttime field 22 of proc(5). A process that exits shows as a zombie as soon as its first
    # thread has gone; a JVM's other threads may still hold its memory and ports then.
    if fields[0] in "ZX" and not _has_threads(pid):
        return None
    return fields[19]


def _has_threads(pid: int) -> bool:
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def _start_token_by_ps(pid: int) -> str | None:
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return None if not shown or shown.startswith("Z") else shown.split(maxsplit=1)[1]


def _reap(pid: int) -> None:
    """Collect the exit of `pid` where we are its parent; somebody else's child is left to its own parent."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def start(
    name: str,
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> OwnedProcess:
    """Start `command` in its own session, so that Ctrl-C at the terminal reaches us and not the services."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else None,
            cwd=folder,
            start_new_session=True,
        )
    process.returncode = 0  # the object goes away here and must not warn: is_alive() reaps the child itself
    token = start_token(process.pid)
    if token is None:
        raise ServiceNotReadyError(f"{name} ended at once; its output is in {log}:\n{tail(log)}")
    logger.debug("started %s pid=%d", name, process.pid)
    return OwnedProcess(name, process.pid, token, str(log))


def stop_all(processes: Sequence[OwnedProcess], timeout_seconds: float) -> list[str]:
    """Ask all to end at once, wait, and kill those that did not; returns the names of the killed."""
    for process in processes:
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + timeout_seconds
    killed = []
    for process in processes:
        if not process.wait(max(0.0, deadline - time.monotonic())):
            logger.warning("%s (pid %d) did not end in %.0f s: killed", process.name, process.pid, timeout_seconds)
            process.kill()
            killed.append(process.name)
    return killed


def wait_until_ready(process: OwnedProcess, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
    """Poll `is_ready`; raise with the end of the log if the process dies or time runs out.

    Whatever is raised, the process has ended then: nobody has recorded it yet who could end it later.
    """
    deadline = time.monotonic() + timeout_seconds
    try:
        while not is_ready():
            if not process.is_alive():
                raise ServiceNotReadyError(
                    f"{process.name} died while starting; see {process.log}:\n{tail(process.log)}"
                )
            if time.monotonic() > deadline:
                raise ServiceNotReadyError(
                    f"{process.name} (pid {process.pid}) did not answer within {timeout_seconds:.0f} s and was "
                    f"stopped; see {process.log}:\n{tail(process.log)}"
                )
            time.sleep(POLL_SECONDS)
    except BaseException:
        process.kill()
        raise


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that are free now.

    They are all held open until the last is known, so that they differ. Another program may still take one before its
    service binds it; that service then fails to start and says so.
    """
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(int(listener.getsockname()[1]))
        return ports


def answers(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def tail(log: str | Path, lines: int = 12) -> str:
    """Last lines of a process's output, and of the log beside it, for an error message."""
    shown: list[tuple[Path, list[str]]] = []
    for path in (Path(log), Path(log).with_suffix(".log")):
        if path.exists() and path.name not in {Path(seen).name for seen, _ in shown}:
            text = path.read_text(errors="replace").splitlines()
            # What a JVM dies of stands above the pages that it writes while it shuts down.
            causes = [line for line in text if "ERROR" in line or line.startswith("Caused by")]
            shown.append((path, (causes or text)[-lines:]))
    return "\n".join(line for _, part in shown for line in part) or "(no output)"
