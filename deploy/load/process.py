"""The load generator as a process of its own: what measures and what is measured do not share an interpreter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from deploy.load.generator import LoadGenerator, LoadReport
from deploy.load.plan import LoadError, LoadPlan

STOP_SECONDS = 40.0  # above the generator's own wait for the broker


class GeneratorProcess:
    """Starts ``python -m deploy.load`` and follows its reports.

    Parameters
    ----------
    plan
        What to send.
    properties
        Of librdkafka; handed over by a pipe, since they may hold a password.
    transactions_topic, labels_topic
        Full names.
    """

    def __init__(
        self, plan: LoadPlan, properties: Mapping[str, Any], transactions_topic: str, labels_topic: str
    ) -> None:
        self._task = {
            "plan": plan.as_json(),
            "properties": dict(properties),
            "topics": [transactions_topic, labels_topic],
        }
        self._process: subprocess.Popen[str] | None = None
        self._report = LoadReport(0, 0, 0, 0.0, 0.0)
        self._errors: list[str] = []
        self._followers: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id, once started."""
        return None if self._process is None else self._process.pid

    @property
    def report(self) -> LoadReport:
        """The newest report."""
        return self._report

    @property
    def is_running(self) -> bool:
        """Whether it still sends."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start sending, as soon as the process has simulated its first batch (1-2 s)."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deploy.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the one who shows the view; it then stops us in order
            env=dict(os.environ),
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self._task))
        self._process.stdin.close()
        self._followers = [
            threading.Thread(target=self._follow, name="generator-reports", daemon=True),
            threading.Thread(target=self._keep_errors, name="generator-errors", daemon=True),
        ]
        for follower in self._followers:
            follower.start()

    def wait(self, timeout_seconds: float | None = None) -> LoadReport:
        """Wait until everything is sent.

        Raises
        ------
        LoadError
            If the generator failed.
        """
        assert self._process is not None, "start() comes first"
        status = self._process.wait(timeout_seconds)
        for follower in self._followers:
            follower.join()
        if status not in (0, -signal.SIGTERM):
            raise LoadError(f"the load generator ended with status {status}:\n{''.join(self._errors)[-2_000:]}")
        return self._report

    def stop(self) -> LoadReport:
        """Make it end after what is due now, and wait for that."""
        if self._process is None:
            return self._report
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise LoadError(f"the load generator did not end within {STOP_SECONDS:.0f} s and was killed") from None

    def _follow(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._report = LoadReport(**json.loads(line))

    def _keep_errors(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        self._errors.extend(self._process.stderr)


def main() -> int:
    """Run the task that comes on standard input, and report on standard output, one JSON object a line."""
    task = json.loads(sys.stdin.read())
    generator = LoadGenerator(LoadPlan.from_json(task["plan"]), task["properties"], *task["topics"])
    signal.signal(signal.SIGTERM, lambda *_: generator.stop())
    signal.signal(signal.SIGINT, lambda *_: generator.stop())
    generator.run(lambda report: print(json.dumps(asdict(report)), flush=True))
    if generator.first_error:
        print(f"some records were refused, the first with: {generator.first_error}", file=sys.stderr)
    return 0
