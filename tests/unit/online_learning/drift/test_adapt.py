"""The rules from drift to learners, one test each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_learning.drift.adapt import AdaptationRules, adapt, remembered, still_matters
from online_learning.drift.event import DETECTORS, SEVERITIES, SUBJECTS, DriftEvent

DAY_MS = 86_400_000
LEARNERS = ("linear", "forest")


def an_event(**overrides: Any) -> DriftEvent:
    fields: dict[str, Any] = {
        "subject": "error",
        "name": "linear",
        "detector": "adwin",
        "severity": "major",
        "detected_ms": 10 * DAY_MS,
        "since_ms": 9 * DAY_MS,
        "reference_value": 0.1,
        "current_value": 0.3,
        "statistic": 0.2,
        "threshold": 0.1,
        "rows": 100,
        "window_ms": 0,
        "explanation": "",
        **overrides,
    }
    return DriftEvent(**fields)


def test_without_drift_nothing_changes() -> None:
    adaptation = adapt([], 0, LEARNERS)
    assert dict(adaptation.rate_factor) == {"linear": 1.0, "forest": 1.0}
    assert adaptation.reweighted({"linear": 0.7, "batch": 0.3}) == {"linear": 0.7, "batch": 0.3}


@pytest.mark.parametrize(("severity", "rate", "weight"), [("minor", 2.0, 0.5), ("major", 4.0, 0.25)])
def test_a_learner_whose_error_rises_learns_faster_and_weighs_less(severity: str, rate: float, weight: float) -> None:
    adaptation = adapt([an_event(severity=severity)], 10 * DAY_MS, LEARNERS)
    assert dict(adaptation.rate_factor) == {"linear": rate, "forest": 1.0}
    assert dict(adaptation.weight_factor) == {"linear": weight}


def test_half_of_the_effect_is_gone_after_a_half_life() -> None:
    adaptation = adapt([an_event()], 11 * DAY_MS, LEARNERS)
    assert adaptation.rate_factor["linear"] == pytest.approx(2.5)
    assert adaptation.weight_factor["linear"] == pytest.approx(0.625)


def test_a_frozen_scorer_only_loses_weight() -> None:
    adaptation = adapt([an_event(name="batch")], 10 * DAY_MS, LEARNERS)
    assert set(adaptation.rate_factor.values()) == {1.0}
    weights = adaptation.reweighted({"batch": 0.5, "linear": 0.5})
    assert weights == pytest.approx({"batch": 0.2, "linear": 0.8})


def test_an_error_that_falls_changes_nothing() -> None:
    assert adapt([an_event(current_value=0.01)], 10 * DAY_MS, LEARNERS) == adapt([], 0, LEARNERS)


@pytest.mark.parametrize("subject", ["score", "feature"])
def test_a_major_shift_makes_all_learn_faster_and_moves_no_weight(subject: str) -> None:
    adaptation = adapt([an_event(subject=subject, name="amount")], 10 * DAY_MS, LEARNERS)
    assert dict(adaptation.rate_factor) == {"linear": 1.5, "forest": 1.5}
    assert dict(adaptation.weight_factor) == {}


def test_a_minor_shift_changes_nothing() -> None:
    assert adapt([an_event(subject="feature", severity="minor")], 10 * DAY_MS, LEARNERS) == adapt([], 0, LEARNERS)


def test_a_shift_that_is_over_no_longer_counts() -> None:
    shift = an_event(subject="feature", name="amount", detector="three_sigma")
    over = an_event(subject="feature", name="amount", detector="three_sigma", severity="none", detected_ms=11 * DAY_MS)
    assert adapt([shift, over], 11 * DAY_MS, LEARNERS) == adapt([], 0, LEARNERS)
    other = an_event(subject="feature", name="amount", detector="population_stability", detected_ms=11 * DAY_MS)
    assert adapt([shift, over, other], 11 * DAY_MS, LEARNERS).rate_factor["linear"] == 1.5


def test_many_features_at_once_are_no_more_than_one() -> None:
    events = [an_event(subject="feature", name=f"f{i}") for i in range(20)]
    assert adapt(events, 10 * DAY_MS, LEARNERS).rate_factor["linear"] == 1.5


def test_what_is_detected_later_does_not_count_yet() -> None:
    assert adapt([an_event()], 10 * DAY_MS - 1, LEARNERS) == adapt([], 0, LEARNERS)


events = st.builds(
    an_event,
    subject=st.sampled_from(SUBJECTS),
    name=st.sampled_from([*LEARNERS, "batch"]),
    detector=st.sampled_from(DETECTORS),
    severity=st.sampled_from(SEVERITIES),
    detected_ms=st.integers(0, 40 * DAY_MS),
    current_value=st.sampled_from([None, 0.0, 0.5]),
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(events), st.integers(0, 50 * DAY_MS))
def test_factors_stay_in_their_bounds_and_old_events_can_be_forgotten(found: list[DriftEvent], at_ms: int) -> None:
    adaptation = adapt(found, at_ms, LEARNERS)
    assert all(1.0 <= factor <= 4.0 for factor in adaptation.rate_factor.values())
    assert all(0.25 <= factor <= 1.0 for factor in adaptation.weight_factor.values())
    kept = adapt([event for event in found if still_matters(event, at_ms)], at_ms, LEARNERS)
    assert dict(kept.rate_factor) == pytest.approx(dict(adaptation.rate_factor), abs=0.003)
    weights = adaptation.reweighted({"linear": 0.2, "forest": 0.3, "batch": 0.5})
    assert sum(weights.values()) == pytest.approx(1.0)
    assert min(weights.values()) > 0.0


@pytest.mark.parametrize(
    "wrong",
    [{"minor_error_rate": 0.9}, {"major_error_weight": 0.0}, {"minor_error_weight": 1.1}, {"half_life_ms": 0}],
)
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        AdaptationRules(**wrong)


some_events = st.builds(
    an_event,
    subject=st.sampled_from(SUBJECTS),
    name=st.sampled_from(["linear", "batch"]),
    detector=st.sampled_from(DETECTORS),
    severity=st.sampled_from(SEVERITIES),
    current_value=st.sampled_from([0.0, 0.3]),
    detected_ms=st.integers(8 * DAY_MS, 10 * DAY_MS),
)


@given(st.lists(st.lists(some_events, max_size=6), max_size=6))
def test_what_is_remembered_adapts_like_all_that_was_told(told: list[list[DriftEvent]]) -> None:
    kept: list[DriftEvent] = []
    for found in told:
        kept = remembered(kept, found)
    everything = [event for found in told for event in found]
    assert adapt(kept, 10 * DAY_MS, LEARNERS) == adapt(everything, 10 * DAY_MS, LEARNERS)
    shifts = [event for event in kept if event.subject != "error"]
    assert len({(event.key, event.detector) for event in shifts}) == len(shifts)
