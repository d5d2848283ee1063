"""Asking a service to explain: what is asked, and what is made of every kind of answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from deploy.cli.alert_page import explaining
from deploy.cli.alert_page.collect import assemble
from deploy.cli.alert_page.explaining import ExplanationError, explain
from jobs.evidence_settings import ServiceAddress
from models.evidence.question import ServiceModel
from models.services.base.settings import ServiceSettings
from tests.dossiers import an_ending
from tests.evidence import an_alert, requests_for

GOOD = json.dumps({"explanations": [{"report": {"text": "1. It is."}}]}).encode()
MODEL = ServiceModel("vision", "forged_probability", ("image",))
REQUEST = requests_for(an_alert(), [("vision", "file:///e/a.jpg")])[0]

Serve = Callable[[int, bytes], tuple[str, list[tuple[str, str | None, Any]]]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a service that gives one answer to everything, and notes what it was asked."""
    servers: list[HTTPServer] = []

    def start(status: int, body: bytes) -> tuple[str, list[tuple[str, str | None, Any]]]:
        asked: list[tuple[str, str | None, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append((self.path, self.headers["Authorization"], question))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_question_is_the_one_that_was_answered_pinned_to_that_version(serve: Serve) -> None:
    url, asked = serve(200, GOOD)
    answer = explain(ServiceAddress(url, SecretStr("secret"), MODEL), REQUEST, an_alert(), "7")
    assert answer == {"report": {"text": "1. It is."}}
    question = {"instances": [{"image": {"uri": "file:///e/a.jpg"}}]}
    assert asked == [("/v1/models/vision/versions/7:explain", "Bearer secret", question)]


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (500, b'{"error": "the model raised"}', "500: the model raised"),
        (404, b"no JSON", "404"),
        (302, b"", "302"),
        (200, b"no JSON", "no explanation"),
        (200, b"[]", "no explanation"),
        (200, b'{"explanations": [1]}', "no explanation"),
        (200, b'{"explanations": []}', "no explanation"),
        (200, b"[" * 100_000, "no explanation"),
    ],
)
def test_anything_else_is_said_in_words(serve: Serve, status: int, body: bytes, why: str) -> None:
    url, asked = serve(status, body)
    with pytest.raises(ExplanationError, match=why):
        explain(ServiceAddress(url, None, MODEL), REQUEST, an_alert(), "")
    assert len(asked) == 1, "no redirect is followed"


def test_an_answer_without_end_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "MAX_BYTES", 100)
    url, _ = serve(200, GOOD + b" " * 200)
    with pytest.raises(ExplanationError, match="more than 100 bytes"):
        explain(ServiceAddress(url, None, MODEL), REQUEST, an_alert(), "")


def test_a_service_that_is_gone_stops_nothing() -> None:
    address = ServiceAddress("http://127.0.0.1:1", None, MODEL)
    ending = an_ending("vision", 1, "file:///e/a.jpg", request_id=REQUEST["request_id"])
    dossier = assemble([an_alert()], [REQUEST], [ending], {"vision": address}, ServiceSettings())
    (document,) = dossier.documents
    assert document.picture is None
    assert "outside the folders" in document.problem
    assert "does not answer" in document.pieces[0].problem
    unknown = assemble([an_alert()], [REQUEST], [ending], {}, ServiceSettings())
    assert "not configured" in unknown.documents[0].pieces[0].problem
