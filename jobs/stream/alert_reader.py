"""How to consume alerts: they come at least once, and later revisions replace earlier ones.

The alerts topic is written at once and not in transactions, since a transactional reader would wait for the next
checkpoint. The price is that an alert can come twice after a restart. `alert_id` is the same each time, so a consumer
that keeps the highest revision of each id sees every alert once.

Would-be alerts of a shadow are read in the same way from a topic of their own; what was decided on the transaction
stands in a header, since it is no part of the alert.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import Message

from jobs.stream.topic_reader import END, Start, TopicReader
from schemas.errors import SerializationError
from schemas.records import decode_record

LIVE_OUTCOME_HEADER = "weir.live-outcome"
"""Of a would-be alert: approve, review or decline, as the live decision on the transaction says."""

REMEMBERED = 100_000
"""Alert ids remembered by default: hours of alerts, in about 20 MB."""


class AlertFilter:
    """Tells what is new: pure, bounded, and of use with any Kafka client.

    Parameters
    ----------
    remembered
        Alert ids remembered; the one heard of longest ago is forgotten first.

    Examples
    --------
    >>> seen = AlertFilter()
    >>> [seen.is_new("A1", 0), seen.is_new("A1", 0), seen.is_new("A1", 1), seen.is_new("A1", 0)]
    [True, False, True, False]
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._revisions: OrderedDict[str, int] = OrderedDict()

    def is_new(self, alert_id: str, revision: int) -> bool:
        """Whether this revision is higher than any heard of; it is remembered then."""
        known = self._revisions.get(alert_id, -1)
        self._revisions[alert_id] = max(known, revision)
        self._revisions.move_to_end(alert_id)
        if len(self._revisions) > self._remembered:
            self._revisions.popitem(last=False)
        return revision > known


def newest_of(alerts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the newest revision of each alert, in the order in which the alerts first came.

    What this returns is the truth as far as it was read, in whatever order and however often revisions came.

    Examples
    --------
    >>> came = [("A1", 0), ("A2", 0), ("A1", 2), ("A1", 1), ("A2", 0)]
    >>> newest = newest_of({"alert_id": alert_id, "revision": revision} for alert_id, revision in came)
    >>> [(alert["alert_id"], alert["revision"]) for alert in newest]
    [('A1', 2), ('A2', 0)]
    """
    newest: dict[str, Mapping[str, Any]] = {}
    for alert in alerts:
        known = newest.setdefault(alert["alert_id"], alert)
        if alert["revision"] > known["revision"]:
            newest[alert["alert_id"]] = alert
    return list(newest.values())


class AlertReader:
    """Reads alerts as dictionaries with the fields of `alert.avsc`, each revision once.

    Would-be alerts of a shadow also have `live_outcome`, what was decided on the transaction.

    A record that is no alert is counted in `unreadable` and passed over: one bad producer must not blind an analyst.

    Examples
    --------
    >>> reader = AlertReader({"bootstrap.servers": "127.0.0.1:9092"}, "weir.alerts")  # doctest: +SKIP
    >>> for alert in reader.follow():  # doctest: +SKIP
    ...     print(alert["alert_id"], alert["outcome"], [reason["text"] for reason in alert["reasons"]])
    """

    def __init__(
        self, properties: Mapping[str, Any], topic: str, start: Start = END, remembered: int = REMEMBERED
    ) -> None:
        self._reader = TopicReader(properties, [topic], start, committed_only=False)
        self._filter = AlertFilter(remembered)
        self.unreadable = 0

    def close(self) -> None:
        """Leave the broker."""
        self._reader.close()

    def read(self, timeout_seconds: float = 0.5) -> list[dict[str, Any]]:
        """Return the new alerts that are there; wait for the first one for at most `timeout_seconds`."""
        return self._new(self._reader.read(timeout_seconds=timeout_seconds))

    def until_end(self) -> Iterator[dict[str, Any]]:
        """Yield the alerts up to the end as it was when the reader was made."""
        for batch in self._reader.until_end():
            yield from self._new(batch)

    def follow(self) -> Iterator[dict[str, Any]]:
        """Yield alerts for ever."""
        while True:
            yield from self.read()

    def _new(self, messages: Iterable[Message]) -> list[dict[str, Any]]:
        alerts = []
        for message in messages:
            try:
                alert = decode_record(message.value() or b"", name="alert")
            except SerializationError:
                self.unreadable += 1
                continue
            for name, value in message.headers() or ():
                if name == LIVE_OUTCOME_HEADER:
                    alert["live_outcome"] = (value or b"").decode("utf-8", "replace")
            if self._filter.is_new(alert["alert_id"], alert["revision"]):
                alerts.append(alert)
        return alerts
