"""Connections that cannot be held open: uvicorn's own protocol with a time for every phase of a request.

uvicorn has a timeout between requests only. A client that sends a byte now and then, or never reads its answer, would
keep a connection, and with enough of them all of them. Here each phase ends in time: headers, the request as a whole,
the answer's way out, the pause between requests; and the number of connections is bounded, where the one that has
waited longest for its headers makes room.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from models.services.base.metrics import ServiceMetrics
from models.services.base.settings import ServiceSettings

logger = logging.getLogger(__name__)

MAX_HEADER_BYTES = 64 << 10
WRITE_SECONDS = 5.0  # for the last bytes of an answer whose connection is closed behind it


class ConnectionGuard:
    """What the connections of one server share: the limits, and who waits."""

    def __init__(self, settings: ServiceSettings, metrics: ServiceMetrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.open: set[GuardedProtocol] = set()
        self.without_headers: OrderedDict[GuardedProtocol, None] = OrderedDict()
        # What a request may take in all: its body and its answer are timed on their own before this strikes.
        self.request_seconds = settings.body_timeout_seconds + settings.answer_timeout_seconds + WRITE_SECONDS

    def protocol_class(self) -> type[GuardedProtocol]:
        """Make the class that uvicorn asks for: one without arguments of ours."""
        guard = self
        return type("BoundGuardedProtocol", (GuardedProtocol,), {"guard": guard})


class GuardedProtocol(HttpToolsProtocol):
    """One connection with a watchdog."""

    guard: ConnectionGuard
    _watchdog: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_request = False
    _reading_headers = True

    def connection_made(self, transport: Any) -> None:
        """Take the connection, or close another one for it."""
        super().connection_made(transport)
        guard = self.guard
        guard.open.add(self)
        if len(guard.open) > guard.settings.max_connections:
            victim = next(iter(guard.without_headers), self)
            victim.drop("too_many")
        guard.metrics.connections.set(len(guard.open))
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        self.guard.open.discard(self)
        self.guard.without_headers.pop(self, None)
        self.guard.metrics.connections.set(len(self.guard.open))
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; count what stands before the end of the headers."""
        if not self._in_request and self not in self.guard.without_headers:
            self._await_headers()
        if self._reading_headers:  # of this request, or of one that is sent before the last was answered
            self._header_bytes += len(data)
        super().data_received(data)
        if self._reading_headers and self._header_bytes > MAX_HEADER_BYTES:
            self.drop("long_headers")

    def on_headers_complete(self) -> None:
        """Begin the request."""
        self.guard.without_headers.pop(self, None)
        self._in_request = True
        self._reading_headers = False
        self._header_bytes = 0
        self._arm(self.guard.request_seconds, "slow_request")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request's body: what comes next are headers."""
        self._reading_headers = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """End the request, and wait for the next or for the end."""
        super().on_response_complete()
        if self.pipeline or (self.cycle is not None and not self.cycle.response_complete):
            return
        self._in_request = False
        closing = self.transport.is_closing()
        self._arm(WRITE_SECONDS if closing else self.guard.settings.keep_alive_seconds + WRITE_SECONDS, "unread_answer")

    def drop(self, reason: str) -> None:
        """Close at once, whatever is still to be written."""
        self._disarm()
        self.guard.metrics.connections_dropped.labels(reason).inc()
        if self.transport is not None:
            self.transport.abort()

    def _await_headers(self) -> None:
        self.guard.without_headers[self] = None
        self._arm(self.guard.settings.header_timeout_seconds, "slow_headers")

    def _arm(self, seconds: float, reason: str) -> None:
        self._disarm()
        self._watchdog = self.loop.call_later(seconds, self.drop, reason)

    def _disarm(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
