"""Which evidence an alert waits for: pure, and on columns until it comes to single alerts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.columns import TransactionColumns
from schemas.references import first_references

MEMO = "memo:"
"""Reference to the payment's own memo."""
MAX_REFERENCE_CHARACTERS = 2_048
"""A longer reference is not asked about: it is no address."""


@dataclass(frozen=True, slots=True)
class AskedService:
    """One service that is asked about evidence.

    Attributes
    ----------
    name
        vision, text or multimodal.
    model_version
        Version that its questions are pinned to; empty for whatever it answers with by default.
    reads_memo
        Whether it is asked about the memo instead of the documents.
    """

    name: str
    model_version: str = ""
    reads_memo: bool = False


@dataclass(frozen=True, slots=True)
class EvidencePolicy:
    """Who is asked about what, and for how long an alert waits.

    Attributes
    ----------
    services
        None of them: nobody is asked, and no alert waits.
    budget_ms
        From the request on.
    max_references
        Documents of a transaction that are asked about, the first ones.
    """

    services: tuple[AskedService, ...] = ()
    budget_ms: int = 10_000
    max_references: int = 4


NO_EVIDENCE = EvidencePolicy()


def request_id_of(transaction_id: str, service: str, model_version: str, reference: str) -> str:
    """Return the id of a request: the same in every run, another one for another version of the service's model.

    Examples
    --------
    >>> request_id_of("T1", "vision", "1", "file:///a.png")
    'E9f074d73e5de7e6f15307a38'
    """
    named = "\0".join((transaction_id, service, model_version, reference))
    return "E" + hashlib.sha256(named.encode()).hexdigest()[:24]


def rows_with_evidence(
    policy: EvidencePolicy, columns: TransactionColumns, rows: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Return those of some rows that the policy asks somebody about; column passes alone."""
    if not policy.services or not len(rows):
        return rows[:0]
    asks = np.zeros(len(rows), np.bool_)
    if columns.evidence is not None and any(not service.reads_memo for service in policy.services):
        asks |= columns.evidence.lengths[rows] > 0
    if any(service.reads_memo for service in policy.services):
        asks |= columns.memo.lengths[rows] > 0
    return rows[asks]


def pieces_of(policy: EvidencePolicy, columns: TransactionColumns, row: int) -> list[tuple[AskedService, str]]:
    """Return service and reference of every piece of evidence of one transaction, each once."""
    references: list[str] = []
    if columns.evidence is not None:
        references = first_references(columns.evidence, row, policy.max_references)
        references = [text for text in dict.fromkeys(references) if 0 < len(text) <= MAX_REFERENCE_CHARACTERS]
    has_memo = int(columns.memo.lengths[row]) > 0
    return [
        (service, reference)
        for service in policy.services
        for reference in ([MEMO] * has_memo if service.reads_memo else references)
    ]


@dataclass(frozen=True, slots=True)
class WaitingAlert:
    """An alert that waits for evidence."""

    row: int
    alert: dict[str, Any]
    pieces: list[tuple[AskedService, str]]


def waiting_alerts(
    policy: EvidencePolicy, columns: TransactionColumns, alerts: Mapping[int, dict[str, Any]]
) -> list[WaitingAlert]:
    """Say in the alerts, by row, what they wait for (`degraded`, `is_final`); return those that do."""
    rows = rows_with_evidence(policy, columns, np.fromiter(alerts, np.intp, len(alerts)))
    waiting = []
    for row in rows.tolist():
        if pieces := pieces_of(policy, columns, row):
            alert = alerts[row]
            alert["degraded"] = [*alert["degraded"], *sorted({service.name for service, _ in pieces})]
            alert["is_final"] = False
            waiting.append(WaitingAlert(row, alert, pieces))
    return waiting
