"""What can go wrong between bytes and typed records."""

from __future__ import annotations


class SerializationError(Exception):
    """A record could not be decoded or encoded; the cause is chained."""


class UnknownSchemaError(SerializationError):
    """No schema is known for the fingerprint or the registry id that a record names."""


class WrongSchemaError(SerializationError):
    """A record's schema is known, but it is not of the kind that was asked for."""


class UnsupportedSchemaError(SerializationError):
    """A writer's schema holds something that the compiled decoder has no operation for."""


class RegistryUnavailableError(SerializationError):
    """The schema registry gave no answer: a fault of the surroundings, not of the record."""
