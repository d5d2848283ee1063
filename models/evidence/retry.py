"""How long to wait before a service is asked again: exponential, with full jitter, so that callers do not come in step.

References
----------
Marc Brooker, Exponential Backoff And Jitter,
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to ask, and how long to wait between.

    Attributes
    ----------
    attempts
        Calls at most, the first one among them.
    first_seconds
        Longest wait after the first call; it doubles with each.
    longest_seconds
        Longest wait at all.
    """

    attempts: int = 3
    first_seconds: float = 0.2
    longest_seconds: float = 2.0

    def wait_seconds(self, attempt: int, jitter: Callable[[], float], at_least: float = 0.0) -> float:
        """Return the wait after a call.

        Parameters
        ----------
        attempt
            Calls made so far, from 1 on.
        jitter
            Gives numbers in [0, 1).
        at_least
            What the service asked for.

        Examples
        --------
        >>> RetryPolicy().wait_seconds(2, lambda: 0.5), RetryPolicy().wait_seconds(1, lambda: 0.5, at_least=1.0)
        (0.2, 1.1)
        """
        most = min(self.longest_seconds, self.first_seconds * 2.0 ** min(attempt - 1, 30))
        return at_least + most * jitter()
