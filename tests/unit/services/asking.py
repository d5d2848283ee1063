"""Requests to the application in this process, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from models.services.base.dataplane.dataplane import Dataplane
from models.services.base.model import ServedModel
from models.services.base.protocol.app import Protocols
from models.services.base.settings import ServiceSettings

T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asked:
    """An application that requests can be sent to."""

    def __init__(self, models: Sequence[ServedModel], settings: ServiceSettings) -> None:
        self.dataplane = Dataplane(models, settings)
        self._app = Protocols(self.dataplane).app()

    async def send(
        self, method: str, path: str, body: bytes | dict[str, Any] | Sequence[bytes] = b"", **headers: str
    ) -> Reply:
        """Send a request; a body in parts is sent chunk by chunk, without a length."""
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        parts = [content] if isinstance(content, bytes) else list(content)
        names = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        if isinstance(content, bytes):
            names.setdefault("content-length", str(len(content)))
        incoming = [
            {"type": "http.request", "body": part, "more_body": k + 1 < len(parts)} for k, part in enumerate(parts)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return incoming.pop(0) if incoming else await asyncio.Event().wait() or {}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in names.items()],
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
            "scheme": "http",
            "root_path": "",
        }
        await self._app(scope, receive, send)
        start, *rest = sent
        return Reply(
            start["status"],
            {name.decode(): value.decode() for name, value in start["headers"]},
            b"".join(part.get("body", b"") for part in rest),
        )

    async def post(self, path: str, body: Any, **headers: str) -> Reply:
        return await self.send("POST", path, body, **headers)

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.send("GET", path, **headers)


def ask(models: Sequence[ServedModel], story: Callable[[Asked], Awaitable[T]], load: bool = True, **settings: Any) -> T:
    """Run a story with an application whose models are loaded."""

    async def main() -> T:
        asked = Asked(models, ServiceSettings(**settings))
        try:
            async with asyncio.timeout(30):
                if load:
                    await asked.dataplane.load()
                return await story(asked)
        finally:
            await asked.dataplane.close()

    return asyncio.run(main())
