"""What a virtual world is like: how large it is, and what befalls it."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """What a world is like; drawn from its seed."""

    seed: int
    records: int
    partitions: int
    shards: int
    parallelism: int
    label_partitions: int
    dedupe_horizon: int
    ids_per_page: int
    flush_log_bytes: int
    promote_above: int
    page_rows: int
    largest_read: int
    deaths: int
    is_unaligned: bool
    has_stalls: bool
    has_outages: bool
    idle_ms: int
    label_lifetime_hours: int
    learner_deaths: int
    rescales: bool

    @classmethod
    def of(cls, seed: int) -> Plan:
        """Draw a plan."""
        rng = random.Random(seed)
        partitions = rng.choice([1, 2, 3])
        shards = rng.choice([1, 2, 3])
        return cls(
            seed=seed,
            records=rng.choice([12, 25, 50]),
            partitions=partitions,
            shards=shards,
            parallelism=rng.randint(1, shards),
            label_partitions=rng.choice([1, 2]),
            dedupe_horizon=rng.choice([4, 25, 400]),
            ids_per_page=rng.choice([2, 16, 2048]),
            flush_log_bytes=rng.choice([1, 600, 3_000, 1 << 20]),
            promote_above=rng.choice([3, 64]),
            page_rows=rng.choice([4, 32, 256]),
            largest_read=rng.choice([4, 15, 60]),
            deaths=rng.choice([0, 1, 2, 4]),
            is_unaligned=rng.random() < 0.3,
            has_stalls=rng.random() < 0.3,
            has_outages=rng.random() < 0.2,
            idle_ms=rng.choice([0, 0, 2_000]),
            label_lifetime_hours=rng.choice([1, 12, 24 * 7]),
            learner_deaths=rng.choice([0, 1, 3]),
            rescales=rng.random() < 0.3,
        )
