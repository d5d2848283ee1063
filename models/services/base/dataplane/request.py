"""A request and its answer as the dataplane sees them, whatever protocol they came by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.services.base.model import Prediction


@dataclass(frozen=True, slots=True)
class InlineImage:
    """An image that the request brings, unchecked."""

    content: bytes


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image that the request points to."""

    uri: str
    sha256: str | None = None
    """Hex digest that the content must have; a replay pins with it what it saw."""


RawInstance = Mapping[str, Any]
"""Field name to InlineImage or ImageReference, str, or a JSON value: decoded by the protocol, checked by nobody yet."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request to one model."""

    model_name: str
    instances: Sequence[RawInstance]
    verb: str = "predict"
    """predict, explain, or the name of an action."""
    version: str | None = None
    """None asks the default version."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    fingerprint: bytes = b""
    """Digest of the body: the same id with another one is refused."""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What a model answered, and which one it was."""

    model_name: str
    model_version: str
    results: Sequence[Prediction] = ()
    """One a instance: predictions or explanations."""
    body: Mapping[str, Any] | None = None
    """What an action answered, instead."""
    reused: bool = False
    """Computed for an earlier request of the same id."""
