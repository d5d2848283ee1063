"""The daily and weekly rhythm: how a segment's activity spreads over the hours of the week."""

from __future__ import annotations

import numpy as np

from models.training.simulator.config import HOUR_MS
from models.training.simulator.population import SEGMENTS, ZONES
from schemas.columns import F64

_HOURS = np.arange(24)


def _bump(centre: float, width: float) -> F64:
    """Return a bell over the day that wraps at midnight."""
    distance = np.abs(_HOURS + 0.5 - centre)
    distance = np.minimum(distance, 24 - distance)
    bell: F64 = np.exp(-0.5 * (distance / width) ** 2)
    return bell


def _week(day: F64, weekdays: tuple[float, ...]) -> F64:
    return np.concatenate([day * level for level in weekdays])


_DAY = {
    "worker": 0.02 + 0.35 * _bump(8, 1.2) + 0.8 * _bump(12.7, 1.5) + 1.0 * _bump(18.3, 2.0),
    "young": 0.05 + 0.5 * _bump(13.5, 2.2) + 0.8 * _bump(19, 2.5) + 0.5 * _bump(23.2, 2.0),
    "retired": 0.01 + 1.0 * _bump(10.5, 1.8) + 0.5 * _bump(15.5, 2.0),
    "business": 0.01 + 1.0 * _bump(10, 1.7) + 0.9 * _bump(15, 1.8),
}
_WEEKDAYS = {  # Monday to Sunday
    "worker": (0.85, 0.85, 0.9, 0.95, 1.25, 1.4, 0.8),
    "young": (0.75, 0.75, 0.85, 1.0, 1.35, 1.5, 0.8),
    "retired": (1.05, 1.1, 1.05, 1.05, 1.15, 1.0, 0.6),
    "business": (1.25, 1.25, 1.2, 1.2, 1.2, 0.6, 0.3),
}

RHYTHM = np.stack([_week(_DAY[name], _WEEKDAYS[name]) for name in SEGMENTS])
RHYTHM *= 7.0 / RHYTHM.sum(axis=1, keepdims=True)
"""(segments, 168) share of a mean day's events that falls in each local hour of the week, Monday 00:00 first."""

# 1970-01-01 was a Thursday: 72 hours after a Monday.
_EPOCH_HOUR_OF_WEEK = 72


def slice_rhythm(start_ms: int, hours: int) -> F64:
    """Return the mass of each hour of a slice, cumulated: (segments * time zones, hours).

    `start_ms` lies on a full hour, UTC.
    """
    first = start_ms // HOUR_MS + _EPOCH_HOUR_OF_WEEK
    local = (first + np.arange(hours)[None, :] + ZONES[:, None]) % 168  # (zones, hours)
    masses: F64 = np.cumsum(RHYTHM[:, local].reshape(-1, hours), axis=1)  # segment-major, as in Population.lane
    return masses
