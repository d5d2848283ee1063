"""ADWIN: a window of rows that shrinks when two of its parts have different means. Compiled, equal to River's.

References
----------
Bifet, Gavaldà: Learning from time-changing data with adaptive windowing, SDM 2007, https://doi.org/10.1137/1.9781611972771.42
River 0.23, `river.drift.ADWIN`, https://riverml.xyz/0.23.0/api/drift/ADWIN/
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from numba import njit

from online_learning.drift.detection import Detection, as_series
from online_learning.learners.packed import pack, unpack
from schemas.columns import F32, F64, I64

KIND = "drift-adwin"
VERSION = 1
_LEVELS = 48
"""A bucket of level k stands for 2^k rows: room for 10^15 rows."""


@dataclass(frozen=True, slots=True)
class AdwinSettings:
    """River's parameters and defaults.

    Parameters
    ----------
    delta
        Significance: bound of the share of checks that raise a false alarm.
    clock
        Rows between two checks.
    max_buckets
        Buckets of one size before two of them become one.
    min_window_length
        Rows that each of the two parts must have.
    grace_period
        Rows before the first check.
    """

    delta: float = 0.002
    clock: int = 32
    max_buckets: int = 5
    min_window_length: int = 5
    grace_period: int = 10


class Adwin:
    """Adaptive windowing of one series; values should lie in [0, 1]. Not-finite values are left out.

    An alarm tells the most significant cut; buckets are coarse, so `since_ms` may lie some rows before the change.
    After it the next row begins a new window, as in River. Memory: 7 kB, whatever was seen.

    Examples
    --------
    >>> detector = Adwin()
    >>> values = np.repeat([0.0, 1.0], 500)
    >>> [(d.row, d.since_ms) for d in detector.update_many(values, np.arange(1000))][0]
    (511, 500)
    """

    def __init__(self, settings: AdwinSettings | None = None) -> None:
        self.settings = settings or AdwinSettings()
        slots = self.settings.max_buckets + 1
        self._totals = np.zeros((_LEVELS, slots))
        self._variances = np.zeros((_LEVELS, slots))
        self._first_ms = np.zeros((_LEVELS, slots), np.int64)
        self._used = np.zeros(_LEVELS, np.int64)  # buckets of each level
        self._sums = np.zeros(3)  # total, variance (sum of squared deviations), width
        self._counts = np.array([0, 1, 0, 0])  # rows since the reset, levels, is_drift, rows seen

    @property
    def width(self) -> int:
        """Rows in the window."""
        return int(self._sums[2])

    @property
    def estimation(self) -> float:
        """Mean of the window; 0 where it is empty."""
        return float(self._sums[0] / self._sums[2]) if self._sums[2] else 0.0

    @property
    def drift_detected(self) -> bool:
        """The last row raised an alarm."""
        return bool(self._counts[2])

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
        limit = len(series) // s.clock + 2  # a check every `clock` rows, counted anew after each alarm
        rows, times_found, numbers = np.zeros(limit, np.int64), np.zeros((limit, 2), np.int64), np.zeros((limit, 5))
        found = _update_many(
            series, times, self._totals, self._variances, self._first_ms, self._used, self._sums, self._counts,
            s.delta, s.clock, s.max_buckets, s.min_window_length, s.grace_period, rows, times_found, numbers,
        )  # fmt: skip
        return [
            Detection(
                row=int(rows[i]),
                detected_ms=int(times_found[i, 0]),
                since_ms=int(times_found[i, 1]),
                reference_value=float(numbers[i, 0]),
                current_value=float(numbers[i, 1]),
                statistic=float(numbers[i, 2]),
                threshold=float(numbers[i, 3]),
                rows=int(numbers[i, 4]),
            )
            for i in range(found)
        ]

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
        detector = cls(AdwinSettings(**packed.fields))
        for name, array in detector._arrays().items():
            array[...] = packed.arrays[name]
        return detector

    def _arrays(self) -> dict[str, F64 | I64]:
        return {
            "totals": self._totals,
            "variances": self._variances,
            "first_ms": self._first_ms,
            "used": self._used,
            "sums": self._sums,
            "counts": self._counts,
        }


@njit(cache=True, nogil=True)
def _drop_first(level, count, totals, variances, first_ms, used):  # type: ignore[no-untyped-def]
    """Drop the oldest buckets of a level."""
    slots = totals.shape[1]
    for i in range(count, slots):
        totals[level, i - count] = totals[level, i]
        variances[level, i - count] = variances[level, i]
        first_ms[level, i - count] = first_ms[level, i]
    for i in range(slots - count, slots):
        totals[level, i] = 0.0
        variances[level, i] = 0.0
        first_ms[level, i] = 0
    used[level] -= count


@njit(cache=True, nogil=True)
def _insert(value, time, totals, variances, first_ms, used, sums, counts, max_buckets):  # type: ignore[no-untyped-def]
    totals[0, used[0]] = value
    variances[0, used[0]] = 0.0
    first_ms[0, used[0]] = time
    used[0] += 1
    sums[2] += 1.0
    width = sums[2]
    if width > 1.0:
        deviation = value - sums[0] / (width - 1.0)
        sums[1] += (width - 1.0) * deviation * deviation / width
    sums[0] += value
    level = 0
    size = 1.0
    while level < counts[1] and used[level] == max_buckets + 1:
        if level + 1 == counts[1]:
            counts[1] += 1
        distance = totals[level, 0] / size - totals[level, 1] / size
        between = size * size * distance * distance / (size + size)
        at = used[level + 1]
        totals[level + 1, at] = totals[level, 0] + totals[level, 1]
        variances[level + 1, at] = variances[level, 0] + variances[level, 1] + between
        first_ms[level + 1, at] = first_ms[level, 0]
        used[level + 1] += 1
        _drop_first(level, 2, totals, variances, first_ms, used)
        level += 1
        size *= 2.0


@njit(cache=True, nogil=True)
def _drop_oldest(totals, variances, first_ms, used, sums, counts):  # type: ignore[no-untyped-def]
    level = counts[1] - 1
    size = 2.0**level
    total = totals[level, 0]
    sums[2] -= size
    sums[0] -= total
    distance = total / size - sums[0] / sums[2]
    sums[1] -= variances[level, 0] + size * sums[2] * distance * distance / (size + sums[2])
    _drop_first(level, 1, totals, variances, first_ms, used)
    if used[level] == 0:
        counts[1] -= 1


@njit(cache=True, nogil=True)
def _cut(totals, first_ms, used, sums, counts, delta, shortest, is_best_asked, best):  # type: ignore[no-untyped-def]
    """Return whether a cut is significant; where asked, fill `best` with the most significant one and return its time.

    `best`: mean before, mean since, their distance, its bound, rows since.
    """
    width, total, deviations = sums[2], sums[0], sums[1]
    n0, n1, u0, u1 = 0.0, width, 0.0, total
    is_found, is_next, largest, since_ms = False, False, 0.0, np.int64(0)
    for level in range(counts[1] - 1, -1, -1):
        size = 2.0**level
        for k in range(used[level]):
            if is_next:  # the bucket behind the best cut
                since_ms = first_ms[level, k]
                is_next = False
            n0 += size
            n1 -= size
            u0 += totals[level, k]
            u1 -= totals[level, k]
            if (level == 0 and k == used[level] - 1) or n0 < shortest or n1 < shortest:
                continue
            distance = u0 / n0 - u1 / n1
            log_term = np.log(2 * np.log(width) / delta)
            inverse = 1.0 / (n0 - shortest + 1) + 1.0 / (n1 - shortest + 1)
            bound = np.sqrt(2 * inverse * (deviations / width) * log_term) + 2.0 / 3.0 * log_term * inverse
            if abs(distance) > bound:
                if not is_best_asked:
                    return True, since_ms
                is_found = True
                if abs(distance) / bound > largest:
                    largest = abs(distance) / bound
                    best[0], best[1], best[2], best[3], best[4] = u0 / n0, u1 / n1, abs(distance), bound, n1
                    is_next = True
    return is_found, since_ms


@njit(cache=True, nogil=True)
def _update_many(  # type: ignore[no-untyped-def]
    values, times, totals, variances, first_ms, used, sums, counts,
    delta, clock, max_buckets, shortest, grace_period, rows, times_found, numbers,
):  # fmt: skip
    found = 0
    for i in range(len(values)):
        if not np.isfinite(values[i]):
            continue
        if counts[2]:
            totals[:] = 0.0
            variances[:] = 0.0
            first_ms[:] = 0
            used[:] = 0
            sums[:] = 0.0
            counts[0], counts[1], counts[2] = 0, 1, 0
        counts[3] += 1
        _insert(values[i], times[i], totals, variances, first_ms, used, sums, counts, max_buckets)
        counts[0] += 1
        if counts[0] % clock != 0 or sums[2] <= grace_period:
            continue
        counts[2], since_ms = _cut(totals, first_ms, used, sums, counts, delta, shortest, True, numbers[found])
        if counts[2] == 0:
            continue
        is_cut = True
        while is_cut:
            _drop_oldest(totals, variances, first_ms, used, sums, counts)
            is_cut, _ = _cut(totals, first_ms, used, sums, counts, delta, shortest, False, numbers[found])
        rows[found] = i
        times_found[found, 0], times_found[found, 1] = times[i], since_ms
        found += 1
    return found
