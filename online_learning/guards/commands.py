"""Operators' commands, each in force from a place in the order of labels: the same place in every run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from online_learning.labels.precedence import SOURCES
from schemas.columns import I64, Bool
from schemas.errors import SerializationError
from schemas.records import decode_record

KEY_PREFIX = "learning/"
EVERY_SOURCE = "*"


class CommandError(ValueError):
    """A command that cannot be followed; the message says why."""


@dataclass(frozen=True, slots=True, order=True)
class Command:
    """See `learning_command.avsc`; ordered by place, then by id."""

    from_ms: int
    command_id: str
    action: str
    source: str = ""
    labels_seen: int = 0

    @classmethod
    def of_record(cls, key: bytes, value: bytes) -> Self:
        """Read a record of the control topic.

        Raises
        ------
        CommandError
            If it is no command, or names no known source.
        """
        try:
            record = decode_record(value, name="learning_command")
        except (SerializationError, KeyError) as error:
            raise CommandError(f"{key!r} is no learning command: {error}") from error
        source = record["source"]
        if record["action"] != "rollback" and source not in (EVERY_SOURCE, *SOURCES):
            raise CommandError(f"there is no source {source!r}: name one of {', '.join(SOURCES)}, or * for all")
        return cls(record["from_ms"], key.decode(errors="replace"), record["action"], source, record["labels_seen"])


@dataclass(slots=True)
class CommandLog:
    """Commands that wait for their place, and the sources that are in quarantine."""

    pending: list[Command] = field(default_factory=list)
    known: set[str] = field(default_factory=set)  # ids: a command that comes twice is one
    quarantined: set[str] = field(default_factory=set)

    def add(self, command: Command) -> None:
        """Take a command in; twice is once."""
        if command.command_id not in self.known:
            self.known.add(command.command_id)
            self.pending = sorted([*self.pending, command])

    def split(self, places: I64) -> Iterator[tuple[int, int, Command | None]]:
        """Yield (start, end, command to follow after these rows) that cover n rows whose places do not fall."""
        start = 0
        while self.pending and len(places) and self.pending[0].from_ms <= int(places[-1]):
            command = self.pending.pop(0)
            end = max(start, int(np.searchsorted(places, command.from_ms)))
            yield start, end, command
            start = end
        yield start, len(places), None

    def follow(self, command: Command) -> None:
        """Change the quarantine."""
        if command.action == "quarantine":
            self.quarantined.add(command.source)
        elif command.action == "release":
            self.quarantined.discard(command.source)

    def is_quarantined(self, source: np.ndarray[Any, Any]) -> Bool:
        """Return (n,) which labels, by the index of their source, teach nothing."""
        if EVERY_SOURCE in self.quarantined:
            return np.ones(len(source), np.bool_)
        return np.isin(source, [SOURCES.index(name) for name in sorted(self.quarantined)])

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return {
            "pending": [asdict(command) for command in self.pending],
            "known": sorted(self.known),
            "quarantined": sorted(self.quarantined),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Restore."""
        pending = [Command(**command) for command in stored["pending"]]
        return cls(pending, set(stored["known"]), set(stored["quarantined"]))
