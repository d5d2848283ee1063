"""Gather one alert: its revisions and evidence from the topics, its documents from their roots, explanations from the
services. Whatever is missing is said, and stops nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploy.cli.alert_page.dossier import Document, Dossier, Picture, Piece
from deploy.cli.alert_page.explaining import ExplanationError, explain
from deploy.cli.kafka import client_properties
from jobs.evidence_settings import ServiceAddress, service_addresses
from jobs.settings import Settings
from jobs.stream.topic_reader import ReadError, Start, TopicReader
from models.scoring.evidence_policy import MEMO
from models.services.base.errors import ServiceError
from models.services.base.settings import ServiceSettings
from schemas.errors import SerializationError
from schemas.records import decode_record


def records_about(
    settings: Settings, topic: str, name: str, transaction_id: str, since_ms: int | None = None
) -> list[dict[str, Any]]:
    """Return the records of a topic that are about one transaction, in the order in which they were read; none where
    there is no such topic.

    Parameters
    ----------
    name
        Of the records' schema.
    """
    needle = transaction_id.encode()
    found = []
    try:
        with TopicReader(client_properties(settings), [topic], Start(since_ms=since_ms)) as reader:
            for batch in reader.until_end():
                for message in batch:
                    value = message.value()
                    # The id's bytes may stand in a record that is about another transaction
                    if value is not None and needle in value:
                        with contextlib.suppress(SerializationError):
                            record = decode_record(value, name=name)
                            if record["transaction_id"] == transaction_id:
                                found.append(record)
    except ReadError:
        return []
    return found


def collect(
    settings: Settings,
    transaction_id: str,
    documents: ServiceSettings,
    since_ms: int | None = None,
    decision: Mapping[str, Any] | None = None,
) -> Dossier | None:
    """Return everything about the alert on a transaction; None if there is no such alert.

    Parameters
    ----------
    settings
        Topics, and the addresses of the services.
    documents
        Where documents may be fetched from (`evidence_roots`), and how large they may be; as services have them.
    decision
        Record of `decision.avsc`, if it is at hand.
    """
    topics = settings.topics
    alerts = records_about(settings, topics.alerts, "alert", transaction_id, since_ms)
    if not alerts:
        return None
    revisions = {int(alert["revision"]): alert for alert in alerts}  # what comes twice is the same
    requests = records_about(settings, topics.evidence_requests, "evidence_request", transaction_id, since_ms)
    endings = records_about(settings, topics.evidence, "evidence", transaction_id, since_ms)
    return assemble(
        [revisions[number] for number in sorted(revisions)],
        requests,
        endings,
        service_addresses(settings),
        documents,
        decision,
    )


def assemble(
    revisions: Sequence[Mapping[str, Any]],
    requests: Sequence[Mapping[str, Any]],
    endings: Sequence[Mapping[str, Any]],
    addresses: Mapping[str, ServiceAddress],
    documents: ServiceSettings,
    decision: Mapping[str, Any] | None = None,
) -> Dossier:
    """Put records together, fetch the documents and ask for explanations."""
    asked = {request["request_id"]: request for request in requests}
    ended = {ending["request_id"]: ending for ending in endings}
    pieces = [
        _piece(asked.get(request_id, {}), ended.get(request_id), addresses)
        for request_id in dict.fromkeys([*asked, *ended])
    ]
    memos = [request["memo"] for request in asked.values() if request["memo"]]
    fetch = _fetcher(documents)
    references = dict.fromkeys(piece.reference for piece in pieces if piece.reference != MEMO)
    return Dossier(
        revisions=revisions,
        decision=decision,
        documents=[fetch(uri, [piece for piece in pieces if piece.reference == uri]) for uri in references],
        memo=memos[0] if memos else None,
        memo_pieces=[piece for piece in pieces if piece.reference == MEMO],
    )


def _piece(
    request: Mapping[str, Any], ending: Mapping[str, Any] | None, addresses: Mapping[str, ServiceAddress]
) -> Piece:
    known = request or ending or {}
    service, reference = str(known["service"]), str(known["reference"])
    plain = {key: value for key, value in request.items() if key != "alert"}
    if ending is None or ending["status"] != "answered":
        return Piece(service, reference, plain, ending)
    address = addresses.get(service)
    if address is None:
        return Piece(service, reference, plain, ending, problem=f"the address of {service} is not configured here")
    if not request:
        return Piece(service, reference, plain, ending, problem="the question is no longer kept")
    try:
        alert = decode_record(request["alert"], name="alert")
        explanation = explain(address, request, alert, ending["model_version"])
    except (ExplanationError, SerializationError) as error:
        return Piece(service, reference, plain, ending, problem=str(error))
    return Piece(service, reference, plain, ending, explanation)


def _fetcher(settings: ServiceSettings) -> Callable[[str, Sequence[Piece]], Document]:
    try:
        from models.services.base.evidence.images import check_image
        from models.services.base.evidence.references import References
    except ModuleNotFoundError as error:
        missing = f"{error.name} is not installed: pip install 'weir[evidence]'"
        return lambda uri, pieces: Document(uri, pieces, problem=missing)
    references = References(settings)

    def fetch(uri: str, pieces: Sequence[Piece]) -> Document:
        # A reference is what somebody sent: it is read under the rules that services have, and shown only as an image
        try:
            image = check_image(references.read(uri), settings)
        except (ServiceError, ValueError) as error:
            return Document(uri, pieces, problem=str(error))
        return Document(uri, pieces, Picture(image.content, image.media_type, image.width, image.height))

    return fetch
