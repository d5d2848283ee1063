"""What load to send."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Self

from models.training.simulator import FaultPlan, SimulatorConfig

YEAR_MS = 365 * 86_400_000
ENDLESS_YEARS = 5  # event time runs faster than the clock: at 2,000 events/s and 50,000 accounts this lasts 41 hours


class LoadError(Exception):
    """The load that was asked for makes no sense."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """An open-loop load: record number i is due at start + i / rate, whether or not the system keeps up.

    Attributes
    ----------
    rate
        Records a second, faults included.
    count
        Records to send in all; None for no end.
    end_ms
        Event time at which the stream is to end, milliseconds since 1970-01-01 UTC: the moment of planning, so that no
        event lies in the future.
    seed, accounts, merchants
        Of the simulator. A smaller population makes event time run faster: each account acts about three times a day.
    has_labels
        Whether labels go to their topic as they become known.
    poison_rate, duplicate_rate
        Bad and doubled records as shares of the good ones.
    evidence_share, evidence_root, evidence_from_eur
        Share of the transactions with a reference to a document, what stands before its name, and the amount from which
        transfers alone come with one; see `SimulatorConfig`.
    """

    rate: float
    count: int | None
    end_ms: int
    seed: int = 1
    accounts: int = 50_000
    merchants: int = 5_000
    has_labels: bool = True
    poison_rate: float = 0.0
    duplicate_rate: float = 0.0
    evidence_share: float = 0.0
    evidence_root: str = "file:///evidence"
    evidence_from_eur: float = 0.0

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise LoadError(f"rate must be above 0 records a second, got {self.rate}")
        if self.count is not None and self.count < 1:
            raise LoadError(f"count must be at least 1, got {self.count}")

    @property
    def simulator(self) -> SimulatorConfig:
        """The stream, placed in event time."""
        config = SimulatorConfig(
            seed=self.seed,
            accounts=self.accounts,
            merchants=self.merchants,
            evidence_share=self.evidence_share,
            evidence_root=self.evidence_root,
            evidence_from_eur=self.evidence_from_eur,
        )
        if self.count is not None:
            return config.ending_at(self.end_ms, self.count)
        return replace(config, start_ms=self.end_ms - ENDLESS_YEARS * YEAR_MS)

    @property
    def faults(self) -> FaultPlan | None:
        """What goes wrong on purpose; None if nothing does."""
        if not (self.poison_rate or self.duplicate_rate):
            return None
        return FaultPlan(seed=self.seed, poison_rate=self.poison_rate, duplicate_rate=self.duplicate_rate)

    def as_json(self) -> str:
        """For the command line of a generator process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `as_json` wrote."""
        return cls(**json.loads(text))
