"""What moved, by how much, since when: the record that drift detectors give."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

SUBJECTS = ("score", "error", "feature")
DETECTORS = ("adwin", "page_hinkley", "population_stability", "three_sigma")
SEVERITIES = ("none", "minor", "major")
"""`none` says that a drift told before is over."""

SCORE, ERROR = "score:", "error:"
"""Beginnings of the names of series: `score:batch` is the batch model's score; any other name is a feature's."""


@dataclass(frozen=True, slots=True)
class DriftEvent:
    """One detector's finding about one quantity; the fields are those of `drift.avsc`.

    Attributes
    ----------
    subject, name
        What moved: the score or the error of the scorer `name`, or the feature `name`.
    detector
        Which test says so.
    severity
        none, minor or major.
    detected_ms
        Event time at which it was found: of the row that raised the alarm, or the end of the window.
    since_ms
        Event time of the first row of what is different.
    reference_value, current_value
        Mean before and since; None where no row has a value.
    statistic, threshold
        What the test computed, and from where on it says drift.
    rows
        Rows behind `current_value`.
    window_ms
        Length of the window compared; 0 for tests that go row by row.
    explanation
        The finding in words.
    """

    subject: str
    name: str
    detector: str
    severity: str
    detected_ms: int
    since_ms: int
    reference_value: float | None
    current_value: float | None
    statistic: float
    threshold: float
    rows: int
    window_ms: int
    explanation: str

    @property
    def key(self) -> str:
        """Key of the record on its topic."""
        return f"{self.subject}/{self.name}"

    @property
    def is_rising(self) -> bool:
        """The mean went up."""
        if self.reference_value is None or self.current_value is None:
            return False
        return self.current_value > self.reference_value

    def as_record(self) -> dict[str, Any]:
        """Return the fields of `drift.avsc`."""
        return asdict(self)


def subject_of(series: str) -> tuple[str, str]:
    """Return subject and name of a series.

    Examples
    --------
    >>> subject_of("score:batch"), subject_of("amount")
    (('score', 'batch'), ('feature', 'amount'))
    """
    for prefix, subject in ((SCORE, "score"), (ERROR, "error")):
        if series.startswith(prefix):
            return subject, series.removeprefix(prefix)
    return "feature", series


def value_or_none(value: float) -> float | None:
    """Return None for what is not a number."""
    return float(value) if math.isfinite(value) else None
