"""One call to a side service over HTTP, for the event loop that it is awaited in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import httpx2

from models.evidence.errors import ServiceFailedError
from models.evidence.gatherer import Answer
from models.evidence.question import ServiceModel, error_of
from schemas.records import decode_record

logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells of every call

MAX_ANSWER_BYTES = 1 << 20
"""A probability and some findings are a few hundred bytes."""


class HttpService:
    """Asks a service by KServe's V1 protocol.

    Waits as long as it is awaited: the caller bounds the time. What is read is bounded here.

    Parameters
    ----------
    url
        Address of the service.
    token
        For `Authorization: Bearer`; None sends none.
    model
        What is asked, and where the answer stands.
    connections
        To the service at a time.
    """

    def __init__(self, url: str, token: str | None, model: ServiceModel, connections: int) -> None:
        self._url = url.rstrip("/")
        self._model = model
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        # No proxies of the environment: the address is the whole truth. No redirects either.
        self._client = httpx2.AsyncClient(
            timeout=None,
            trust_env=False,
            follow_redirects=False,
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    async def __call__(self, request: Mapping[str, Any]) -> Answer:
        """Ask once; see `models.evidence.gatherer.Service`."""
        alert = decode_record(request["alert"], name="alert")
        body = self._model.body(request, alert)
        url = self._url + self._model.path(request["model_version"])
        headers = {**self._headers, "X-Request-Id": request["request_id"]}
        try:
            async with self._client.stream("POST", url, content=body, headers=headers) as response:
                content = bytearray()
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > MAX_ANSWER_BYTES:
                        raise ServiceFailedError(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
                if response.status_code != 200:
                    raise error_of(response.status_code, bytes(content), response.headers.get("Retry-After"))
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise ServiceFailedError(f"{type(error).__name__}: {error}") from error
        return self._model.answer(bytes(content), request)
