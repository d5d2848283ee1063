"""What a run found, fault by fault and in the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Outcome:
    """How one fault went.

    Attributes
    ----------
    recovery_seconds
        From the fault's beginning (a kill) or end (others) until a read_committed reader had a decision on a record
        of each partition that was sent after that.
    stable_seconds
        From the fault's end until the last stable offset of each partition of `decisions` had passed the end that the
        partition had at the fault's end.
    ended_by_themselves
        TaskManagers that ended though nobody killed them, and were started again.
    balanced_seconds
        From the fault's end until the ledger had all the money that had been sent by then, account by account.
    """

    kind: str
    row: int
    seed: int
    begun_seconds: float
    lasted_seconds: float = 0.0
    recovery_seconds: float = 0.0
    stable_seconds: float = 0.0
    balanced_seconds: float = 0.0
    restarts: int = 0
    ended_by_themselves: int = 0


@dataclass(slots=True)
class Result:
    """What a run found."""

    outcomes: list[Outcome] = field(default_factory=list)
    anomalies: dict[str, int] = field(default_factory=dict)
    description: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def as_record(self) -> dict[str, Any]:
        """Make the JSON form."""
        return asdict(self)
