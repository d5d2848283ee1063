"""Events through the entity store per second of one core's time.

`python -m tests.bench.features_bench`: every event touches an originator, a beneficiary and a device, in batches of
1,000, in order of time or with a share of late ones.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.features.catalogue import STORE
from models.features.entity_store import EntityStore
from models.features.touches import BENEFICIARY, DEVICE, ORIGINATOR, TOUCH

BATCH = 1_000


class Load(NamedTuple):
    """A stream: who takes part, how long it lasts, how much of it is late."""

    name: str
    accounts: int
    counterparties: int
    days: float
    events: int = 1_000_000
    late_share: float = 0.0
    late_ms: int = 0


LOADS = (
    Load("50,000 entities, minutes", 40_000, 10_000, 0.02),
    Load("50,000 entities, 30 days", 40_000, 10_000, 30),
    Load("busy merchants, 30 days", 40_000, 200, 30),
    Load("few entities, all tracks large", 200, 50, 30),
    Load("50,000 entities, 30 days, 10% late by up to 1 s", 40_000, 10_000, 30, 1_000_000, 0.1, 1_000),
    Load("busy merchants, 30 days, half late by up to 10 s", 40_000, 200, 30, 1_000_000, 0.5, 10_000),
)


def touches_of_load(load: Load, seed: int = 1) -> npt.NDArray[np.void]:
    """Touches of the load, three an event."""
    rng = np.random.default_rng(seed)
    n = load.events
    keys = rng.integers(1, 2**62, load.accounts * 2 + load.counterparties).astype(np.uint64)
    account = keys[rng.integers(0, load.accounts, n)]
    # A third of an account's transactions go to a favourite counterparty, as they do in life.
    counterparty_number = rng.integers(0, load.counterparties, n)
    favourite = (account % np.uint64(load.counterparties)).astype(np.int64)
    counterparty_number = np.where(rng.random(n) < 0.33, favourite, counterparty_number)
    touches = np.zeros((n, 3), TOUCH)
    touches["entity"][:, ORIGINATOR] = account
    touches["entity"][:, BENEFICIARY] = keys[load.accounts + counterparty_number]
    touches["entity"][:, DEVICE] = account ^ np.uint64(0xFFFF)
    touches["other"][:, ORIGINATOR] = touches["entity"][:, BENEFICIARY]
    touches["other"][:, BENEFICIARY] = account
    touches["other"][:, DEVICE] = account
    times = 1_700_000_000_000 + np.sort(rng.integers(0, int(load.days * 86_400_000), n))
    times -= np.where(rng.random(n) < load.late_share, rng.integers(0, load.late_ms + 1, n), 0)
    touches["time_ms"] = times[:, None]
    touches["amount"] = rng.lognormal(8, 1, n).astype(np.int64)[:, None]
    touches["event"] = (np.arange(n) % BATCH)[:, None]
    touches["role"] = np.arange(3)
    return touches.reshape(-1)


def measure(load: Load) -> tuple[float, float, float, EntityStore]:
    """Return events per second of CPU time over all and over the last fifth, the slowest batch in ms, and the store."""
    touches = touches_of_load(load)
    store = EntityStore(STORE)
    took = []
    for start in range(0, len(touches), 3 * BATCH):
        block = touches[start : start + 3 * BATCH]
        began = time.thread_time()
        store.apply(block)
        took.append(time.thread_time() - began)
    last = took[-len(took) // 5 :]
    return load.events / sum(took), BATCH * len(last) / sum(last), 1e3 * max(took), store


def main() -> None:
    """Print a table."""
    print("| load | events/s | last fifth | slowest batch of 1,000 | entities | bytes an entity |")
    print("| --- | --- | --- | --- | --- | --- |")
    for load in LOADS:
        overall, last, slowest, store = measure(load)
        count = store.counters
        size = count["bytes"] / count["entities"]
        print(
            f"| {load.name} | {overall:,.0f} | {last:,.0f} | {slowest:.1f} ms | {count['entities']:,} | {size:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
