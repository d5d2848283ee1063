"""Touch streams and specs for the tests of the entity store."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.features.entity_store import EntityStore
from models.features.partials import Partials
from models.features.store_spec import Column, Statistic, StoreSpec, Track
from models.features.touches import BENEFICIARY, DEVICE, LABEL, ORIGINATOR, TOUCH
from tests.unit.features.oracle import Oracle

Touches = npt.NDArray[np.void]

WINDOWS = (10, 100, 1_000)
DELAY = 50


def every_column(track: Track) -> tuple[Column, ...]:
    """Every statistic of a track in every window, and the counts and sums of delayed windows."""
    if track == Track.FRAUD:
        kinds = [Statistic.COUNT, Statistic.SECONDS_SINCE_LAST, Statistic.SECONDS_SINCE_FIRST]
        delayed = [Statistic.COUNT]
    else:
        kinds, delayed = list(Statistic), [Statistic.COUNT, Statistic.SUM]
    return (
        *(Column(f"{track.name}_{k.name}_{w}", track, k, w) for k in kinds for w in WINDOWS),
        *(Column(f"{track.name}_{k.name}_{w}_delayed", track, k, w, DELAY) for k in delayed for w in WINDOWS),
    )


def a_spec(**overrides: int) -> StoreSpec:
    """Everything of everything, small enough that a short stream reaches every limit."""
    both = (*every_column(Track.OUT), *every_column(Track.IN), *every_column(Track.FRAUD))
    limits = {"allowed_lateness_ms": 300, "promote_above": 4} | overrides
    return StoreSpec(originator=both, beneficiary=both, device=every_column(Track.USE), **limits)


def events_to_touches(events: list[tuple[int, int, int, int | None, int]]) -> Touches:
    """Touches of events (time, account, counterparty, device, amount), in their order."""
    rows = []
    for row, (time_ms, account, counterparty, device, amount) in enumerate(events):
        rows.append((account, counterparty, time_ms, amount, row, ORIGINATOR, 0, 0))
        rows.append((counterparty, account, time_ms, amount, row, BENEFICIARY, 0, 0))
        if device is not None:
            rows.append((device, account, time_ms, amount, row, DEVICE, 0, 0))
    return np.array(rows, TOUCH)


def a_label_touch(entity: int, transaction: int, time_ms: int, is_fraud: bool = True) -> Touches:
    return np.array([(entity, transaction, time_ms, 0, 0, LABEL, is_fraud, 0)], TOUCH)


def rows_in_order(touches: Touches, blocks: list[Partials]) -> list[npt.NDArray[np.float64] | None]:
    """What each touch read, in the order of the touches; None for labels."""
    queues = {
        ORIGINATOR: iter([row for p in blocks for row in p.originator]),
        BENEFICIARY: iter([row for p in blocks for row in p.beneficiary]),
        DEVICE: iter([row for p in blocks for row in p.device]),
    }
    return [None if t["role"] == LABEL else next(queues[int(t["role"])]) for t in touches]


def assert_like_oracle(spec: StoreSpec, touches: Touches, store: EntityStore | None = None) -> None:
    """Every number that a store reads is the oracle's; floating point may differ in its last digits."""
    store = store or EntityStore(spec)
    oracle = Oracle(spec)
    for i, (touch, row) in enumerate(zip(touches, rows_in_order(touches, [store.apply(touches)]), strict=True)):
        expected = oracle.apply(touch)
        if expected is None or row is None:
            continue
        wrong = ~np.isclose(row, expected, rtol=1e-12, atol=0, equal_nan=True)
        names = [c.name for c in spec.columns(int(touch["role"]))]
        assert not wrong.any(), f"touch {i} {touch}: " + ", ".join(
            f"{names[k]} is {row[k]}, expected {expected[k]}" for k in np.flatnonzero(wrong)[:5]
        )
