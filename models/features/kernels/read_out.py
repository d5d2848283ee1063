"""From what the reads of a touch left behind to the columns that its role asked for."""

from __future__ import annotations

import math

from numba import njit

from models.features.kernels.small_track import (
    COUNT,
    DISTINCT,
    FIRST,
    HIGH,
    LAST,
    LOW,
    MAX,
    PAIR_COUNT,
    PAIR_LAST,
    PAIR_SUM,
    SUM,
)
from models.features.kernels.squares import KERNEL, standard_deviation
from models.features.store_spec import Statistic

_COUNT = int(Statistic.COUNT)
_SUM = int(Statistic.SUM)
_MEAN = int(Statistic.MEAN)
_MAX = int(Statistic.MAX)
_STD = int(Statistic.STD)
_DISTINCT = int(Statistic.DISTINCT)
_SINCE_LAST = int(Statistic.SECONDS_SINCE_LAST)
_SINCE_FIRST = int(Statistic.SECONDS_SINCE_FIRST)
_PAIR_COUNT = int(Statistic.PAIR_COUNT)
_PAIR_SUM = int(Statistic.PAIR_SUM)

_MINOR = 100.0  # minor units of the reference currency to a major one


@njit(**KERNEL)
def read_out(read, plan, role, columns, time_ms, out, at):
    """Write the statistics that `plan` lists for the role to `out` from `at` on."""
    for c in range(columns):
        track = plan[role, c, 0]
        statistic = plan[role, c, 1]
        far = plan[role, c, 2]
        near = plan[role, c, 3]
        count = read[track, far + COUNT]
        value = math.nan
        if statistic == _COUNT:
            if near >= 0:
                count -= read[track, COUNT + near]
            value = float(count)
        elif statistic == _SUM:
            total = read[track, far + SUM]
            if near >= 0:
                total -= read[track, SUM + near]
            value = total / _MINOR
        elif statistic == _MEAN:
            if count > 0:
                value = read[track, far + SUM] / _MINOR / count
        elif statistic == _MAX:
            if count > 0:
                value = read[track, far + MAX] / _MINOR
        elif statistic == _STD:
            if count > 1:
                value = (
                    standard_deviation(count, read[track, far + SUM], read[track, far + HIGH], read[track, far + LOW])
                    / _MINOR
                )
        elif statistic == _DISTINCT:
            value = float(read[track, far + DISTINCT])
        elif statistic == _SINCE_LAST:
            if count > 0:
                value = (time_ms - read[track, LAST]) / 1000.0
        elif statistic == _SINCE_FIRST:
            if count > 0:
                value = (time_ms - read[track, far + FIRST]) / 1000.0
        elif statistic == _PAIR_COUNT:
            value = float(read[track, far + PAIR_COUNT])
        elif statistic == _PAIR_SUM:
            value = read[track, far + PAIR_SUM] / _MINOR
        elif read[track, far + PAIR_COUNT] > 0:
            value = (time_ms - read[track, PAIR_LAST]) / 1000.0
        out[at + c] = value
