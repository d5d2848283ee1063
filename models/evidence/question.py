"""The question to a service and its answer, in KServe's V1 protocol: what is sent, and what is believed.

References
----------
KServe, V1 inference protocol,
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from models.evidence.errors import ServiceFailedError, ServiceRefusedError
from models.evidence.gatherer import Answer
from models.scoring.evidence_policy import MEMO

MAX_FINDINGS = 16
MAX_FINDING_CHARACTERS = 200
MAX_BENEFICIARY_CHARACTERS, MAX_GOODS_CHARACTERS = 200, 500
"""Of the payment as services take it."""
RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_RETRY_AFTER_SECONDS = 5.0
"""A service may ask for more; the budget is over then anyway."""


@dataclass(frozen=True, slots=True)
class ServiceModel:
    """What is asked of a service, and where the answer stands.

    Attributes
    ----------
    name
        Of the model, as in the URL.
    output
        Field of a prediction that holds the probability of fraud; with `1-` before it, of its opposite.
    fields
        Of an instance, among `image`, `text` (the memo) and `payment`.
    """

    name: str
    output: str
    fields: tuple[str, ...]

    def path(self, model_version: str, verb: str = "predict") -> str:
        """Return the path of the URL; a version pins the question to it."""
        version = f"/versions/{quote(model_version, safe='')}" if model_version else ""
        return f"/v1/models/{quote(self.name, safe='')}{version}:{verb}"

    def body(self, request: Mapping[str, Any], alert: Mapping[str, Any]) -> bytes:
        """Return the question: the same bytes for the same request, so that its id means the same question."""
        instance: dict[str, Any] = {}
        if "image" in self.fields and request["reference"] != MEMO:
            instance["image"] = {"uri": request["reference"]}
        if "text" in self.fields:
            instance["text"] = request["memo"] or ""
        if "payment" in self.fields:
            instance["payment"] = _payment(request, alert)
        return json.dumps({"instances": [instance]}, sort_keys=True).encode()

    def answer(self, content: bytes, request: Mapping[str, Any]) -> Answer:
        """Return what the service said, if it is what was asked for.

        Raises
        ------
        ServiceFailedError
            If the answer is not what the protocol says, is about another request or another version of the model, or
            holds no probability.
        """
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise _lie(f"no JSON: {error}") from error
        if not isinstance(answer, dict):
            raise _lie("no JSON object")
        version = answer.get("model_version", "")
        if not isinstance(version, str):
            raise _lie("model_version is no text")
        if request["model_version"] and version != request["model_version"]:
            raise _lie(f"version {version[:40]!r} answered, {request['model_version']!r} was asked")
        if answer.get("id") not in (None, request["request_id"]):
            raise _lie("it is about another request")
        predictions = answer.get("predictions")
        if not (isinstance(predictions, list) and len(predictions) == 1 and isinstance(predictions[0], dict)):
            raise _lie("predictions is no list of one object")
        prediction = predictions[0]
        name = self.output.removeprefix("1-")
        score = prediction.get(name)
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:  # NaN is neither
            raise _lie(f"{name} is no probability")
        if self.output.startswith("1-"):
            score = 1 - score
        told = [(key, value) for key, value in prediction.items() if not _is_vector(value)]
        findings = {str(key)[:64]: _shown(value) for key, value in told[:MAX_FINDINGS]}
        return Answer(float(score), findings, version)


def error_of(status: int, content: bytes, retry_after: str | None) -> ServiceRefusedError | ServiceFailedError:
    """Return what an HTTP status other than 200 means.

    Examples
    --------
    >>> error_of(415, b'{"error": "an SVG", "code": "unsupported_content"}', None)
    ServiceRefusedError('415 unsupported_content: an SVG')
    """
    message = f"{status}"
    try:
        body = json.loads(content)
        message = f"{status} {body['code']}: {body['error']}"[:300]
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    if status in RETRYABLE:
        seconds = float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
        return ServiceFailedError(message, retry_after_seconds=min(seconds, LONGEST_RETRY_AFTER_SECONDS))
    if 400 <= status < 500:
        return ServiceRefusedError(message)
    return ServiceFailedError(message, is_retryable=False)


def _lie(what: str) -> ServiceFailedError:
    # The same question would be answered the same way; but a service in the midst of an upgrade is soon another one.
    return ServiceFailedError(f"the answer is not what the protocol says: {what}")


def _payment(request: Mapping[str, Any], alert: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payment as the services take it; what is not known, or does not fit, is left out or cut."""
    payment = {
        "amount_minor": alert["amount_minor"],
        "currency": alert["currency"],
        "beneficiary": alert["counterparty_id"][:MAX_BENEFICIARY_CHARACTERS],
    }
    if day := _date(alert["event_time_ms"]):
        payment["date"] = day
    if request["memo"]:
        payment["goods"] = request["memo"][:MAX_GOODS_CHARACTERS]
    return payment


def _date(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


def _is_vector(value: Any) -> bool:
    """Whether a value is an embedding or the like: numbers that tell an analyst nothing."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, int | float) for item in value)


def _shown(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= MAX_FINDING_CHARACTERS else text[: MAX_FINDING_CHARACTERS - 1] + "…"
