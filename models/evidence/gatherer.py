"""Answers requests for evidence, each within its budget, whatever the service does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.evidence.breaker import BreakerPolicy, CircuitBreaker
from models.evidence.errors import ServiceFailedError, ServiceRefusedError
from models.evidence.retry import RetryPolicy

ANSWERED, TIMED_OUT, REFUSED, FAILED = "answered", "timed_out", "refused", "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said.

    Attributes
    ----------
    score
        Probability that the evidence speaks for fraud, 0 to 1.
    findings
        Findings by name, in words.
    model_version
        Version of the model that answered.
    """

    score: float
    findings: Mapping[str, str]
    model_version: str


class Service(Protocol):
    """One call to a side service."""

    def __call__(self, request: Mapping[str, Any]) -> Awaitable[Answer]:
        """Answer a record of `evidence_request.avsc`.

        Raises
        ------
        ServiceRefusedError, ServiceFailedError
            If there is no answer; anything else that is raised counts as a failure too.
        """


@dataclass(frozen=True, slots=True)
class GatherPolicy:
    """How a service is asked.

    Attributes
    ----------
    budget_seconds
        Of a request, whatever it says itself: bounds what a wrong clock or a wrong request can do.
    attempt_seconds
        Longest wait for one call.
    trial_seconds
        Longest wait for the one call that tries a service whose circuit is open.
    concurrency
        Calls to the service at a time.
    """

    budget_seconds: float = 10.0
    attempt_seconds: float = 6.0
    trial_seconds: float = 2.0
    concurrency: int = 32
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)


@dataclass(frozen=True, slots=True)
class _Ending:
    status: str
    reason: str = ""
    answer: Answer | None = None


class Gatherer:
    """Asks one service, with limits on how many calls at a time, how long, how often, and when no more.

    Every request ends, with a record of `evidence.avsc`, and at most `budget_seconds` after the call of `gather`; the
    budget itself counts from `requested_at_ms`, so that a request that came late ends as `timed_out` without a call.

    Used from one event loop, whose clock is the only one that waits go by.

    Parameters
    ----------
    service
        Answers one request.
    policy
        How to ask.
    wall_ms
        Wall clock, milliseconds since 1970-01-01 UTC: when a request's budget is over, and the time in the record.
    jitter
        Gives numbers in [0, 1).
    """

    def __init__(
        self, service: Service, policy: GatherPolicy, wall_ms: Callable[[], int], jitter: Callable[[], float]
    ) -> None:
        self._service = service
        self._policy = policy
        self._wall_ms = wall_ms
        self._jitter = jitter
        self._slots = asyncio.Semaphore(policy.concurrency)
        self.breaker = CircuitBreaker(policy.breaker)

    async def gather(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return how a request ended, as a record of `evidence.avsc` that no revision names yet. Never raises."""
        left = (request["requested_at_ms"] + request["budget_ms"] - self._wall_ms()) / 1000
        left = min(left, self._policy.budget_seconds)
        attempts = [0]
        if left <= 0:
            ending = _Ending(TIMED_OUT, "its budget was over before it could be asked")
        else:
            try:
                ending = await asyncio.wait_for(self._within_limit(request, left, attempts), left)
            except TimeoutError:
                ending = _Ending(TIMED_OUT, f"no answer within {request['budget_ms'] / 1000:g} s")
            except Exception as error:  # a fault of ours ends a request too, not the job
                ending = _Ending(FAILED, f"{type(error).__name__}: {error}"[:300])
        return ended(request, ending.status, self._wall_ms(), ending.reason, ending.answer, attempts[0])

    async def _within_limit(self, request: Mapping[str, Any], left: float, attempts: list[int]) -> _Ending:
        clock = asyncio.get_running_loop().time
        deadline = clock() + left
        async with self._slots:
            return await self._ask(request, deadline, attempts)

    async def _ask(self, request: Mapping[str, Any], deadline: float, attempts: list[int]) -> _Ending:
        clock = asyncio.get_running_loop().time
        ending = _Ending(REFUSED, "the circuit of the service is open after failures in a row")
        while self.breaker.allows(clock()):
            attempts[0] += 1
            limit = self._policy.trial_seconds if self.breaker.is_trying else self._policy.attempt_seconds
            at_least = 0.0
            try:
                answer = await self._call(request, min(limit, deadline - clock()))
            except ServiceRefusedError as error:
                return _Ending(REFUSED, str(error)[:300])
            except TimeoutError:
                ending = _Ending(TIMED_OUT, f"no answer within {limit:g} s")
            except ServiceFailedError as error:
                ending = _Ending(FAILED, str(error)[:300])
                if not error.is_retryable:
                    return ending
                at_least = error.retry_after_seconds
            else:
                return _Ending(ANSWERED, answer=answer)
            wait = self._policy.retry.wait_seconds(attempts[0], self._jitter, at_least)
            if attempts[0] >= self._policy.retry.attempts or clock() + wait >= deadline:
                return ending
            await asyncio.sleep(wait)
        return ending

    async def _call(self, request: Mapping[str, Any], seconds: float) -> Answer:
        """Call once; the breaker hears of it, however it ends."""
        clock = asyncio.get_running_loop().time
        try:
            answer = await asyncio.wait_for(self._service(request), seconds)
        except ServiceRefusedError:
            self.breaker.succeeded()
            raise
        except asyncio.CancelledError:
            # The budget ended the call: the service had its time, or nearly so, and gave no answer.
            self.breaker.failed(clock())
            raise
        except (TimeoutError, ServiceFailedError):
            self.breaker.failed(clock())
            raise
        except Exception as error:
            self.breaker.failed(clock())
            raise ServiceFailedError(f"{type(error).__name__}: {error}") from error
        self.breaker.succeeded()
        return answer


def ended(
    request: Mapping[str, Any],
    status: str,
    answered_at_ms: int,
    reason: str = "",
    answer: Answer | None = None,
    attempts: int = 0,
) -> dict[str, Any]:
    """Return how a request ended, as a record of `evidence.avsc`."""
    return {
        "transaction_id": request["transaction_id"],
        "account_id": request["account_id"],
        "request_id": request["request_id"],
        "service": request["service"],
        "reference": request["reference"],
        "status": status,
        "score": answer.score if answer else None,
        "findings": dict(answer.findings) if answer else {},
        "model_version": answer.model_version if answer else request["model_version"],
        "answered_at_ms": answered_at_ms,
        "alert_id": request["alert_id"],
        "revision": 0,
        "reason": reason,
        "attempts": attempts,
        "requested_at_ms": request["requested_at_ms"],
    }
