"""Latency percentiles, exact to 1%."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram

_HIGHEST_MS = 3_600_000
_DIGITS = 2  # 1% of the value: more would cost memory and show nothing


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A latency distribution in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


NOTHING = Percentiles(0, 0.0, 0.0, 0.0, 0.0)


class Latencies:
    """Records latencies in milliseconds.

    Examples
    --------
    >>> latencies = Latencies()
    >>> latencies.record(np.array([10, 20, 30, 40]))
    >>> latencies.percentiles()
    Percentiles(count=4, p50=20, p95=40, p99=40, max=40)
    """

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, _HIGHEST_MS, _DIGITS)
        self._max = 0

    def record(self, latencies_ms: npt.NDArray[np.int64]) -> None:
        """Add a batch; negative values (clocks that disagree) count as 0, and what is above an hour as an hour."""
        if not len(latencies_ms):
            return
        self._max = max(self._max, int(latencies_ms.max()))
        # One call a distinct value: the histogram is plain Python, and a batch holds few distinct milliseconds
        values, counts = np.unique(np.clip(latencies_ms, 0, _HIGHEST_MS), return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self._histogram.record_value(value, count)

    def percentiles(self) -> Percentiles:
        """Return the distribution so far; zeros before the first value."""
        count = int(self._histogram.get_total_count())
        if not count:
            return NOTHING
        p50, p95, p99 = (self._value_at(math.ceil(share * count / 100), count) for share in (50, 95, 99))
        return Percentiles(count, p50, p95, p99, self._max)

    def _value_at(self, rank: int, count: int) -> int:
        # The histogram takes the nearest rank to a percentile, and of few values that is the one below
        value = int(self._histogram.get_value_at_percentile(100.0 * rank / count))
        return min(value, self._max)  # it rounds up within 1%; nothing may look larger than the largest
