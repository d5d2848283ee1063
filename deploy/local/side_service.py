"""One side service as a process of the stack, on a loopback port."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import processes
from deploy.local.processes import OwnedProcess

READY_SECONDS = 90.0  # a network is loaded in 1-2 s; the rest is for a machine with both cores taken


@dataclass(frozen=True)
class SideService:
    """What to run, and where.

    Attributes
    ----------
    name
        As `models/services/catalogue.py` knows it.
    logs
        Folder of its output.
    port
        Loopback port.
    settings
        ``WEIR_SERVICE_...`` variables by name, beside those of this process's own environment.
    """

    name: str
    logs: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Address for clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process_name(self) -> str:
        """Its name among the stack's processes."""
        return f"service-{self.name}"

    def start(self) -> OwnedProcess:
        """Start it and wait until its models are loaded and warmed up."""
        # The stream goes first: on one machine, services take what it leaves.
        command = [
            "nice",
            "-n",
            "10",
            sys.executable,
            "-m",
            "models.services",
            self.name,
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        process = processes.start(
            self.process_name, command, self.logs / f"{self.process_name}.log", {**os.environ, **self.settings}
        )
        processes.wait_until_ready(process, self.is_ready, READY_SECONDS)
        return process

    def is_ready(self) -> bool:
        """Whether it says that it is."""
        try:
            with urllib.request.urlopen(f"{self.url}/v2/health/ready", timeout=2.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
