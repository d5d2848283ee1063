"""Feeds a live model from the output topics."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from deploy.cli.live.model import LiveModel
from deploy.cli.live.panels import Accounts
from jobs.settings import Topics
from jobs.stream.dead_letters import header_names
from jobs.stream.decision_heads import read_heads
from jobs.stream.topic_reader import END, TopicReader
from schemas.errors import SerializationError
from schemas.records import decode_record

POLL_SECONDS = 0.1


class Watcher:
    """A thread that reads decisions, alerts, dead letters and duplicates from now on, as they are written.

    Open transactions are read too, since the question is how fast an answer is there; the ledger is counted at the end,
    by `count_accounts`, and from what is committed.

    Parameters
    ----------
    model
        What to feed. It is written by this thread only, `set_sent` and `tick` aside.
    properties
        Of librdkafka: address and security.
    topics
        Full names.
    """

    def __init__(self, model: LiveModel, properties: Mapping[str, Any], topics: Topics) -> None:
        self._model = model
        self._topics = topics
        outputs = [topics.alerts, topics.decisions, topics.dead_letters, topics.duplicates]
        if model.evidence is not None:
            outputs += [topics.evidence_requests, topics.evidence]
        self._reader = TopicReader(properties, outputs, END, committed_only=False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        read_heads([b""])  # compiled code is loaded now, not when the first decision is waiting
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._reader.close()

    def _watch(self) -> None:
        try:
            while not self._stop.is_set():
                messages = self._reader.read(5_000, POLL_SECONDS)
                arrival_ms = int(time.time() * 1_000)
                if messages:
                    self._feed(messages, arrival_ms)
        except BaseException as error:  # shown where the view is
            self.error = error

    def _feed(self, messages: list[Any], arrival_ms: int) -> None:
        topics, model = self._topics, self._model
        decisions, errors, duplicates = [], [], 0
        alerts: list[Any] = []
        requests: list[Any] = []
        endings: list[Any] = []
        error_header = header_names()["error"]
        for message in messages:
            topic = message.topic()
            if topic == topics.decisions:
                decisions.append(message.value())
            elif topic == topics.alerts:
                _decode(message, "alert", alerts)
            elif topic == topics.evidence_requests:
                _decode(message, "evidence_request", requests)
            elif topic == topics.evidence:
                _decode(message, "evidence", endings)
            elif topic == topics.dead_letters:
                named = dict(message.headers() or ())
                errors.append((named.get(error_header) or b"?").decode("utf-8", "replace"))
            else:
                duplicates += 1
        if model.evidence is not None:
            model.evidence.add_requests(requests)
            model.evidence.add_endings(endings)
        if alerts:
            model.add_alerts(alerts, arrival_ms)
        if decisions:
            model.add_decisions(read_heads(decisions), arrival_ms)
        if errors:
            model.add_dead_letters(errors)
        if duplicates:
            model.add_duplicates(duplicates)


def _decode(message: Any, name: str, into: list[Any]) -> None:
    """Add a record to a list, if it is one."""
    with contextlib.suppress(SerializationError):
        into.append(decode_record(message.value() or b"", name=name))


def count_accounts(sent: int, properties: Mapping[str, Any], topics: Topics) -> Accounts:
    """Count what is committed on the output topics, from their beginning."""
    counts = []
    for topic in (topics.decisions, topics.dead_letters, topics.duplicates):
        with TopicReader(properties, [topic]) as reader:
            counts.append(sum(len(batch) for batch in reader.until_end()))
    return Accounts(sent, *counts)


def wait_for_accounts(sent: int, properties: Mapping[str, Any], topics: Topics, timeout_seconds: float) -> Accounts:
    """Count again until the accounts are even or time is up: the last records are committed by the next checkpoint."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        accounts = count_accounts(sent, properties, topics)
        if accounts.is_even or time.monotonic() > deadline:
            return accounts
        time.sleep(0.5)
