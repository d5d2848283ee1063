"""Wait for a condition instead of sleeping for it."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], timeout_seconds: float, message: str) -> None:
    """Poll `condition` until it is true; fail with `message` after `timeout_seconds`."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout_seconds:g} s still not so: {message}")
        time.sleep(0.05)
