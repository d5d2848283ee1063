"""A reference is what its sample says, in bins that hold every value."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.features import drift_reference
from models.features.drift_reference import DriftReferenceError, Reference, smoothed_shares, stability_terms
from schemas.columns import F32
from tests.unit.online_learning.drift.feature_streams import DAY_MS, NAMES, a_reference, rows_of_days

# Few distinct values, so that ties and whole columns without a value occur.
samples = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 60), st.integers(1, 3)),
    elements=st.sampled_from([np.nan, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 7.0, 100.0, np.inf]),
)


def counts_by_definition(X: F32, reference: Reference) -> list[list[int]]:
    """Count rows bin by bin: (previous edge, edge], what lies beyond the last edge, and what is missing."""
    table = []
    for j in range(X.shape[1]):
        column, row = X[:, j].astype(np.float64), [0] * reference.shares.shape[1]
        bounds = [-np.inf, *reference.edges[j, : int(reference.bins[j]) - 1].tolist(), np.inf]
        for at, (low, high) in enumerate(pairwise(bounds)):
            inside = (column > low) & (column <= high)
            if low == -np.inf:
                inside |= column == -np.inf
            row[at] = int(inside.sum())
        row[-1] = int(np.isnan(column).sum())
        table.append(row)
    return table


@settings(max_examples=80, deadline=None)
@given(samples)
def test_shares_are_those_of_the_bins_by_definition(X: F32) -> None:
    names = tuple(f"f{j}" for j in range(X.shape[1]))
    reference = Reference.of(names, X, np.zeros(len(X), np.int64))
    counts = np.array(counts_by_definition(X, reference))
    assert (counts.sum(axis=1) == len(X)).all()
    np.testing.assert_allclose(reference.shares, smoothed_shares(counts, reference.bins), rtol=1e-12)
    np.testing.assert_allclose(reference.shares.sum(axis=1), 1.0)
    for j in range(X.shape[1]):
        finite = X[np.isfinite(X[:, j]), j].astype(np.float64)
        assert reference.values[j] == len(finite)
        if len(finite):
            assert reference.mean[j] == pytest.approx(finite.mean())
            assert reference.deviation[j] == pytest.approx(finite.std(), abs=1e-9)


def test_bins_of_a_continuous_feature_hold_equal_shares() -> None:
    reference = a_reference()
    assert reference.bins[0] == 10
    np.testing.assert_allclose(reference.shares[0, :10], 0.1, atol=0.001)
    assert reference.shares[2, -1] == pytest.approx(0.9, abs=0.02)


def test_values_never_seen_have_bins_of_their_own() -> None:
    reference = a_reference()
    constant = NAMES.index("constant")
    assert reference.bins[constant] == 3  # below, the constant, above
    assert reference.shares[constant].argmax() == 1


def test_weights_count_as_rows_do() -> None:
    X, times = rows_of_days(2, 800)
    twice = np.repeat([1, 2], len(X) // 2)
    weighted = Reference.of(NAMES, X, times, weight=twice.astype(np.float32))
    repeated = Reference.of(NAMES, np.repeat(X, twice, axis=0), np.repeat(times, twice))
    np.testing.assert_allclose(weighted.edges, repeated.edges)
    np.testing.assert_allclose(weighted.mean, repeated.mean)
    np.testing.assert_allclose(weighted.deviation, repeated.deviation)
    np.testing.assert_allclose(weighted.shares, repeated.shares, atol=0.001)


def test_the_order_of_days_in_the_sample_does_not_matter() -> None:
    X, times = rows_of_days(3, 700)
    order = np.argsort(-(times // DAY_MS), kind="stable")
    moved = Reference.of(NAMES, X[order], times[order])
    reference = Reference.of(NAMES, X, times)
    np.testing.assert_allclose(moved.usual_stability, reference.usual_stability)
    np.testing.assert_allclose(moved.window_deviation, reference.window_deviation, atol=1e-9)


def test_a_feature_that_changes_from_day_to_day_says_so() -> None:
    X, times = rows_of_days(6, 1_000)
    X[:, 0] = times // DAY_MS % 2
    reference = Reference.of(NAMES, X, times)
    assert reference.window_deviation[0] == pytest.approx(0.5, abs=0.01)
    assert reference.usual_stability[0] > 1.0
    assert reference.window_deviation[1] < 0.01
    assert reference.usual_stability[1] < 0.05


def test_a_reference_survives_its_journey_as_bytes() -> None:
    reference = a_reference()
    blob = reference.to_bytes()
    assert Reference.from_bytes(blob).to_bytes() == blob
    with pytest.raises(DriftReferenceError):
        Reference.from_bytes(blob[: len(blob) // 2])
    at = blob.index(reference.mean.tobytes())
    with pytest.raises(DriftReferenceError):
        Reference.from_bytes(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])


def test_a_reference_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_reference, "VERSION", 2)
    blob = a_reference().to_bytes()
    monkeypatch.undo()
    with pytest.raises(DriftReferenceError, match="another version"):
        Reference.from_bytes(blob)


def test_a_sample_of_the_wrong_shape_is_refused() -> None:
    X, times = rows_of_days(1, 10)
    for wrong in ((X[:, :2], times), (X, times[:5]), (X[:0], times[:0])):
        with pytest.raises(DriftReferenceError):
            Reference.of(NAMES, *wrong)
    with pytest.raises(DriftReferenceError, match="above 0"):
        Reference.of(NAMES, X, times, weight=np.zeros(len(X), np.float32))


def test_the_stability_index_is_zero_for_equal_shares_and_as_defined_for_others() -> None:
    p, q = np.array([[0.5, 0.5, 0.0]]), np.array([[0.25, 0.75, 0.0]])
    assert stability_terms(p, p).sum() == 0.0
    assert stability_terms(p, q).sum() == pytest.approx(0.25 * np.log(2) + 0.25 * np.log(1.5))
