"""Ask a side service to explain what it said: the same question once more, as ``:explain``."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from jobs.evidence_settings import ServiceAddress

TIMEOUT_SECONDS = 20.0  # reading a document takes about one; the rest is for a machine that is busy
MAX_BYTES = 16 << 20
"""Of an answer; a heat map of a page of 512 pixels has half a megabyte."""


class ExplanationError(Exception):
    """There is no explanation; the message says why."""


def explain(
    address: ServiceAddress, request: Mapping[str, Any], alert: Mapping[str, Any], model_version: str
) -> Mapping[str, Any]:
    """Return the explanation of one answer.

    Parameters
    ----------
    request, alert
        As they were when the service was asked: `evidence_request.avsc` and `alert.avsc`.
    model_version
        The version that answered; another one would explain another answer.

    Raises
    ------
    ExplanationError
        If the service does not answer in time, refuses, or answers something else.
    """
    url = address.url.rstrip("/") + address.model.path(model_version, "explain")
    headers = {"Content-Type": "application/json"}
    if address.token is not None:
        headers["Authorization"] = f"Bearer {address.token.get_secret_value()}"
    question = urllib.request.Request(url, address.model.body(request, alert), headers)
    try:
        with _OPENER.open(question, timeout=TIMEOUT_SECONDS) as answer:
            content = answer.read(MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise ExplanationError(f"the service answered {error.code}: {_message(error)}") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise ExplanationError(f"the service does not answer ({getattr(error, 'reason', error)})") from error
    if len(content) > MAX_BYTES:
        raise ExplanationError(f"the explanation has more than {MAX_BYTES} bytes")
    try:
        explanations = json.loads(content)["explanations"]
        if len(explanations) == 1 and isinstance(explanations[0], dict):
            return dict(explanations[0])
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise ExplanationError("the answer is no explanation")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        """Follow none: a token is for the service that it was configured for."""
        return


_OPENER = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(10_000))["error"])[:300]
    except (ValueError, TypeError, KeyError, OSError, RecursionError):
        return str(error.reason)
