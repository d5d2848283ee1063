"""What features looked like when all was well: quantile bins, moments, and how much windows differ by themselves.

References
----------
Yurdakul, Naranjo: Statistical properties of the population stability index, Journal of Risk Model Validation, 2020,
https://doi.org/10.21314/JRMV.2020.227
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from typing import Self

import numpy as np

from models.features.binning import count_rows
from schemas.columns import F32, F64, I64, Bool

VERSION = 1
BINS = 10
WINDOW_MS = 86_400_000
"""A day: most features of payments know day and night, and would differ from hour to hour."""
MIN_WINDOW_ROWS = 500
"""Windows with fewer rows say too little: their stability index is large by chance."""


class DriftReferenceError(ValueError):
    """A reference cannot be made of these rows, or read from these bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The reference of F features; build it with `of`.

    A value x falls into the bin of the first edge e with x <= e, or behind the last; a missing value (NaN) into the
    last of the B columns of `shares`. Bins that a feature does not have hold a share of 0.

    Attributes
    ----------
    names
        Of the features. `score:NAME` and `error:NAME` are scores and errors, watched like features.
    window_ms
        Length of the windows that `window_deviation` and `usual_stability` were taken over, and for which the
        reference holds.
    rows
        Rows it was made of.
    from_ms, to_ms
        First and last event time among them.
    edges
        (F, B - 2) upper edges of the bins, rising, then infinity.
    bins
        (F,) bins of each feature, without the one of missing values.
    shares
        (F, B) share of the rows in each bin, add-half smoothed.
    mean, deviation
        (F,) over the values that are there.
    values
        (F,) how many are there.
    window_deviation
        (F,) standard deviation of the windows' means beyond what chance explains.
    usual_stability
        (F,) largest stability index of a window against the whole.
    """

    names: tuple[str, ...]
    window_ms: int
    rows: int
    from_ms: int
    to_ms: int
    edges: F64
    bins: I64
    shares: F64
    mean: F64
    deviation: F64
    values: F64
    window_deviation: F64
    usual_stability: F64

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        X: F32,
        event_time_ms: I64,
        weight: F32 | None = None,
        window_ms: int = WINDOW_MS,
        bins: int = BINS,
        min_window_rows: int = MIN_WINDOW_ROWS,
    ) -> Self:
        """Make the reference of a sample or a training set.

        Parameters
        ----------
        names
            The F features.
        X
            (n, F) values; NaN is missing.
        event_time_ms
            (n,) event times, in any order.
        weight
            (n,) transactions that each row stands for; 1 if None.
        window_ms
            Length of the windows in which the stream will be compared.
        bins
            Quantile bins of a feature; fewer where values repeat.
        min_window_rows
            Windows of the sample with fewer rows say nothing about how windows differ.

        Raises
        ------
        DriftReferenceError
            If shapes disagree or there is no row.
        """
        n = len(X)
        if X.ndim != 2 or X.shape[1] != len(names) or event_time_ms.shape != (n,) or n == 0:
            raise DriftReferenceError(
                f"expected (n, {len(names)}) values and (n,) times with n > 0, found {X.shape}, {event_time_ms.shape}"
            )
        w = np.ones(n) if weight is None else np.asarray(weight, np.float64)
        if w.shape != (n,) or not bool(np.all(np.isfinite(w) & (w > 0))):
            raise DriftReferenceError(f"expected (n,) weights above 0, found {w.shape}")
        X = np.ascontiguousarray(X, np.float32)
        found = [_edges(X[:, j], w, bins) for j in range(len(names))]
        edges = np.full((len(names), max(len(e) for e in found)), np.inf)
        for j, of_feature in enumerate(found):
            edges[j, : len(of_feature)] = of_feature
        bin_count = np.array([len(e) + 1 for e in found], np.int64)

        window = np.asarray(event_time_ms, np.int64) // window_ms
        order = np.argsort(window, kind="stable")
        starts = np.flatnonzero(np.diff(window[order], prepend=window[order][0] - 1))
        parts = [_Counts.of(X[rows], w[rows], edges, bin_count) for rows in np.split(order, starts[1:])]
        whole = _Counts.of(X, w, edges, bin_count)
        shares = smoothed_shares(whole.counts, bin_count)
        mean, deviation = whole.moments()
        large = [part for part in parts if part.rows >= min_window_rows]
        return cls(
            names=names,
            window_ms=window_ms,
            rows=n,
            from_ms=int(event_time_ms.min()),
            to_ms=int(event_time_ms.max()),
            edges=edges,
            bins=bin_count,
            shares=shares,
            mean=mean,
            deviation=deviation,
            values=whole.values,
            window_deviation=_window_deviation(large, mean, deviation),
            usual_stability=_usual_stability(large, shares, bin_count),
        )

    def to_bytes(self) -> bytes:
        """Return the reference as bytes (NumPy's .npz), some 300 a feature; equal references give equal bytes."""
        fields = {
            "version": VERSION,
            "names": list(self.names),
            "window_ms": self.window_ms,
            "rows": self.rows,
            "from_ms": self.from_ms,
            "to_ms": self.to_ms,
        }
        header = np.frombuffer(json.dumps(fields, sort_keys=True).encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, header=header, **{name: getattr(self, name) for name in _ARRAYS})
        return file.getvalue()

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of `to_bytes`, in hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, blob: bytes) -> Self:
        """Return the reference that `to_bytes` wrote.

        Raises
        ------
        DriftReferenceError
            If the bytes are damaged, or of another version.
        """
        try:
            with np.load(io.BytesIO(blob), allow_pickle=False) as file:
                fields = json.loads(file["header"].tobytes())
                arrays = {name: file[name] for name in _ARRAYS}
        except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise DriftReferenceError(f"{len(blob)} bytes are no whole drift reference: {error}") from error
        if fields.pop("version", None) != VERSION:
            raise DriftReferenceError(f"the drift reference is of another version, expected {VERSION}: make it anew")
        return cls(**{**fields, "names": tuple(fields["names"])}, **arrays)


_ARRAYS = ("edges", "bins", "shares", "mean", "deviation", "values", "window_deviation", "usual_stability")


def smoothed_shares(counts: F64 | I64, bins: I64) -> F64:
    """Return (F, B) shares of (F, B) counts, half a row added to each bin, so that none is 0.

    The last column counts missing values. Columns of bins that a feature does not have stay 0.
    """
    exists = np.arange(counts.shape[1]) < bins[:, None]
    exists[:, -1] = True
    smoothed = np.where(exists, counts + 0.5, 0.0)
    return np.asarray(smoothed / smoothed.sum(axis=1, keepdims=True), np.float64)


def stability_terms(shares: F64, reference: F64) -> F64:
    """Return (F, B) what each bin adds to the population stability index: (p - q) ln(p / q)."""
    exists = reference > 0
    ratio = np.where(exists, shares, 1.0) / np.where(exists, reference, 1.0)
    return np.asarray((shares - reference) * np.log(ratio), np.float64)


@dataclass(frozen=True, slots=True)
class _Counts:
    """Sums over some rows."""

    rows: int
    counts: F64  # (F, B)
    values: F64  # (F,) finite values
    weights: F64  # (F,) their weights
    sums: F64  # (F,)
    squares: F64  # (F,) of the deviations from the mean

    @classmethod
    def of(cls, X: F32, weight: F64, edges: F64, bins: I64) -> _Counts:
        features = X.shape[1]
        counts = np.zeros((features, edges.shape[1] + 2))
        weights, sums = np.zeros(features), np.zeros(features)
        count_rows(X, weight, edges, bins, counts, weights, sums)
        is_value: Bool = np.isfinite(X)
        mean = sums / np.maximum(weights, 1e-300)
        squares = np.array([
            np.sum(weight[is_value[:, j]] * (X[is_value[:, j], j].astype(np.float64) - mean[j]) ** 2)
            for j in range(features)
        ])  # fmt: skip
        # Shares count what rows stand for; how sure they are is the number of rows.
        counts *= len(X) / weight.sum()
        return cls(len(X), counts, is_value.sum(axis=0).astype(np.float64), weights, sums, squares)

    def moments(self) -> tuple[F64, F64]:
        """Return mean and standard deviation; NaN without a value."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sums / self.weights, np.sqrt(self.squares / self.weights)


def _edges(column: F32, weight: F64, bins: int) -> F64:
    """Return the distinct quantiles at 1/bins, 2/bins, ...; and where the least value is one, an edge below it."""
    is_value = ~np.isnan(column)
    if not is_value.any():
        return np.zeros(0)
    values, of_values = column[is_value], weight[is_value]
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(of_values[order])
    at = np.searchsorted(cumulated, np.arange(1, bins) / bins * cumulated[-1])
    edges = np.unique(values[order][np.minimum(at, len(values) - 1)])
    edges = edges[np.isfinite(edges)]
    if len(edges) and edges[0] == values[order[0]]:
        below = np.nextafter(edges[0], np.float32(-np.inf), dtype=np.float32)
        edges = np.concatenate([[below], edges])
    return np.asarray(edges, np.float64)


def _window_deviation(parts: list[_Counts], mean: F64, deviation: F64) -> F64:
    if len(parts) < 2:
        return np.zeros(len(mean))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.stack([part.sums / part.weights for part in parts])
        by_chance = np.stack([deviation**2 / part.values for part in parts])
    known = np.isfinite(means)
    count = np.maximum(known.sum(axis=0), 1)
    spread = np.where(known, (means - mean) ** 2, 0.0).sum(axis=0) / count
    expected = np.where(known, by_chance, 0.0).sum(axis=0) / count
    return np.asarray(np.sqrt(np.maximum(spread - expected, 0.0)), np.float64)


def _usual_stability(parts: list[_Counts], shares: F64, bins: I64) -> F64:
    if len(parts) < 2:
        return np.zeros(len(bins))
    of_parts = [stability_terms(smoothed_shares(part.counts, bins), shares).sum(axis=1) for part in parts]
    return np.asarray(np.max(of_parts, axis=0), np.float64)
