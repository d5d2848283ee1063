"""The archive as a process of the stack."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from deploy.archive.places import READY, ROOT
from deploy.load.plan import LoadPlan
from deploy.local import processes
from deploy.local.processes import OwnedProcess

NAME = "archive"
READY_SECONDS = 60.0  # imports and fonts take 1-2 s; the rest is for a machine with both cores taken


@dataclass(frozen=True)
class ArchiveProcess:
    """Where an archive listens, and keeps what it drew.

    Attributes
    ----------
    port
        Loopback port.
    folder
        Of the documents.
    logs
        Folder of its output.
    """

    port: int
    folder: Path
    logs: Path

    @property
    def root(self) -> str:
        """What stands before a document's name."""
        return f"http://127.0.0.1:{self.port}{ROOT}"

    def start(self, plan: LoadPlan) -> OwnedProcess:
        """Start it for the documents of one plan, and wait until it answers."""
        # As the services that ask it: the stream goes first.
        command = [
            *("nice", "-n", "10"),
            *(sys.executable, "-m", "deploy.archive"),
            *("--port", str(self.port), "--folder", str(self.folder), "--plan", plan.as_json()),
        ]
        process = processes.start(NAME, command, self.logs / f"{NAME}.log")
        processes.wait_until_ready(process, self._is_ready, READY_SECONDS)
        return process

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{READY}", timeout=2.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
