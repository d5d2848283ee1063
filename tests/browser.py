"""A headless browser for tests, spoken to over a pipe by the Chrome DevTools Protocol: no driver, no port, no package.

References
----------
Chrome DevTools Protocol, https://chromedevtools.github.io/devtools-protocol
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
START_SECONDS = 60.0  # it takes one; the rest is for a machine with every core taken
ANSWER_SECONDS = 60.0


def find_browser() -> str | None:
    """Path of a browser of the Chromium family; WEIR_TEST_BROWSER names one outside PATH."""
    named = os.environ.get("WEIR_TEST_BROWSER")
    if named:
        return named
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class Page:
    """One tab, and everything that it complained of."""

    def __init__(self, process: subprocess.Popen[bytes], commands: int, answers: int) -> None:
        self._process = process
        self._commands = commands
        self._answers = answers
        self._selector = selectors.DefaultSelector()
        self._selector.register(answers, selectors.EVENT_READ)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        """Console errors, exceptions, and what the content security policy refused."""
        self.requests: list[str] = []
        """Addresses asked for, those of the page's own data aside."""
        self._loaded = False

    def open(self, path: Path, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Open a file and wait until everything on it is loaded."""
        if self._session is None:
            target = self._call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self._call(f"{domain}.enable")
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._loaded = False
        self._call("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self._loaded:
            self._take(deadline)
        # An exception or a refused script reports itself before an answer that is asked for afterwards
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression; a promise is waited for."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self, path: Path) -> None:
        """Write the whole page as PNG."""
        shot = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the browser in good order."""
        self._session = None
        with contextlib.suppress(AssertionError, OSError):
            self._call("Browser.close")

    # -- the pipe: JSON, each message ends with a zero byte -----------------------------------------------------------

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            answer = self._take(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def _take(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert time.monotonic() < deadline, "the browser does not answer"
            assert self._process.poll() is None, f"the browser ended with status {self._process.returncode}"
            if self._selector.select(0.2):
                part = os.read(self._answers, 1 << 20)
                assert part, "the browser closed its pipe"
                self._buffer += part
        content, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(content)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, event: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.complaints.append(event["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"a dialog opened: {event['message']}")
        elif method == "Network.requestWillBeSent" and not event["request"]["url"].startswith("data:"):
            self.requests.append(event["request"]["url"])


@contextlib.contextmanager
def headless(executable: str, folder: Path) -> Iterator[Page]:
    """Run a browser without a window on a profile of its own; nothing of it is left at the end."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()

    def place() -> None:
        # The browser reads commands from descriptor 3 and answers on 4. First out of the way: either may be taken.
        reads, writes = os.dup2(theirs_in, 103, False), os.dup2(theirs_out, 104, False)
        os.dup2(reads, 3)
        os.dup2(writes, 4)

    command = [
        executable,
        "--headless=new",
        "--remote-debugging-pipe",
        f"--user-data-dir={folder}",
        "--no-first-run",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-sandbox",  # it cannot be had as root, which tests in a container run as; the page is our own
    ]
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=place, close_fds=False
        )
    os.close(theirs_in)
    os.close(theirs_out)
    page = Page(process, ours_out, ours_in)
    try:
        yield page
        page.close()
    finally:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours_in)
        os.close(ours_out)
