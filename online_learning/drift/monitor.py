"""Scores, errors and features of one stream, watched together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from models.features.drift_reference import Reference
from online_learning.drift.adwin import Adwin, AdwinSettings
from online_learning.drift.detection import Detection
from online_learning.drift.event import DriftEvent, subject_of, value_or_none
from online_learning.drift.page_hinkley import PageHinkley, PageHinkleySettings
from online_learning.drift.windows import FeatureWindows, WindowSettings
from online_learning.learners.packed import pack, unpack
from schemas.columns import F32, F64, I64, Bool

KIND = "drift-monitor"
VERSION = 1
MAJOR_RATIO = 2.0
"""A score or an error that doubled or halved is major drift."""


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """Settings of all detectors; see their classes."""

    adwin: AdwinSettings = field(default_factory=AdwinSettings)
    page_hinkley: PageHinkleySettings = field(default_factory=PageHinkleySettings)
    windows: WindowSettings = field(default_factory=WindowSettings)


FRAUDS_ALONE = DriftSettings(page_hinkley=PageHinkleySettings(delta=0.02, threshold=5.0))
"""For errors on frauds alone: a new pattern moves them at once, among all labels it is a drop. Some hundreds of labels
a day and errors of up to 1 ask for a lower threshold than River's."""


def squared_error(is_fraud: Bool, score: F32 | F64) -> F64:
    """Return (n,) the Brier score's terms, in [0, 1]: what to watch as a scorer's error when labels arrive.

    Examples
    --------
    >>> squared_error(np.array([True, False]), np.array([0.5, 0.1])).round(2).tolist()
    [0.25, 0.01]
    """
    return np.asarray((np.asarray(score, np.float64) - is_fraud) ** 2, np.float64)


class DriftMonitor:
    """Watches named series (ADWIN and Page-Hinkley, row by row) and features (window by window).

    Every row is taken in, none is sampled. Event times of scores and features are those of the transactions; of errors,
    those at which the labels became known.

    Parameters
    ----------
    series
        Names: `score:NAME` or `error:NAME`.
    reference
        Of the features; None watches none.
    settings
        Of the detectors.

    Examples
    --------
    >>> monitor = DriftMonitor(("score:batch",))
    >>> events = monitor.update_series("score:batch", np.repeat([0.01, 0.9], 500), np.arange(1000))
    >>> events[0].key, events[0].detector, events[0].severity, events[0].since_ms
    ('score/batch', 'adwin', 'major', 500)
    """

    def __init__(
        self, series: Sequence[str], reference: Reference | None = None, settings: DriftSettings | None = None
    ) -> None:
        self.settings = settings or DriftSettings()
        self._adwin = {name: Adwin(self.settings.adwin) for name in series}
        self._page_hinkley = {name: PageHinkley(self.settings.page_hinkley) for name in series}
        self.windows = None if reference is None else FeatureWindows(reference, self.settings.windows)

    def update_series(self, name: str, values: F32 | F64, time_ms: I64) -> list[DriftEvent]:
        """Take in rows of one series; return events in the order of the rows that raised them.

        Parameters
        ----------
        name
            One of `series`.
        values
            (n,) in [0, 1]; what is not finite is left out.
        time_ms
            (n,) event times.
        """
        found = [("adwin", d) for d in self._adwin[name].update_many(values, time_ms)]
        found += [("page_hinkley", d) for d in self._page_hinkley[name].update_many(values, time_ms)]
        found.sort(key=lambda alarm: alarm[1].row)  # stable: of one row, ADWIN first
        return [series_event(name, detector, detection) for detector, detection in found]

    def update_features(self, X: F32, event_time_ms: I64) -> list[DriftEvent]:
        """Take in (n, F) features; return what the windows show that they close."""
        return [] if self.windows is None else self.windows.update_many(X, event_time_ms)

    def flush(self) -> list[DriftEvent]:
        """Judge the windows that are still open: at the end of a stream."""
        return [] if self.windows is None else self.windows.flush()

    def snapshot(self) -> bytes:
        """Return the whole state but the reference; equal states give equal bytes."""
        parts: dict[str, bytes] = {}
        for name in self._adwin:
            parts[f"adwin/{name}"] = self._adwin[name].snapshot()
            parts[f"page_hinkley/{name}"] = self._page_hinkley[name].snapshot()
        if self.windows is not None:
            parts["windows"] = self.windows.snapshot()
        arrays = {name: np.frombuffer(part, np.uint8) for name, part in parts.items()}
        return pack(KIND, VERSION, {"series": list(self._adwin)}, arrays)

    @classmethod
    def restore(cls, snapshot: bytes, reference: Reference | None = None) -> Self:
        """Return the monitor that the snapshot was taken of; it keeps the settings it was made with.

        Raises
        ------
        SnapshotError
            If the snapshot is damaged, or of another kind or version.
        ValueError
            If it was taken with another reference.
        """
        packed = unpack(snapshot, KIND, VERSION)
        parts = {name: array.tobytes() for name, array in packed.arrays.items()}
        if ("windows" in parts) != (reference is not None):
            raise ValueError("the snapshot was taken with a reference and none is given, or the other way round")
        monitor = cls(packed.fields["series"])
        for name in packed.fields["series"]:
            monitor._adwin[name] = Adwin.restore(parts[f"adwin/{name}"])
            monitor._page_hinkley[name] = PageHinkley.restore(parts[f"page_hinkley/{name}"])
        if reference is not None:
            monitor.windows = FeatureWindows.restore(reference, parts["windows"])
        return monitor


def series_event(series: str, detector: str, detection: Detection) -> DriftEvent:
    """Return the event of an alarm. Major is a mean that doubled or halved."""
    subject, name = subject_of(series)
    before, now = detection.reference_value, detection.current_value
    low, high = sorted((abs(before), abs(now)))
    return DriftEvent(
        subject=subject,
        name=name,
        detector=detector,
        severity="major" if high >= MAJOR_RATIO * low else "minor",
        detected_ms=detection.detected_ms,
        since_ms=detection.since_ms,
        reference_value=value_or_none(before),
        current_value=value_or_none(now),
        statistic=detection.statistic,
        threshold=detection.threshold,
        rows=detection.rows,
        window_ms=0,
        explanation=f"mean {now:.4g} of {detection.rows:,} rows; before {before:.4g}",
    )
