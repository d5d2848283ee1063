"""What the live view knows: counts, rates, latencies and the newest alerts. Pure: it is fed, and asked."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.cli.live.evidence import EvidenceSnapshot, EvidenceTally
from deploy.cli.live.latency import Latencies, Percentiles
from jobs.stream.alert_reader import AlertFilter
from jobs.stream.decision_heads import DecisionHeads
from schemas.decisions import OUTCOMES

RATE_WINDOW_SECONDS = 5.0  # long enough to smooth the Flink sink's batches, short enough to show a stall
KEPT_ALERTS = 50


class Rate:
    """Events a second over the last few seconds, from a growing total.

    Examples
    --------
    >>> rate = Rate(window_seconds=2.0)
    >>> for second, total in enumerate([0, 100, 300, 500]):
    ...     rate.update(float(second), total)
    >>> rate.value
    200.0
    """

    def __init__(self, window_seconds: float = RATE_WINDOW_SECONDS) -> None:
        self._window = window_seconds
        self._points: deque[tuple[float, int]] = deque()

    def update(self, now: float, total: int) -> None:
        """Note a total at a moment; moments rise."""
        self._points.append((now, total))
        while len(self._points) > 2 and self._points[1][0] <= now - self._window:
            self._points.popleft()

    @property
    def value(self) -> float:
        """Return the rate; 0 before there are two moments."""
        if len(self._points) < 2:
            return 0.0
        (first, before), (last, after) = self._points[0], self._points[-1]
        return (after - before) / (last - first) if last > first else 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is shown at one moment."""

    phase: str
    elapsed_seconds: float
    sent: int
    sent_rate: float
    answered: int
    answered_rate: float
    decisions: int
    outcomes: Mapping[str, int]
    dead_letters: Mapping[str, int]
    duplicates: int
    alerts: int
    repeated_alerts: int
    decision_latency: Percentiles
    alert_latency: Percentiles
    newest_alerts: Sequence[Mapping[str, Any]]
    evidence: EvidenceSnapshot | None = None  # None where nobody is asked

    @property
    def waiting(self) -> int:
        """Records sent and not answered yet."""
        return self.sent - self.answered


class LiveModel:
    """Collects what arrives on the output topics of one run.

    Parameters
    ----------
    evidence
        Counts evidence; None where nobody is asked about any.
    """

    def __init__(self, evidence: EvidenceTally | None = None) -> None:
        self.phase = ""
        self.evidence = evidence
        self._sent = 0
        self._before = 0  # of the warm-up
        self._outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._decisions = 0
        self._dead_letters: Counter[str] = Counter()
        self._duplicates = 0
        self._alerts = 0
        self._repeated = 0
        self._newest: deque[Mapping[str, Any]] = deque(maxlen=KEPT_ALERTS)
        self._filter = AlertFilter()
        self._decision_latency = Latencies()
        self._alert_latency = Latencies()
        self._sent_rate = Rate()
        self._answered_rate = Rate()
        self._started: float | None = None
        self._now = 0.0

    @property
    def answered(self) -> int:
        """Records that ended in a decision, a dead letter or a duplicate."""
        return self._decisions + self._dead_letters.total() + self._duplicates

    def start_measuring(self) -> None:
        """Forget latencies and time so far, of the warm-up; the counts stay, since the topics hold them too."""
        self._decision_latency = Latencies()
        self._alert_latency = Latencies()
        self._started = None
        self._before = self._sent

    def set_sent(self, total: int) -> None:
        """Note how many records were sent so far."""
        self._sent = total

    def add_decisions(self, heads: DecisionHeads, arrival_ms: int) -> None:
        """Count decisions that arrived at one moment."""
        self._decisions += len(heads)
        for what, count in zip(*np.unique(heads.outcome[heads.is_read], return_counts=True), strict=True):
            self._outcomes[OUTCOMES[int(what)]] += int(count)
        self._decision_latency.record(arrival_ms - heads.source_time_ms[heads.is_read])

    def add_alerts(self, alerts: Sequence[Mapping[str, Any]], arrival_ms: int) -> None:
        """Count alerts that arrived at one moment; what was delivered before is only counted as repeated.

        Revisions are shown and not counted: they come when evidence does, however soon the alert left.
        """
        new = [alert for alert in alerts if self._filter.is_new(alert["alert_id"], alert["revision"])]
        self._repeated += len(alerts) - len(new)
        first = [alert for alert in new if not alert["revision"]]
        self._alerts += len(first)
        for alert in new:
            self._show(alert)
            if self.evidence is not None and alert["revision"]:
                self.evidence.add_revision(alert)
        latencies: npt.NDArray[np.int64] = np.array([arrival_ms - alert["source_time_ms"] for alert in first], np.int64)
        self._alert_latency.record(latencies)

    def _show(self, alert: Mapping[str, Any]) -> None:
        """Put an alert on top; a revision takes the place of what it revises, where that is still shown."""
        for i, shown in enumerate(self._newest):
            if shown["alert_id"] == alert["alert_id"]:
                self._newest[i] = alert
                return
        self._newest.appendleft(alert)

    def add_dead_letters(self, errors: Sequence[str]) -> None:
        """Count dead letters by their codes."""
        self._dead_letters.update(errors)

    def add_duplicates(self, count: int) -> None:
        """Count recognised duplicates."""
        self._duplicates += count

    def tick(self, now: float) -> None:
        """Move the rates on to a moment (of any clock that only goes forward)."""
        if self._started is None and self._sent > self._before:
            self._started = now
        self._now = now
        self._sent_rate.update(now, self._sent)
        self._answered_rate.update(now, self.answered)

    def snapshot(self) -> Snapshot:
        """Return what there is to show."""
        return Snapshot(
            phase=self.phase,
            elapsed_seconds=0.0 if self._started is None else self._now - self._started,
            sent=self._sent,
            sent_rate=self._sent_rate.value,
            answered=self.answered,
            answered_rate=self._answered_rate.value,
            decisions=self._decisions,
            outcomes=dict(self._outcomes),
            dead_letters=dict(self._dead_letters.most_common()),
            duplicates=self._duplicates,
            alerts=self._alerts,
            repeated_alerts=self._repeated,
            decision_latency=self._decision_latency.percentiles(),
            alert_latency=self._alert_latency.percentiles(),
            newest_alerts=list(self._newest),
            evidence=None if self.evidence is None else self.evidence.snapshot(),
        )
