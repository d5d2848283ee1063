"""JSON objects checked against a schema, with messages that a producer can act on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from schemas.errors import SerializationError

_RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
_SHOWN_CHARACTERS = 60  # of a wrong value: enough to recognise it, too little to flood a header


class InvalidJsonError(SerializationError):
    """The bytes are not one JSON object."""


class InvalidFieldError(SerializationError):
    """A field is missing, or its value is not of the schema's type."""


def _shown(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, float) or math.isfinite(value) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _kind(value: Any) -> str:
    """Name a value's kind: where an identifier may stand, its content stays out of headers and logs."""
    if value is None:
        return "null"
    kinds = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return kinds.get(type(value), type(value).__name__)


def _checked(value: Any, schema: Any, path: str) -> Any:
    """Return a value as fastavro writes it; raise where it is not of the schema's type."""
    if isinstance(schema, list):
        if value is None and "null" in schema:
            return None
        others = [branch for branch in schema if branch != "null"]
        return _checked(value, others[0], path)
    kind = schema["type"] if isinstance(schema, Mapping) else schema
    if isinstance(kind, Mapping | list):
        return _checked(value, kind, path)
    if kind == "record":
        return checked_record(value, schema, path)
    if kind in _RANGES:
        lowest, highest = _RANGES[kind]
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidFieldError(f"{path}: expected a whole number, found {_shown(value)}")
        if not lowest <= value <= highest:
            raise InvalidFieldError(f"{path}: {_shown(value)} is outside {lowest} to {highest}")
        return value
    if kind in {"float", "double"}:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidFieldError(f"{path}: expected a number, found {_shown(value)}")
        try:
            return float(value)
        except OverflowError:
            raise InvalidFieldError(f"{path}: {_shown(value)} does not fit in a double") from None
    if kind == "boolean":
        if not isinstance(value, bool):
            raise InvalidFieldError(f"{path}: expected true or false, found {_shown(value)}")
        return value
    if kind == "enum":
        if not isinstance(value, str):
            raise InvalidFieldError(f"{path}: expected one of {', '.join(schema['symbols'])}, found {_shown(value)}")
        if value in schema["symbols"]:
            return value
        # As in Avro's schema resolution: a symbol that a newer producer may know becomes the default.
        if "default" in schema:
            return schema["default"]
        raise InvalidFieldError(f"{path}: expected one of {', '.join(schema['symbols'])}, found {_shown(value)}")
    if kind == "array":
        if not isinstance(value, list | tuple):
            raise InvalidFieldError(f"{path}: expected an array, found {_kind(value)}")
        return [_checked(item, schema["items"], f"{path}[{i}]") for i, item in enumerate(value)]
    if kind == "map":
        if not isinstance(value, Mapping):
            raise InvalidFieldError(f"{path}: expected an object, found {_kind(value)}")
        return {_text(k, path): _checked(v, schema["values"], f"{path}.{k}") for k, v in value.items()}
    if kind == "bytes":
        if not isinstance(value, bytes):
            raise InvalidFieldError(f"{path}: bytes cannot be written in JSON; send Avro")
        return value
    return _text(value, path)


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise InvalidFieldError(f"{path}: expected a string, found {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidFieldError(f"{path}: the string holds half of a surrogate pair, which UTF-8 cannot say") from None
    return value


def checked_record(value: Any, schema: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return a record with every field of its schema: defaults filled in, unknown fields left out.

    Raises
    ------
    InvalidFieldError
        If a field without a default is missing, or a value is not of its type.
    """
    if not isinstance(value, Mapping):
        raise InvalidFieldError(f"{path or schema['name']}: expected an object, found {_kind(value)}")
    record = {}
    for field in schema["fields"]:
        name = field["name"]
        place = f"{path}.{name}" if path else name
        if name in value:
            record[name] = _checked(value[name], field["type"], place)
        elif "default" in field:
            record[name] = field["default"]
        else:
            raise InvalidFieldError(f"{place}: missing, and it has no default")
    return record


def parse_object(text: bytes) -> dict[str, Any]:
    """Parse one JSON object.

    Raises
    ------
    InvalidJsonError
        If the text is not JSON in UTF-8, or something else than one object.
    """
    try:
        value = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidJsonError(f"expected one JSON object in UTF-8: {error}") from error
    if not isinstance(value, dict):
        raise InvalidJsonError(f"expected one JSON object, found {_kind(value)}")
    return value
