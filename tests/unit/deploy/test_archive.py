"""The archive: the document behind a reference of the stream, drawn once, and nothing for any other name."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deploy.archive.book import PaymentBook
from deploy.archive.places import TRUTH, planted
from deploy.archive.server import Archive, make_server
from deploy.load.plan import LoadPlan
from models.training.simulator import encode_stream
from schemas.records import decode_record
from tests.builders import NOON_MS

PLAN = LoadPlan(
    rate=100.0, count=3_000, end_ms=NOON_MS, accounts=300, merchants=200, evidence_share=0.5, evidence_from_eur=500.0
)


def sent() -> list[dict[str, object]]:
    """The payments of the plan that come with a document, as they are sent."""
    records = [
        decode_record(value) for batch in encode_stream(PLAN.simulator, 700, PLAN.count) for value in batch.values
    ]
    return [record for record in records if record["evidence"]]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    server = make_server(Archive(PaymentBook(PLAN), tmp_path), 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_book_knows_what_was_sent_with_a_document_and_nothing_else() -> None:
    book, records = PaymentBook(PLAN), sent()
    assert len(records) > 20
    for record in records:
        payment = book.find(str(record["transaction_id"]))
        assert payment is not None
        assert (payment.amount_minor, payment.currency) == (record["amount_minor"], record["currency"])
        assert (payment.counterparty_id, payment.memo) == (record["counterparty_id"], record["memo"] or "")
    assert book.find("T0123456789abcdef") is None


def test_a_wrong_name_does_not_make_an_endless_stream_run_for_ever() -> None:
    endless = LoadPlan(rate=10.0, count=None, end_ms=NOON_MS, accounts=300, merchants=200, evidence_share=0.1)
    assert PaymentBook(endless).find("nobody") is None


def test_a_document_is_drawn_once_and_kept(address: str, tmp_path: Path) -> None:
    name = str(sent()[0]["transaction_id"])
    first, second = (urllib.request.urlopen(f"{address}/documents/{name}.jpg").read() for _ in range(2))
    assert first == second == (tmp_path / f"{name}.jpg").read_bytes()
    assert first.startswith(b"\xff\xd8")
    assert list(planted(tmp_path)) == [name]
    assert len((tmp_path / TRUTH).read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/documents/T0123456789abcdef.jpg",
        "/documents/../book.py",
        "/documents/%2e%2e%2fx.jpg",
        "/",
        "/documents/a/b.jpg",
    ],
)
def test_other_names_are_not_found(address: str, path: str, tmp_path: Path) -> None:
    with pytest.raises(urllib.error.HTTPError) as failure:
        urllib.request.urlopen(address + path)
    assert failure.value.code == 404
    assert list(tmp_path.iterdir()) == []


def test_only_large_transfers_come_with_one() -> None:
    records = sent()
    assert {str(record["channel"]) for record in records} <= {"transfer", "instant_transfer", "wire"}
    assert all(record["currency"] != "JPY" for record in records)
    assert min(int(str(r["amount_minor"])) for r in records if r["currency"] == "EUR") >= 50_000
    assert np.mean([record["currency"] == "EUR" for record in records]) > 0.5
