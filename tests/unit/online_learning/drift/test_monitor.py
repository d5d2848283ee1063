"""Scores, errors and features together, and the record that goes to the topic."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from online_learning.drift.event import DETECTORS, SEVERITIES, SUBJECTS, DriftEvent
from online_learning.drift.monitor import DriftMonitor, squared_error
from schemas.records import decode_record, encode_record
from schemas.versions import current
from tests.unit.online_learning.drift.feature_streams import DAY_MS, a_reference, rows_of_days

SERIES = ("score:batch", "error:linear")


def test_the_event_agrees_with_the_schema_field_by_field() -> None:
    fields = current("drift").text["fields"]
    assert [field["name"] for field in fields] == [field.name for field in dataclasses.fields(DriftEvent)]
    enums = {field["name"]: tuple(field["type"]["symbols"]) for field in fields if isinstance(field["type"], dict)
             and "symbols" in field["type"]}  # fmt: skip
    assert enums == {"subject": SUBJECTS, "detector": DETECTORS, "severity": SEVERITIES}


def test_every_event_of_a_run_can_be_sent() -> None:
    monitor = DriftMonitor(SERIES, a_reference())
    X, times = rows_of_days(2, 1_000, first_day=10)
    X[:, 0] = np.nan
    X[:, 3] = 8.0
    events = monitor.update_features(X, times) + monitor.flush()
    events += monitor.update_series("error:linear", np.repeat([0.0, 1.0], 600), np.arange(1_200))
    assert {event.subject for event in events} == {"feature", "error"}
    for event in events:
        assert decode_record(encode_record("drift", event.as_record())) == event.as_record()


def test_a_rise_that_doubles_is_major_and_a_small_one_is_minor() -> None:
    doubled, grew = DriftMonitor(SERIES), DriftMonitor(SERIES)
    rng = np.random.default_rng(2)
    noise = rng.normal(0.0, 0.01, 4_000)
    times = np.arange(4_000)
    major = doubled.update_series("score:batch", np.repeat([0.1, 0.5], 2_000) + noise, times)
    minor = grew.update_series("score:batch", np.repeat([0.4, 0.5], 2_000) + noise, times)
    assert {event.severity for event in major} == {"major"}
    assert {event.severity for event in minor} == {"minor"}
    assert major[0].key == "score/batch"
    assert all(event.is_rising for event in major + minor)


def test_blocks_and_restarts_leave_no_trace() -> None:
    reference = a_reference()
    X, times = rows_of_days(3, 1_000, seed=4, first_day=10)
    X[1_500:, 0] *= 7
    score = np.clip(X[:, 0] / 2_000, 0, 1)
    whole, piecewise = DriftMonitor(SERIES, reference), DriftMonitor(SERIES, reference)
    expected = whole.update_series("score:batch", score, times) + whole.update_features(X, times)
    of_score, of_features = [], []
    for start in range(0, len(X), 700):
        piecewise = DriftMonitor.restore(piecewise.snapshot(), reference)
        part = slice(start, start + 700)
        of_score += piecewise.update_series("score:batch", score[part], times[part])
        of_features += piecewise.update_features(X[part], times[part])
    assert of_score + of_features == expected != []
    assert piecewise.snapshot() == whole.snapshot()


def test_a_snapshot_with_features_needs_its_reference() -> None:
    with pytest.raises(ValueError, match="reference"):
        DriftMonitor.restore(DriftMonitor(SERIES, a_reference()).snapshot())
    with pytest.raises(ValueError, match="reference"):
        DriftMonitor.restore(DriftMonitor(SERIES).snapshot(), a_reference())


def test_an_error_of_a_right_and_of_a_wrong_score() -> None:
    error = squared_error(np.array([True, True, False]), np.array([1.0, 0.0, 0.0], np.float32))
    assert error.tolist() == [0.0, 1.0, 0.0]


def test_without_a_reference_no_feature_is_watched() -> None:
    monitor = DriftMonitor(SERIES)
    assert monitor.update_features(np.zeros((3, 4), np.float32), np.arange(3) * DAY_MS) == []
    assert monitor.flush() == []
