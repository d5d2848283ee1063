"""A side service as a real process, for tests that need sockets, and ways to be a bad client of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_SECONDS = 120  # it takes 2 s; the rest is for a machine with every core taken


@dataclass(frozen=True)
class ServiceProcess:
    """A service that is ready."""

    process: subprocess.Popen[str]
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def connect(self, timeout_seconds: float = 30.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout_seconds)

    def ask(
        self, method: str, path: str, body: bytes | None = None, timeout_seconds: float = 60.0, **headers: str
    ) -> tuple[int, bytes]:
        """Send one request on a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_seconds)) as client:
            client.request(method, path, body, headers)
            answer = client.getresponse()
            return answer.status, answer.read()

    def predict(self, model: str, *instances: dict[str, Any], timeout_seconds: float = 60.0) -> tuple[int, Any]:
        """Ask for predictions by V1."""
        body = json.dumps({"instances": list(instances)}).encode()
        status, answer = self.ask("POST", f"/v1/models/{model}:predict", body, timeout_seconds)
        return status, json.loads(answer)


@contextlib.contextmanager
def running_service(module: str, *arguments: str, log: Path, **settings: object) -> Iterator[ServiceProcess]:
    """Run ``python -m MODULE`` until it says that it is ready; it is killed in the end if SIGTERM does not do."""
    environment = {**os.environ, "WEIR_SERVICE_PORT": "0"}
    environment |= {f"WEIR_SERVICE_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
        )
    try:
        yield ServiceProcess(process, _port(process, log))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


def _port(process: subprocess.Popen[str], log: Path) -> int:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(READY_SECONDS), f"not ready within {READY_SECONDS} s:\n{log.read_text()}"
    line = process.stdout.readline()
    assert line, f"ended while starting:\n{log.read_text()}"
    return int(json.loads(line)["url"].rsplit(":", 1)[1])
