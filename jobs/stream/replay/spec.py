"""What a replay is told: which offsets, in which order, by which versions. Decided once, before anything starts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

LOG, RECORDED = "log", "recorded"
"""Orders: of record timestamps, or the one in which the live run took the transactions in."""


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of a partition: it is read from `warm` to before `stop`, and counts from `begin` to before `end`."""

    topic: str
    partition: int
    warm: int
    begin: int
    end: int
    stop: int


@dataclass(frozen=True, slots=True)
class ReplaySpec:
    """One replay.

    Attributes
    ----------
    run_id
        Name of the run.
    from_ms, to_ms
        Record timestamps between which transactions are decided on.
    first_ms, last_ms
        Record timestamps of the first and last of them.
    order
        LOG or RECORDED.
    transactions, labels
        What to read.
    ledger_topic, ledger_since_ms
        Decisions of the live run, and from which record timestamp on they matter; an empty name uses none.
    is_from_beginning
        Whether nothing of the stream lies before `warm`.
    partitions
        Decide on the transactions of these alone; all where empty.
    account
        Decide on the transactions of this originator alone.
    speed
        Seconds of record timestamps in one second; 0: as fast as it goes.
    batch_rows
        Records of a batch.
    models_dir
        Score with the model of this folder instead of the one on record; empty: as recorded.
    rules
        Records of rules to decide by instead of those on record; None: as recorded.
    risk_labels
        Which labels `labels` holds, and the features count: `raw` or `matured` ones. As the live run's.
    """

    run_id: str
    from_ms: int
    to_ms: int
    first_ms: int
    last_ms: int
    order: str
    transactions: tuple[Span, ...]
    labels: tuple[Span, ...]
    ledger_topic: str
    ledger_since_ms: int
    is_from_beginning: bool
    partitions: tuple[int, ...] = ()
    account: str = ""
    speed: float = 0.0
    batch_rows: int = 4_000
    models_dir: str = ""
    rules: tuple[dict[str, Any], ...] | None = None
    risk_labels: Literal["raw", "matured"] = "raw"

    @property
    def spans(self) -> tuple[Span, ...]:
        """Everything to read, in the order that breaks ties of time."""
        return (*self.transactions, *self.labels)

    @property
    def is_committed_only(self) -> bool:
        """Whether records of aborted transactions are left out: as the scoring job reads, so does its replay."""
        return self.risk_labels == "matured"

    @property
    def rows(self) -> int:
        """Offsets to read: an upper bound of the records."""
        return sum(max(0, span.stop - span.warm) for span in self.spans)

    @property
    def rows_to_decide(self) -> int:
        """Offsets of transactions to decide on."""
        return sum(max(0, span.end - span.begin) for span in self.transactions)

    def to_json(self) -> str:
        """Return the replay as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        for name in ("transactions", "labels"):
            fields[name] = tuple(Span(**span) for span in fields[name])
        fields["partitions"] = tuple(fields["partitions"])
        fields["rules"] = None if fields["rules"] is None else tuple(fields["rules"])
        return cls(**fields)
