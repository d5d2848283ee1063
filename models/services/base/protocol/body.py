"""Bodies of requests, read within bounds: bytes of one, bytes of all together, and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from models.services.base.errors import BodyTimeoutError, BodyTooLargeError, InvalidRequestError, OverloadedError
from models.services.base.settings import ServiceSettings

DRAINED_BYTES = 256 << 20  # of a body that is refused: its sender reads the answer only once it has sent it all
DRAINED_SECONDS = 2.0


class Bodies:
    """Reads bodies, and knows how many bytes all of them hold."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self.held_bytes = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Read a body; its bytes count as held until the block ends.

        Raises
        ------
        BodyTooLargeError, BodyTimeoutError, OverloadedError, InvalidRequestError
        """
        held = 0
        parts: list[bytes] = []
        try:
            self._check_length(request)
            async with asyncio.timeout(self._settings.body_timeout_seconds):
                async for part in request.stream():
                    held += len(part)
                    self.held_bytes += len(part)
                    self._check_bytes(held, self.held_bytes)
                    parts.append(part)
        except (BodyTooLargeError, OverloadedError):
            self.held_bytes -= held
            parts.clear()
            await _drain(request)
            raise
        except TimeoutError:
            self.held_bytes -= held
            raise BodyTimeoutError(
                f"the body was not there within {self._settings.body_timeout_seconds:g} s: send it faster"
            ) from None
        except BaseException:
            self.held_bytes -= held
            raise
        try:
            yield b"".join(parts)
        finally:
            self.held_bytes -= held

    def _check_length(self, request: Request) -> None:
        stated = request.headers.get("content-length")
        if stated is None:
            return
        if not stated.isascii() or not stated.isdigit():
            raise InvalidRequestError("Content-Length is no number")
        self._check_bytes(int(stated), self.held_bytes + int(stated))

    def _check_bytes(self, count: int, together: int) -> None:
        if count > self._settings.max_body_bytes:
            raise BodyTooLargeError(
                f"the body has more than {self._settings.max_body_bytes} bytes: send fewer or smaller instances"
            )
        if together > self._settings.max_bodies_bytes:
            raise OverloadedError("the bodies of all requests together are too large: ask again after Retry-After")


async def _drain(request: Request) -> None:
    """Let a sender come to its end, as far as that is cheap: else its connection breaks and it never sees why."""
    if "expect" in request.headers:
        return
    seen = 0
    try:
        async with asyncio.timeout(DRAINED_SECONDS):
            while seen < DRAINED_BYTES:
                message = await request.receive()
                seen += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
    except (TimeoutError, ClientDisconnect):
        return
