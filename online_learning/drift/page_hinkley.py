"""Page-Hinkley: a cumulated sum of deviations from the running mean that leaves its lowest or highest value far behind.

Compiled, equal to River's.

References
----------
Page: Continuous inspection schemes, Biometrika 41, 1954, https://doi.org/10.1093/biomet/41.1-2.100
River 0.23, `river.drift.PageHinkley`, https://riverml.xyz/0.23.0/api/drift/PageHinkley/
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from numba import njit

from online_learning.drift.detection import Detection, as_series
from online_learning.learners.packed import pack, unpack
from schemas.columns import F32, F64, I64

KIND = "drift-page-hinkley"
VERSION = 1

_DRIFT, _UP_ROWS, _UP_MS, _DOWN_ROWS, _DOWN_MS = range(5)
_N, _MEAN, _UP, _LOWEST, _DOWN, _HIGHEST, _UP_TOTAL, _DOWN_TOTAL = range(8)


@dataclass(frozen=True, slots=True)
class PageHinkleySettings:
    """River's parameters and defaults; they suit values in [0, 1].

    Parameters
    ----------
    min_instances
        Rows before the first alarm.
    delta
        Deviation from the mean that is tolerated, in units of the values.
    threshold
        Cumulated deviation that raises an alarm, in units of the values.
    alpha
        Share of the sum that stays from row to row.
    """

    min_instances: int = 30
    delta: float = 0.005
    threshold: float = 50.0
    alpha: float = 1 - 0.0001


class PageHinkley:
    """Two-sided Page-Hinkley test of one series. Not-finite values are left out.

    After an alarm the next row begins anew, as in River. Memory: some hundred bytes.

    Examples
    --------
    >>> detector = PageHinkley(PageHinkleySettings(threshold=5.0))
    >>> [(d.row, d.since_ms) for d in detector.update_many(np.repeat([0.0, 1.0], 500), np.arange(1000))]
    [(505, 500)]
    """

    def __init__(self, settings: PageHinkleySettings | None = None) -> None:
        self.settings = settings or PageHinkleySettings()
        self._numbers = np.zeros(8)
        self._counts = np.zeros(5, np.int64)
        _reset(self._numbers, self._counts)

    @property
    def drift_detected(self) -> bool:
        """The last row raised an alarm."""
        return bool(self._counts[_DRIFT])

    def update(self, x: float, time_ms: int = 0) -> None:
        """Take in one row."""
        self.update_many(np.array([x]), np.array([time_ms]))

    def update_many(self, values: F32 | F64, time_ms: I64) -> list[Detection]:
        """Take in rows in their order and return the alarms.

        Parameters
        ----------
        values
            (n,) values.
        time_ms
            (n,) event times.
        """
        series, times = as_series(values, time_ms)
        s = self.settings
        detections = []
        start = 0
        while start < len(series):
            row = _until_alarm(
                series, times, start, self._numbers, self._counts, s.min_instances, s.delta, s.threshold, s.alpha
            )
            if row == len(series):
                break
            detections.append(self._detection(row, int(times[row])))
            start = row + 1
        return detections

    def _detection(self, row: int, time_ms: int) -> Detection:
        numbers, counts = self._numbers, self._counts
        up, down = numbers[_UP] - numbers[_LOWEST], numbers[_HIGHEST] - numbers[_DOWN]
        if up > self.settings.threshold:
            rows, since_ms, total, statistic = counts[_UP_ROWS], counts[_UP_MS], numbers[_UP_TOTAL], up
        else:
            rows, since_ms, total, statistic = counts[_DOWN_ROWS], counts[_DOWN_MS], numbers[_DOWN_TOTAL], down
        n, mean = numbers[_N], numbers[_MEAN]
        before = n - rows
        return Detection(
            row=row,
            detected_ms=time_ms,
            since_ms=int(since_ms),
            reference_value=float((n * mean - total) / before) if before else float(mean),
            current_value=float(total / rows) if rows else float(mean),
            statistic=float(statistic),
            threshold=self.settings.threshold,
            rows=int(rows),
        )

    def snapshot(self) -> bytes:
        """Return the whole state; equal states give equal bytes."""
        return pack(KIND, VERSION, asdict(self.settings), self._arrays())

    @classmethod
    def restore(cls, snapshot: bytes) -> Self:
        """Return the detector that the snapshot was taken of.

        Raises
        ------
        SnapshotError
            If the snapshot is damaged, or of another kind or version.
        """
        packed = unpack(snapshot, KIND, VERSION)
        detector = cls(PageHinkleySettings(**packed.fields))
        for name, array in detector._arrays().items():
            array[...] = packed.arrays[name]
        return detector

    def _arrays(self) -> dict[str, F64 | I64]:
        return {"numbers": self._numbers, "counts": self._counts}


@njit(cache=True, nogil=True)
def _reset(numbers, counts):  # type: ignore[no-untyped-def]
    numbers[:] = 0.0
    numbers[_LOWEST] = np.inf
    numbers[_HIGHEST] = -1.0
    counts[:] = 0


@njit(cache=True, nogil=True)
def _until_alarm(  # type: ignore[no-untyped-def]
    values, times, start, numbers, counts, min_instances, delta, threshold, alpha
):
    """Take in rows until one raises an alarm; return it, or how many rows there are."""
    for i in range(start, len(values)):
        x = values[i]
        if not np.isfinite(x):
            continue
        if counts[_DRIFT]:
            _reset(numbers, counts)
        numbers[_N] += 1.0
        numbers[_MEAN] += (1.0 / numbers[_N]) * (x - numbers[_MEAN])
        deviation = x - numbers[_MEAN]
        numbers[_UP] = alpha * numbers[_UP] + deviation - delta
        numbers[_DOWN] = alpha * numbers[_DOWN] + deviation + delta
        # What is different begins with the row after the lowest (highest) sum.
        if numbers[_UP] < numbers[_LOWEST]:
            numbers[_LOWEST] = numbers[_UP]
            counts[_UP_ROWS] = 0
            numbers[_UP_TOTAL] = 0.0
        else:
            if counts[_UP_ROWS] == 0:
                counts[_UP_MS] = times[i]
            counts[_UP_ROWS] += 1
            numbers[_UP_TOTAL] += x
        if numbers[_DOWN] > numbers[_HIGHEST]:
            numbers[_HIGHEST] = numbers[_DOWN]
            counts[_DOWN_ROWS] = 0
            numbers[_DOWN_TOTAL] = 0.0
        else:
            if counts[_DOWN_ROWS] == 0:
                counts[_DOWN_MS] = times[i]
            counts[_DOWN_ROWS] += 1
            numbers[_DOWN_TOTAL] += x
        if numbers[_N] >= min_instances:
            up, down = numbers[_UP] - numbers[_LOWEST], numbers[_HIGHEST] - numbers[_DOWN]
            if up > threshold or down > threshold:
                counts[_DRIFT] = 1
                return i
    return len(values)
