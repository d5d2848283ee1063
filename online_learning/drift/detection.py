"""What a test that goes row by row gives, and how it takes its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schemas.columns import F32, F64, I64


@dataclass(frozen=True, slots=True)
class Detection:
    """An alarm about one series.

    Attributes
    ----------
    row
        Of the block that raised it.
    detected_ms, since_ms
        Event time of that row, and of the first row of what is different.
    reference_value, current_value
        Mean before `since_ms`, and since.
    statistic, threshold
        What the test computed, and from where on it says drift.
    rows
        Rows behind `current_value`.
    """

    row: int
    detected_ms: int
    since_ms: int
    reference_value: float
    current_value: float
    statistic: float
    threshold: float
    rows: int


def as_series(values: F32 | F64, time_ms: I64) -> tuple[F64, I64]:
    """Return values and event times as the kernels take them.

    Raises
    ------
    ValueError
        If they are not two columns of one length.
    """
    if values.ndim != 1 or values.shape != time_ms.shape:
        raise ValueError(f"expected (n,) values and (n,) times, found {values.shape} and {time_ms.shape}")
    return np.ascontiguousarray(values, np.float64), np.ascontiguousarray(time_ms, np.int64)
