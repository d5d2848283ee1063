"""Schemas by their id in a Confluent schema registry. Nothing here ever registers a schema."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Protocol

from schemas.errors import RegistryUnavailableError, UnknownSchemaError, WrongSchemaError

_NOT_FOUND = 404
_NOT_FOUND_IN_REGISTRY = 40403  # the registry's own code for "schema not found"
_REMEMBERED = 4096  # answers kept: bounded, so that garbage ids cannot fill the memory


class SchemaLookup(Protocol):
    """Where a decoder asks for the schemas of other writers."""

    def schema_by_id(self, schema_id: int) -> Any:
        """Return the schema as parsed JSON.

        Raises
        ------
        UnknownSchemaError
            If there is no schema of that id.
        WrongSchemaError
            If there is one, but not of Avro.
        RegistryUnavailableError
            If there is no answer; the caller may try again.
        """
        ...


class RegistrySchemas:
    """Schemas from a registry, asked for once each.

    Parameters
    ----------
    url
        Address of the registry; `mock://` gives an empty one inside the process, for tests.
    timeout_seconds
        How long one question may take.
    forget_unknown_after_seconds
        How long "no such id" is remembered: producers register before they write, so an unknown id is garbage, or a
        registry that lags behind.
    options
        Further settings of confluent-kafka's client, such as `basic.auth.user.info`.
    clock
        Seconds from any origin.

    Raises
    ------
    RegistryUnavailableError
        If the registry's client is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 2.0,
        forget_unknown_after_seconds: float = 60.0,
        options: dict[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient
        except ImportError as error:
            raise RegistryUnavailableError(
                f"a schema registry is set ({url}) but its client is not installed: pip install 'weir[registry]'"
            ) from error
        # Retries are the caller's: a stalled stream should say so soon.
        self.client = SchemaRegistryClient.new_client(
            {"url": url, "timeout": timeout_seconds, "max.retries": 1, **(options or {})}
        )
        self._url = url
        self._forget_unknown_after_seconds = forget_unknown_after_seconds
        self._clock = clock
        self._known: dict[int, Any] = {}
        self._unknown: dict[int, tuple[float, Exception]] = {}

    def schema_by_id(self, schema_id: int) -> Any:
        """Return the schema of an id, as parsed JSON; see `SchemaLookup`."""
        if schema_id in self._known:
            return self._known[schema_id]
        if schema_id in self._unknown:
            until, error = self._unknown[schema_id]
            if self._clock() < until:
                raise error
            del self._unknown[schema_id]
        try:
            schema = self._ask(schema_id)
        except (UnknownSchemaError, WrongSchemaError) as error:
            if len(self._unknown) >= _REMEMBERED:
                self._unknown.clear()
            self._unknown[schema_id] = (self._clock() + self._forget_unknown_after_seconds, error)
            raise
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[schema_id] = schema
        return schema

    def _ask(self, schema_id: int) -> Any:
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            found = self.client.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND or error.error_code == _NOT_FOUND_IN_REGISTRY:
                raise UnknownSchemaError(f"the registry at {self._url} has no schema {schema_id}") from error
            raise RegistryUnavailableError(
                f"the registry at {self._url} refused schema {schema_id}: {error}; check its state and credentials"
            ) from error
        except (
            Exception
        ) as error:  # the HTTP client's errors differ from release to release; none is the record's fault
            raise RegistryUnavailableError(
                f"no answer from the registry at {self._url} for schema {schema_id}: {error!r}; check the address"
            ) from error
        if found.schema_type != "AVRO":
            raise WrongSchemaError(f"schema {schema_id} of the registry is {found.schema_type}, expected AVRO")
        if found.references:
            raise WrongSchemaError(f"schema {schema_id} refers to other schemas, which is not supported: inline them")
        return json.loads(found.schema_str)
