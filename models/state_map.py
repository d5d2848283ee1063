"""State as the core sees it: blobs by number. Flink's keyed state hosts it live; a dict does elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class StateMap(Protocol):
    """A map from numbers to blobs, restored as a whole to some earlier moment after a fault.

    Each call costs tens of microseconds in Flink, whatever the size of the blob: callers batch.
    """

    def get(self, key: int) -> bytes | None:
        """Return the blob, or None where there is none."""

    def put(self, key: int, value: bytes) -> None:
        """Set the blob."""

    def remove(self, key: int) -> None:
        """Remove the blob; without effect where there is none."""

    def keys(self) -> Iterator[int]:
        """Return the keys in any order; read only when state is restored."""


class MemoryState:
    """A StateMap for replay from files, training and tests; `copy` is its checkpoint."""

    def __init__(self, blobs: dict[int, bytes] | None = None) -> None:
        self.blobs: dict[int, bytes] = {} if blobs is None else blobs

    def get(self, key: int) -> bytes | None:
        """Return the blob, or None where there is none."""
        return self.blobs.get(key)

    def put(self, key: int, value: bytes) -> None:
        """Set the blob."""
        self.blobs[key] = value

    def remove(self, key: int) -> None:
        """Remove the blob; without effect where there is none."""
        self.blobs.pop(key, None)

    def keys(self) -> Iterator[int]:
        """Return the keys."""
        return iter(list(self.blobs))

    def copy(self) -> MemoryState:
        """Return an independent copy: what a restart begins from."""
        return MemoryState(dict(self.blobs))
