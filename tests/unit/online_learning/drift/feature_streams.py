"""Features for the tests of windows: two days and more of rows, drawn anew from a seed."""

from __future__ import annotations

import numpy as np

from models.features.drift_reference import Reference
from schemas.columns import F32, I64

DAY_MS = 86_400_000
NAMES = ("amount", "is_night", "usually_missing", "constant")


def rows_of_days(days: int, rows_per_day: int, seed: int = 0, first_day: int = 0) -> tuple[F32, I64]:
    """Return features and rising event times."""
    rng = np.random.default_rng([seed, first_day])
    n = days * rows_per_day
    X = np.stack(
        [
            rng.lognormal(3.0, 1.0, n),
            rng.random(n) < 0.2,
            np.where(rng.random(n) < 0.9, np.nan, rng.normal(size=n)),
            np.full(n, 7.0),
        ],
        axis=1,
    ).astype(np.float32)
    times = np.sort(rng.integers(first_day * DAY_MS, (first_day + days) * DAY_MS, n))
    return X, times


def a_reference(days: int = 5, rows_per_day: int = 2_000) -> Reference:
    """Return a reference of quiet days."""
    X, times = rows_of_days(days, rows_per_day)
    return Reference.of(NAMES, X, times)
