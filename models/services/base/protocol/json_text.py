"""JSON in and out, strictly: no NaN, no bytes that are not UTF-8, NumPy arrays as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from models.services.base.errors import InvalidRequestError


def parse_object(body: bytes | memoryview) -> dict[str, Any]:
    """Parse a JSON object.

    Raises
    ------
    InvalidRequestError
        If it is none.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"the body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequestError("the body should be a JSON object")
    return value


def parse_value(name: str, text: str | bytes) -> Any:
    """Parse any JSON value that travels as text in a tensor."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"tensor {name!r} should hold JSON text: {error}") from None


def dump(value: Any) -> bytes:
    """Write JSON; arrays and numbers of NumPy are written as lists and numbers."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):  # what orjson does not write itself: other layouts and datatypes
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def require_keys(where: str, value: Any, allowed: set[str]) -> dict[str, Any]:
    """Require an object whose keys are all known: a misspelt option is told, not passed over."""
    if not isinstance(value, dict):
        raise InvalidRequestError(f"{where} should be a JSON object")
    if unknown := value.keys() - allowed:
        raise InvalidRequestError(
            f"{where} holds unknown keys {sorted(unknown)[:5]}; it may hold: {', '.join(sorted(allowed))}"
        )
    return value
