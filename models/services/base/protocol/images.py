"""How images travel in JSON."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from models.services.base.dataplane.request import ImageReference, InlineImage
from models.services.base.errors import InvalidRequestError

_URI = re.compile(r"^(file|https?)://", re.IGNORECASE)
_SHA256 = re.compile(r"^[0-9a-fA-F]{64}$")


def image_from_object(field: str, value: Any) -> InlineImage | ImageReference:
    """Read `{"b64": ...}` or `{"uri": ..., "sha256": ...}`."""
    if isinstance(value, dict):
        if set(value) == {"b64"} and isinstance(value["b64"], str):
            return InlineImage(decode_base64(field, value["b64"]))
        if "uri" in value and set(value) <= {"uri", "sha256"} and isinstance(value["uri"], str):
            digest = value.get("sha256")
            if digest is None or (isinstance(digest, str) and _SHA256.match(digest)):
                return ImageReference(value["uri"], digest)
    raise InvalidRequestError(
        f'field {field!r} should be an image: {{"b64": "..."}}, or {{"uri": "file:///...", "sha256": "64 hex digits"}}'
    )


def image_from_text(field: str, value: str) -> InlineImage | ImageReference:
    """Read base64 text or a URI, as an element of a BYTES tensor in JSON."""
    return ImageReference(value) if _URI.match(value) else InlineImage(decode_base64(field, value))


def image_from_bytes(value: bytes) -> InlineImage | ImageReference:
    """Read a file's bytes or a URI, as an element of a binary BYTES tensor."""
    head = value[:8].decode("latin-1")
    if _URI.match(head):
        try:
            return ImageReference(value.decode("ascii"))
        except UnicodeDecodeError:
            raise InvalidRequestError("a URI is written in ASCII") from None
    return InlineImage(value)


def decode_base64(field: str, text: str) -> bytes:
    """Decode standard base64, strictly."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError(f"field {field!r} is no base64 text (standard alphabet, padded)") from None
