"""What the live view knows of evidence: what was asked, how it ended, and which alerts it revised. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.stream.alert_reader import AlertFilter
from models.scoring.evidence_policy import MEMO

ENDINGS = ("answered", "timed_out", "refused", "failed")
KEPT_REVISIONS = 50


@dataclass(frozen=True, slots=True)
class ServiceCounts:
    """Pieces of evidence that one service was asked about."""

    asked: int = 0
    answered: int = 0
    timed_out: int = 0
    refused: int = 0
    failed: int = 0

    @property
    def ended(self) -> int:
        """Those that are over, with an answer or without."""
        return self.answered + self.timed_out + self.refused + self.failed

    @property
    def waiting(self) -> int:
        """Those that are not over."""
        return self.asked - self.ended


@dataclass(frozen=True, slots=True)
class EvidenceSnapshot:
    """What is shown of evidence at one moment.

    Attributes
    ----------
    services
        Counts by service, those that were asked.
    revisions
        Revisions of alerts, revision 0 not counted.
    revised_alerts
        Alerts that have at least one.
    changed_outcomes
        Revisions that changed what is to be done.
    newest
        Revisions for the view: about documents before those about memos, newest first.
    notes
        What is missing, in words.
    """

    services: Mapping[str, ServiceCounts]
    revisions: int
    revised_alerts: int
    changed_outcomes: int
    newest: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()

    @property
    def total(self) -> ServiceCounts:
        """Of all services."""
        counts = self.services.values()
        return ServiceCounts(
            sum(count.asked for count in counts), *(sum(getattr(count, name) for count in counts) for name in ENDINGS)
        )


class EvidenceTally:
    """Counts requests, endings and revisions as they arrive; what is delivered twice counts once.

    Parameters
    ----------
    notes
        What is missing, in words; may grow.
    """

    def __init__(self, notes: Sequence[str] = ()) -> None:
        self.notes = notes
        self._asked: Counter[str] = Counter()
        self._ended: Counter[tuple[str, str]] = Counter()
        self._requests = AlertFilter()
        self._endings = AlertFilter()
        self._revised = AlertFilter()
        self._revisions = self._revised_alerts = self._changed_outcomes = 0
        self._documents: deque[Mapping[str, Any]] = deque(maxlen=KEPT_REVISIONS)
        self._memos: deque[Mapping[str, Any]] = deque(maxlen=KEPT_REVISIONS)
        self._telling: Mapping[str, Any] | None = None

    def add_requests(self, requests: Sequence[Mapping[str, Any]]) -> None:
        """Count records of `evidence_request.avsc`."""
        self._asked.update(one["service"] for one in requests if self._requests.is_new(one["request_id"], 0))

    def add_endings(self, endings: Sequence[Mapping[str, Any]]) -> None:
        """Count records of `evidence.avsc`."""
        new = [one for one in endings if self._endings.is_new(one["request_id"], 0)]
        self._ended.update((one["service"], one["status"]) for one in new)

    def add_revision(self, alert: Mapping[str, Any]) -> None:
        """Note a revision that was not seen before."""
        self._revisions += 1
        self._revised_alerts += self._revised.is_new(alert["alert_id"], 0)
        changed = alert["outcome"] != alert["outcome_before"]
        self._changed_outcomes += changed
        about_memo = bool(alert["evidence"]) and alert["evidence"][-1]["reference"] == MEMO
        (self._memos if about_memo else self._documents).appendleft(alert)
        if not about_memo and (self._telling is None or _told(alert) >= _told(self._telling)):
            self._telling = alert

    @property
    def telling(self) -> Mapping[str, Any] | None:
        """The revision about a document that changed most: outcomes count first, then the score."""
        return self._telling

    def snapshot(self) -> EvidenceSnapshot:
        """Return what there is to show."""
        services = {
            name: ServiceCounts(asked, *(self._ended[name, ending] for ending in ENDINGS))
            for name, asked in sorted(dict(self._asked).items())
        }
        return EvidenceSnapshot(
            services=services,
            revisions=self._revisions,
            revised_alerts=self._revised_alerts,
            changed_outcomes=self._changed_outcomes,
            newest=[*self._documents, *self._memos][:KEPT_REVISIONS],
            notes=tuple(self.notes),
        )


def _told(alert: Mapping[str, Any]) -> tuple[bool, float]:
    answered = [piece for piece in alert["evidence"] if piece["status"] == "answered"]
    if not answered:
        return False, 0.0
    before = alert["score_before"] if alert["score_before"] is not None else alert["score"]
    return alert["outcome"] != alert["outcome_before"], abs(alert["score"] - before)
