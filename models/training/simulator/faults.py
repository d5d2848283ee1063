"""A stream as the world delivers it: duplicates, late and out-of-order records, and poison, injected on purpose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.training.simulator.config import SimulatorError
from models.training.simulator.poison import POISONS, read_transaction
from schemas.columns import I64, U8

KINDS = ("good", "duplicate", *POISONS)
"""What a delivered record is; the kind column of a delivery holds indices into this tuple."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """How often each fault happens. Equal plans over equal streams give equal bytes.

    Rates are shares of the good records. Duplicates and poison come on top of them: nothing good is lost.

    Parameters
    ----------
    duplicate_rate, duplicate_delay_ms
        Share of records sent twice, and the mean time until the second copy.
    late_rate, late_delay_ms
        Share of records that arrive late, and by how much on average.
    out_of_order_rate, out_of_order_ms
        Share of records that arrive a little late, and by how much at most.
    poison_rate, poison_kinds
        Bad records for each good one, and which kinds.
    """

    seed: int = 1
    duplicate_rate: float = 0.0
    duplicate_delay_ms: int = 30_000
    late_rate: float = 0.0
    late_delay_ms: int = 30 * 60_000
    out_of_order_rate: float = 0.0
    out_of_order_ms: int = 5_000
    poison_rate: float = 0.0
    poison_kinds: tuple[str, ...] = tuple(POISONS)

    def __post_init__(self) -> None:
        unknown = set(self.poison_kinds) - set(POISONS)
        if unknown:
            raise SimulatorError(f"unknown poison kinds {sorted(unknown)}; choose among {', '.join(POISONS)}")
        if self.poison_rate > 0 and not self.poison_kinds:
            raise SimulatorError("poison_rate is above 0 but poison_kinds is empty; name at least one kind")
        for name in ("duplicate_rate", "late_rate", "out_of_order_rate", "poison_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SimulatorError(f"{name} must be 0 to 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Delivery:
    """Records in the order in which they arrive."""

    keys: list[bytes]
    values: list[bytes | None]
    kind: U8  # index into KINDS

    def __len__(self) -> int:
        return len(self.values)

    def expected_errors(self) -> list[str | None]:
        """Return each record's expected dead-letter code; None for good records and duplicates."""
        return [POISONS[KINDS[k]].error if k > 1 else None for k in self.kind.tolist()]


class FaultInjector:
    """Puts the faults of a plan into a stream, batch by batch.

    A record arrives at its event time plus a delay, zero for most. What is still on its way when a batch ends comes
    with a later batch, or with `flush`.
    """

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self._rng = np.random.default_rng([plan.seed, 6])
        weights = np.array([POISONS[name].weight for name in plan.poison_kinds])
        self._kinds = np.array([KINDS.index(name) for name in plan.poison_kinds], np.uint8)
        self._weights = weights / weights.sum() if len(weights) else weights
        self._keys: list[bytes] = []
        self._values: list[bytes | None] = []
        self._kind = np.zeros(0, np.uint8)
        self._arrival_ms = np.zeros(0, np.int64)

    def apply(self, keys: list[bytes], values: list[bytes], event_time_ms: I64) -> Delivery:
        """Return what arrives until the newest event time of these records, which are ordered by event time."""
        if not values:
            return Delivery([], [], np.zeros(0, np.uint8))
        plan, rng, n = self.plan, self._rng, len(values)
        delay = np.zeros(n, np.int64)
        for rate, most in ((plan.out_of_order_rate, "out_of_order"), (plan.late_rate, "late")):
            rows = np.flatnonzero(rng.random(n) < rate)
            if most == "late":
                delay[rows] = 1 + rng.exponential(plan.late_delay_ms, len(rows)).astype(np.int64)
            else:
                delay[rows] = rng.integers(1, plan.out_of_order_ms + 1, len(rows))
        arrival_ms = event_time_ms + delay
        twice = np.flatnonzero(rng.random(n) < plan.duplicate_rate)
        again_ms = arrival_ms[twice] + rng.exponential(plan.duplicate_delay_ms, len(twice)).astype(np.int64)
        spoiled = np.flatnonzero(rng.random(n) < plan.poison_rate)
        poison_kind = rng.choice(self._kinds, len(spoiled), p=self._weights) if len(spoiled) else self._kinds[:0]
        bad = [
            POISONS[KINDS[kind]].make(rng, values[row], read_transaction(values[row]))
            for row, kind in zip(spoiled.tolist(), poison_kind.tolist(), strict=True)
        ]

        extra = np.concatenate([twice, spoiled]).tolist()
        self._keys += keys + [keys[row] for row in extra]
        self._values += [*values, *(values[row] for row in twice.tolist()), *bad]
        kind = np.concatenate([np.zeros(n, np.uint8), np.ones(len(twice), np.uint8), poison_kind])
        self._kind = np.concatenate([self._kind, kind])
        self._arrival_ms = np.concatenate([self._arrival_ms, arrival_ms, again_ms, event_time_ms[spoiled]])
        return self._deliver(int(event_time_ms[-1]))

    def flush(self) -> Delivery:
        """Return what is still on its way."""
        return self._deliver(int(self._arrival_ms.max()) if len(self._arrival_ms) else 0)

    def _deliver(self, until_ms: int) -> Delivery:
        order = np.argsort(self._arrival_ms, kind="stable")
        arrived = int(np.searchsorted(self._arrival_ms[order], until_ms, side="right"))
        now, later = order[:arrived], order[arrived:]
        delivery = Delivery(
            [self._keys[i] for i in now.tolist()], [self._values[i] for i in now.tolist()], self._kind[now]
        )
        self._keys = [self._keys[i] for i in later.tolist()]
        self._values = [self._values[i] for i in later.tolist()]
        self._kind, self._arrival_ms = self._kind[later], self._arrival_ms[later]
        return delivery
