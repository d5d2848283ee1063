"""The end of a run: everything that it wrote, and the comparison with undisturbed runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.scoring.core_settings import CoreSettings
from models.scoring.explain import alert_id_of
from models.scoring.reference import ReferenceColumns
from schemas.columns import TransactionColumns
from schemas.records import decode_record
from tests.chaos.checker import Seen, check_alerts, check_ledger, check_once
from tests.chaos.reader import ReaderProcess
from tests.chaos.result import Result
from tests.chaos.stream import undisturbed
from tests.recorded import Place, Recorded, comparable, ledger_of
from tests.scoring_job import ScoringJob

QUIET_SECONDS = 60.0  # without a further record the ledgers are as complete as they will ever be
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Collected:
    """Everything that the run wrote."""

    seen: list[Seen]  # by the reader that read throughout
    final: list[tuple[int, int]]  # partition and offset of each decision that a late reader finds
    alerts: list[bytes]
    refused: dict[str, list[Place]]  # by topic: what its records are about


class NothingKnown:
    """Reference data of an empty Redis."""

    def lookup(self, columns: TransactionColumns) -> ReferenceColumns:
        """Answer as Redis does when it holds nothing."""
        n = len(columns)
        unknown = np.full(n, np.nan, np.float32)
        return ReferenceColumns(np.zeros(n, np.float32), np.zeros(n, np.float32), unknown, unknown)


def collect(job: ScoringJob, reader: ReaderProcess, partitions: Sequence[Recorded]) -> Collected:
    """Wait until the ledger is complete, or nothing more comes, and read all topics."""
    topics = job.settings.topics
    expected = sum(recorded.kinds.count("good") for recorded in partitions)
    count, since = -1, time.monotonic()
    while count < expected and time.monotonic() - since < QUIET_SECONDS:
        time.sleep(POLL_SECONDS)
        if (now := reader.count()) != count:
            count, since = now, time.monotonic()
    job.wait_for_checkpoints()  # for anything too much
    logs = {}
    for topic in (topics.decisions, topics.dead_letters, topics.duplicates, topics.alerts):
        logs[topic] = job.read(topic, committed_only=topic != topics.alerts)
        logs[topic].read_to_end()
    return Collected(
        reader.finish(),
        [(message.partition(), message.offset()) for message in logs[topics.decisions].messages],
        logs[topics.alerts].values,
        {
            name: [_place(message.headers()) for message in logs[topic].messages]
            for name, topic in (("dead-letters", topics.dead_letters), ("duplicates", topics.duplicates))
        },
    )


def check(partitions: Sequence[Recorded], settings: CoreSettings, collected: Collected, result: Result) -> None:
    """Compare everything with undisturbed runs, with reference data and without; note in `result` what differs."""
    with_reference = ledger_of(undisturbed(partitions, settings, NothingKnown()).decisions)
    without = ledger_of(undisturbed(partitions, settings, None).decisions)
    seen = [Seen(item.partition, item.offset, comparable(dict(item.decision))) for item in collected.seen]
    alerts = [decode_record(value) for value in collected.alerts]
    degraded = {
        alert_id_of(item.decision["transaction_id"])
        for item in seen
        if "reference" in item.decision["explanation"]["degraded"]
    }
    bad = [(n, i) for n, r in enumerate(partitions) for i, error in enumerate(r.errors) if error is not None]
    repeated = [(n, i) for n, recorded in enumerate(partitions) for i in recorded.rows("duplicate")]
    for anomalies in (
        check_ledger(seen, with_reference, without, collected.final),
        check_alerts(alerts, _alerts(with_reference), _alerts(without), degraded),
        check_once("dead letters", collected.refused["dead-letters"], bad),
        check_once("duplicates", collected.refused["duplicates"], repeated),
    ):
        result.anomalies.update(anomalies.counts())
        if anomalies.found:
            result.description.append(str(anomalies))
    result.counts = {
        "transactions": len(with_reference),
        "decisions": len(seen),
        "dead letters": len(collected.refused["dead-letters"]),
        "duplicates": len(collected.refused["duplicates"]),
        "alerts expected": len(_alerts(with_reference)),
        "alert records": len(alerts),
        "decided without reference data": len(degraded),
    }


def _alerts(ledger: Mapping[Place, Mapping[str, Any]]) -> dict[str, float]:
    return {alert_id_of(d["transaction_id"]): d["score"] for d in ledger.values() if d["outcome"] != "approve"}


def _place(headers: Any) -> Place:
    named = dict(headers)
    return int(named["__connect.errors.partition"]), int(named["__connect.errors.offset"])
