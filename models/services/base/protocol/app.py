"""The HTTP application: paths, tokens, errors. Everything else is done by the dataplane."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

import models.services.base.protocol.v1 as v1
import models.services.base.protocol.v2 as v2
from models.services.base.dataplane.dataplane import Dataplane
from models.services.base.errors import InvalidRequestError, MethodNotAllowedError, NotFoundError, ServiceError
from models.services.base.protocol.body import Bodies
from models.services.base.protocol.json_text import dump
from models.services.base.protocol.openapi import openapi
from models.services.base.protocol.tokens import Tokens

logger = logging.getLogger(__name__)

T = TypeVar("T")
SERVER = {"name": "weir", "version": "1", "extensions": ["binary_tensor_data"]}
REQUEST_ID_HEADER = "X-Request-Id"
_REQUEST_ID = re.compile(r"^[\x21-\x7e]{1,200}$")
_SMALL_BODY_BYTES = 32 << 10  # larger bodies are parsed in a thread, so that the loop goes on


class _NameConvertor(Convertor[str]):
    """Names of models, versions and verbs in a path."""

    regex = r"[A-Za-z0-9_.\-]{1,100}"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("name", _NameConvertor())


class Protocols:
    """Handlers of all paths over one dataplane."""

    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane
        self._bodies = Bodies(dataplane.settings)
        self._tokens = Tokens(dataplane.settings.tokens)

    def app(self) -> Starlette:
        """Make the application."""

        def get(path: str, handler: Any) -> Route:
            return Route(path, self._guarded(handler), methods=["GET"])

        def post(path: str, handler: Any) -> Route:
            return Route(path, self._guarded(handler), methods=["POST"])

        return Starlette(
            routes=[
                Route("/v2/health/live", self.live, methods=["GET"]),
                Route("/v2/health/ready", self.ready, methods=["GET"]),
                get("/metrics", self.metrics),
                get("/openapi.json", self.openapi),
                get("/v1/models", self.v1_models),
                get("/v1/models/{name:name}", self.v1_model),
                post("/v1/models/{name:name}:{verb:name}", self.v1_verb),
                post("/v1/models/{name:name}/versions/{version:name}:{verb:name}", self.v1_verb),
                get("/v2", self.v2_server),
                get("/v2/models/{name:name}", self.v2_model),
                get("/v2/models/{name:name}/ready", self.v2_model_ready),
                post("/v2/models/{name:name}/infer", self.v2_infer),
                get("/v2/models/{name:name}/versions/{version:name}", self.v2_model),
                get("/v2/models/{name:name}/versions/{version:name}/ready", self.v2_model_ready),
                post("/v2/models/{name:name}/versions/{version:name}/infer", self.v2_infer),
            ],
            exception_handlers={
                ServiceError: _service_error,
                HTTPException: _http_error,
                ClientDisconnect: _gone,
                Exception: _unexpected,
            },
        )

    def _guarded(self, handler: Any) -> Any:
        async def guarded(request: Request) -> Response:
            self._tokens.check(request.headers.get("authorization"))
            response: Response = await handler(request)
            return response

        return guarded

    # -- the service --------------------------------------------------------------------------------------------------

    async def live(self, request: Request) -> Response:
        """The process answers; cheap."""
        del request
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        """Every model is loaded and warmed up."""
        del request
        ready = self._dataplane.is_ready()
        return _json({"ready": ready}, 200 if ready else 503, {} if ready else {"Retry-After": "1"})

    async def metrics(self, request: Request) -> Response:
        """Metrics in Prometheus' text format."""
        del request
        return Response(self._dataplane.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, request: Request) -> Response:
        """The description of this interface."""
        del request
        return _json(openapi(self._dataplane))

    # -- V1 -----------------------------------------------------------------------------------------------------------

    async def v1_models(self, request: Request) -> Response:
        """Names of the models."""
        del request
        return _json({"models": self._dataplane.names})

    async def v1_model(self, request: Request) -> Response:
        """Whether a model is ready."""
        name = request.path_params["name"]
        ready = self._dataplane.is_ready(name)
        return _json({"name": name, "ready": ready}, 200 if ready else 503, {} if ready else {"Retry-After": "1"})

    async def v1_verb(self, request: Request) -> Response:
        """Predict, explain, or an action."""
        name, version, verb = (request.path_params.get(key) for key in ("name", "version", "verb"))
        assert name is not None
        model = self._dataplane.model(name, version)
        request_id = _request_id(request)
        async with self._bodies.read(request) as body:
            asked = await _off_loop(body, lambda: v1.read_request(model, body, str(verb), version, request_id))
            answer = await self._dataplane.answer(asked)
            written = v1.write_answer(model, asked, answer)
        return Response(written, media_type="application/json", headers=_model_headers(answer.model_version))

    # -- V2 -----------------------------------------------------------------------------------------------------------

    async def v2_server(self, request: Request) -> Response:
        """What the server is."""
        del request
        return _json(SERVER)

    async def v2_model(self, request: Request) -> Response:
        """What a model takes and gives."""
        name, version = request.path_params["name"], request.path_params.get("version")
        return _json(v2.model_metadata(self._dataplane.model(name, version), self._dataplane.versions(name)))

    async def v2_model_ready(self, request: Request) -> Response:
        """Whether a model is ready."""
        name, version = request.path_params["name"], request.path_params.get("version")
        ready = self._dataplane.is_ready(name, version)
        return _json({"name": name, "ready": ready}, 200 if ready else 503, {} if ready else {"Retry-After": "1"})

    async def v2_infer(self, request: Request) -> Response:
        """Predict."""
        name, version = request.path_params["name"], request.path_params.get("version")
        model = self._dataplane.model(name, version)
        header_length = request.headers.get(v2.LENGTH_HEADER)
        async with self._bodies.read(request) as body:
            asked = await _off_loop(body, lambda: v2.InferRequest(model, body, version, header_length))
            answer = await self._dataplane.answer(asked.request)
            written, headers = asked.write_answer(model, answer)
        return Response(written, headers={**headers, **_model_headers(answer.model_version)})


async def _off_loop(body: bytes, work: Callable[[], T]) -> T:
    return work() if len(body) <= _SMALL_BODY_BYTES else await asyncio.to_thread(work)


def _request_id(request: Request) -> str | None:
    given = request.headers.get(REQUEST_ID_HEADER)
    if given is not None and not _REQUEST_ID.match(given):
        raise InvalidRequestError(f"{REQUEST_ID_HEADER} should be 1 to 200 visible ASCII characters without spaces")
    return given


def _model_headers(version: str) -> dict[str, str]:
    return {"X-Model-Version": version}


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(dump(value), status, headers, media_type="application/json")


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status in (401, 408, 413) or (error.status == 503 and error.code == "overloaded"):
        headers["Connection"] = "close"  # what is left of the body is not waited for
    return _json(error.body, error.status, headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told: ServiceError
    if error.status_code == 405:
        told = MethodNotAllowedError(f"this path does not know {request.method}; it knows: {_allowed(error)}")
        return _json(told.body, 405, {"Allow": _allowed(error)})
    if error.status_code == 404:
        told = NotFoundError("no such path: see /openapi.json")
        return _json(told.body, 404)
    return _json({"error": error.detail, "code": "invalid_request", "retryable": False}, error.status_code)


def _allowed(error: HTTPException) -> str:
    return (error.headers or {}).get("Allow", "")


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _unexpected(request: Request, error: Exception) -> Response:
    logger.error("an error that nothing handles", exc_info=error)
    return _json({"error": "the service failed: see its log", "code": "internal", "retryable": True}, 500)
