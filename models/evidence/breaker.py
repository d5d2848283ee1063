"""A circuit breaker: a service that fails again and again is left alone for a while, and then tried with one call.

References
----------
Michael Nygard, Release It!, 2nd edition, chapter "Stability Patterns: Circuit Breaker".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to leave a service alone.

    Attributes
    ----------
    failures
        In a row, from which on the circuit is open.
    open_seconds
        How long it stays so before one call tries the service.
    """

    failures: int = 5
    open_seconds: float = 15.0


class CircuitBreaker:
    """Closed: every call goes. Open: none goes. After `open_seconds` one call goes, and what becomes of it decides.

    Times are seconds of any clock that only goes forward. Every call that was allowed is reported, by `succeeded` or
    `failed`.

    Examples
    --------
    >>> breaker = CircuitBreaker(BreakerPolicy(failures=2, open_seconds=10))
    >>> breaker.failed(0), breaker.failed(1), breaker.allows(5)
    (None, None, False)
    >>> breaker.allows(11), breaker.allows(11)  # one call tries
    (True, False)
    >>> breaker.succeeded(), breaker.allows(12)
    (None, True)
    """

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._open_until: float | None = None  # None: closed
        self._is_trying = False

    @property
    def is_open(self) -> bool:
        """Whether calls are held back, all of them or all but one."""
        return self._open_until is not None

    @property
    def is_trying(self) -> bool:
        """Whether the one call that tries the service is on its way."""
        return self._is_trying

    def allows(self, now: float) -> bool:
        """Whether a call may go now; it is counted as gone."""
        if self._open_until is None:
            return True
        if now < self._open_until or self._is_trying:
            return False
        self._is_trying = True
        return True

    def succeeded(self) -> None:
        """Report a call that the service answered, be it with a refusal."""
        self._failures = 0
        self._open_until = None
        self._is_trying = False

    def failed(self, now: float) -> None:
        """Report a call that failed or got no answer in time."""
        self._failures += 1
        if self._is_trying or self._failures >= self._policy.failures:
            self._open_until = now + self._policy.open_seconds
            self._is_trying = False
