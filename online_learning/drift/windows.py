"""Windows of event time against a reference: population stability index and a 3-sigma test of each feature's mean.

A window is judged when the newest event time is `lateness_ms` beyond its end. A row whose event time lies further than
that beyond its record's own time is left out: so no window closes before its end has come. Which rows a window holds,
and the order of its sums, do not depend on how the stream was cut into blocks. A feature without any value in the
reference is not judged: nothing is known of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.stats import chi2

from models.features.binning import bins_of_row
from models.features.drift_reference import Reference, smoothed_shares, stability_terms
from online_learning.drift.event import SEVERITIES, DriftEvent, subject_of, value_or_none
from online_learning.learners.packed import pack, unpack
from schemas.columns import F32, F64, I64, U8

KIND = "drift-windows"
VERSION = 2

_STABILITY, _SIGMA = 0, 1
_DETECTORS = ("population_stability", "three_sigma")
_LARGEST_STATISTIC = 999.0
"""In the place of a division by zero: a constant feature that moved."""
_NEVER = -(2**62)


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """What counts as drift of a window.

    Parameters
    ----------
    lateness_ms
        How long after its end, in event time, a window still takes rows.
    min_rows
        Rows that a window needs to be judged.
    minor_stability, major_stability
        Population stability index from which drift is minor and major: the usual 0.1 and 0.25. Besides, it must exceed
        what chance explains (99.9%) and 1.5 times the largest of the reference's own windows.
    sigmas
        How many standard deviations of a window's mean, chance and usual change from window to window together, are
        minor drift; twice as many may be major.
    minor_shift, major_shift
        Least shift of the mean for either, in standard deviations of single values: with many rows, nothing is too
        small to be significant.
    """

    lateness_ms: int = 3_600_000
    min_rows: int = 500
    minor_stability: float = 0.1
    major_stability: float = 0.25
    sigmas: float = 3.0
    minor_shift: float = 0.1
    major_shift: float = 0.5


@dataclass(frozen=True, slots=True)
class _Found:
    """What a test says of F features: 0 none, 1 minor, 2 major."""

    level: U8
    statistic: F64
    threshold: F64


class FeatureWindows:
    """Watches F features, window by window.

    Tells each change of severity once: when drift begins, grows or shrinks, and when it is over. Memory: about 150
    bytes a feature and open window.

    Parameters
    ----------
    reference
        What to compare with.
    settings
        What counts as drift.
    """

    def __init__(self, reference: Reference, settings: WindowSettings | None = None) -> None:
        self.reference = reference
        self.settings = settings or WindowSettings()
        features, slots = len(reference.names), self.settings.lateness_ms // reference.window_ms + 2
        # By bin, then feature: the compiler compares many features at once. Edges are float32 values to begin with.
        self._edges = np.ascontiguousarray(reference.edges.T, np.float32)
        self._counts = np.zeros((slots, features, reference.shares.shape[1]), np.int64)
        self._values = np.zeros((slots, features))
        self._sums = np.zeros((slots, features))
        self._rows = np.zeros(slots, np.int64)
        self._windows = np.full(slots, _NEVER)  # number of the window in each slot
        self._marks = np.array([_NEVER, 0, 0])  # newest event time, rows that came too late, rows from the future
        self._severity = np.zeros((2, features), np.uint8)
        self._since_ms = np.zeros((2, features), np.int64)
        cells = reference.bins  # bins with the one of missing values, less one: the degrees of freedom
        self._chance = chi2.ppf(0.999, cells)

    @property
    def late_rows(self) -> int:
        """Rows whose window was closed already; they were not counted."""
        return int(self._marks[1])

    @property
    def drifted(self) -> int:
        """Features that drift, minor or major, by one of the tests, as of the window judged last."""
        return int(self._severity.any(axis=0).sum())

    @property
    def future_rows(self) -> int:
        """Rows whose event time lay too far beyond their record's time; they were not counted."""
        return int(self._marks[2])

    def update_many(self, X: F32, event_time_ms: I64, record_time_ms: I64 | None = None) -> list[DriftEvent]:
        """Take in rows and return what the windows show that they close.

        Parameters
        ----------
        X
            (n, F) values in the reference's order; NaN is missing.
        event_time_ms
            (n,) event times; rows may come out of order.
        record_time_ms
            (n,) when each row's record was written; None trusts the event times.
        """
        if X.ndim != 2 or X.shape[1] != len(self.reference.names) or event_time_ms.shape != (len(X),):
            raise ValueError(
                f"expected (n, {len(self.reference.names)}) values and (n,) times, found {X.shape}, "
                f"{event_time_ms.shape}"
            )
        X = np.ascontiguousarray(X, np.float32)
        times = np.ascontiguousarray(event_time_ms, np.int64)
        if record_time_ms is not None:
            is_future = times > record_time_ms + self.settings.lateness_ms
            if is_future.any():
                self._marks[2] += int(is_future.sum())
                X, times = X[~is_future], times[~is_future]
        events: list[DriftEvent] = []
        done = 0
        while done < len(X):
            done = _count(
                X, times, done, self._edges, self._counts, self._values, self._sums,
                self._rows, self._windows, self._marks, self.reference.window_ms, self.settings.lateness_ms,
            )  # fmt: skip
            if done < len(X):
                events += self._close(int(times[done]))
                self._marks[0] = times[done]
        return events

    def flush(self) -> list[DriftEvent]:
        """Judge the windows that are still open: at the end of a stream."""
        return self._close(None)

    def _close(self, time_ms: int | None) -> list[DriftEvent]:
        events: list[DriftEvent] = []
        for slot in np.argsort(self._windows).tolist():
            number = int(self._windows[slot])
            end_ms = (number + 1) * self.reference.window_ms
            if number == _NEVER or (time_ms is not None and end_ms + self.settings.lateness_ms > time_ms):
                continue
            if self._rows[slot] >= self.settings.min_rows:
                events += self._judge(slot, end_ms)
            for array in (self._counts, self._values, self._sums, self._rows):
                array[slot] = 0
            self._windows[slot] = _NEVER
        return events

    def _judge(self, slot: int, end_ms: int) -> Iterator[DriftEvent]:
        reference, rows = self.reference, int(self._rows[slot])
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self._sums[slot] / self._values[slot]
        shares = smoothed_shares(self._counts[slot], reference.bins)
        terms = stability_terms(shares, reference.shares)
        for test, found in (
            (_STABILITY, self._by_stability(terms.sum(axis=1), rows)),
            (_SIGMA, self._by_sigmas(mean, self._values[slot])),
        ):
            level = np.where(reference.values > 0, found.level, 0).astype(np.uint8)
            for j in np.flatnonzero(level != self._severity[test]).tolist():
                if self._severity[test, j] == 0 or level[j] == 0:
                    self._since_ms[test, j] = end_ms - reference.window_ms
                subject, name = subject_of(reference.names[j])
                yield DriftEvent(
                    subject=subject,
                    name=name,
                    detector=_DETECTORS[test],
                    severity=SEVERITIES[int(level[j])],
                    detected_ms=end_ms,
                    since_ms=int(self._since_ms[test, j]),
                    reference_value=value_or_none(reference.mean[j]),
                    current_value=value_or_none(mean[j]),
                    statistic=float(found.statistic[j]),
                    threshold=float(found.threshold[j]),
                    rows=rows,
                    window_ms=reference.window_ms,
                    explanation=self._words(test, slot, j, mean, shares, terms),
                )
            self._severity[test] = level

    def _by_stability(self, stability: F64, rows: int) -> _Found:
        s, reference = self.settings, self.reference
        chance = self._chance * (1.0 / rows + 1.0 / reference.rows)
        floor = np.maximum(chance, 1.5 * reference.usual_stability)
        threshold = np.maximum(s.minor_stability, floor)
        # The usual bounds of minor and major drift stand 1 to 2.5; a higher floor keeps that ratio.
        is_major = stability > np.maximum(s.major_stability, 2.5 * floor)
        return _Found((stability > threshold).astype(np.uint8) + is_major, stability, threshold)

    def _by_sigmas(self, mean: F64, values: F64) -> _Found:
        s, reference = self.settings, self.reference
        with np.errstate(invalid="ignore", divide="ignore"):
            shift = mean - reference.mean
            by_chance = reference.deviation**2 * (1.0 / values + 1.0 / reference.values)
            sigmas = np.abs(shift) / np.sqrt(by_chance + reference.window_deviation**2)
        sigmas = np.where((shift != 0) & np.isfinite(shift), np.minimum(sigmas, _LARGEST_STATISTIC), 0.0)
        is_minor = (sigmas > s.sigmas) & (np.abs(shift) >= s.minor_shift * reference.deviation)
        is_major = is_minor & (sigmas > 2 * s.sigmas) & (np.abs(shift) >= s.major_shift * reference.deviation)
        level = is_minor.astype(np.uint8) + is_major
        # Without a value in the window, the mean says nothing; that the values are gone, the bins say.
        level = np.where(np.isfinite(mean), level, self._severity[_SIGMA]).astype(np.uint8)
        return _Found(level, sigmas, np.full(len(mean), s.sigmas))

    def _words(self, test: int, slot: int, j: int, mean: F64, shares: F64, terms: F64) -> str:
        reference = self.reference
        if test == _SIGMA:
            return (
                f"mean {mean[j]:.4g} of {int(self._values[slot, j]):,} values; reference {reference.mean[j]:.4g}, "
                f"standard deviation {reference.deviation[j]:.4g}"
            )
        worst = int(np.argmax(terms[j]))
        now, before = shares[j, worst], reference.shares[j, worst]
        return f"{_bin_name(reference, j, worst)}: {now:.2%} of the rows; reference {before:.2%}"

    def snapshot(self) -> bytes:
        """Return the whole state but the reference; equal states give equal bytes."""
        return pack(KIND, VERSION, asdict(self.settings), self._arrays())

    @classmethod
    def restore(cls, reference: Reference, snapshot: bytes) -> Self:
        """Return the monitor that the snapshot was taken of.

        Raises
        ------
        SnapshotError
            If the snapshot is damaged, or of another kind or version.
        ValueError
            If it was taken with a reference of other features or bins.
        """
        packed = unpack(snapshot, KIND, VERSION)
        windows = cls(reference, WindowSettings(**packed.fields))
        for name, array in windows._arrays().items():
            found = packed.arrays[name].shape
            if found != array.shape:
                raise ValueError(f"{name}: {found} in the snapshot, {array.shape} by the reference: begin anew")
            array[...] = packed.arrays[name]
        return windows

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays held."""
        return sum(array.nbytes for array in self._arrays().values())

    def _arrays(self) -> dict[str, npt.NDArray[Any] | F64 | I64 | U8]:
        return {
            "counts": self._counts,
            "values": self._values,
            "sums": self._sums,
            "rows": self._rows,
            "windows": self._windows,
            "marks": self._marks,
            "severity": self._severity,
            "since_ms": self._since_ms,
        }


def _bin_name(reference: Reference, j: int, at: int) -> str:
    last = int(reference.bins[j]) - 1
    if at == reference.shares.shape[1] - 1:
        return "missing"
    edges = reference.edges[j]
    if at == last:
        return f"above {edges[at - 1]:.4g}" if at else "any value"
    return f"up to {edges[0]:.4g}" if at == 0 else f"above {edges[at - 1]:.4g} to {edges[at]:.4g}"


@njit(cache=True, nogil=True)
def _count(  # type: ignore[no-untyped-def]
    X, times, start, edges, counts, values, sums, rows, windows, marks, window_ms, lateness_ms
):
    """Count rows until one moves the time so that a window is due; return it, or how many rows there are."""
    slots = len(rows)
    features = X.shape[1]
    bins = np.empty(features, np.int32)
    for i in range(start, len(X)):
        time = times[i]
        if time > marks[0]:
            for slot in range(slots):
                if rows[slot] > 0 and (windows[slot] + 1) * window_ms + lateness_ms <= time:
                    return i
            marks[0] = time
        number = time // window_ms
        if (number + 1) * window_ms + lateness_ms <= marks[0]:
            marks[1] += 1
            continue
        slot = number % slots
        windows[slot] = number
        rows[slot] += 1
        row = X[i]
        bins_of_row(row, edges, counts.shape[2] - 1, bins)
        count, value, total = counts[slot], values[slot], sums[slot]
        for j in range(features):
            count[j, bins[j]] += 1
        for j in range(features):
            is_value = np.isfinite(row[j])
            value[j] += 1.0 if is_value else 0.0
            total[j] += np.float64(row[j]) if is_value else 0.0
    return len(X)
