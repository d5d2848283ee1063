"""The archive over HTTP, on the loopback alone: `GET /documents/TRANSACTION_ID.jpg`."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from deploy.archive.book import PaymentBook
from deploy.archive.places import READY, ROOT, TRUTH
from models.training.documents.attached import PaidTransaction, draw_attached

logger = logging.getLogger(__name__)

SOCKET_SECONDS = 10.0
_NAME = re.compile(re.escape(ROOT) + r"/([0-9A-Za-z]{1,64})\.jpg")


class Archive:
    """Draws each document once, into a folder, with a line in `planted.jsonl` that tells the truth about it.

    Parameters
    ----------
    book
        What is known of the payments.
    folder
        Where documents are kept.
    """

    def __init__(self, book: PaymentBook, folder: Path) -> None:
        self._book = book
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # Two services ask about one document at the same moment; drawing is one core's work anyway.
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Do now what would hold up the first document: compiled code, fonts, and the stream's first minutes."""
        self._book.warm_up()
        draw_attached(PaidTransaction("", 100, "EUR", "nobody", date(2026, 1, 1), "", True))

    def document(self, transaction_id: str) -> bytes | None:
        """Return a document, drawn now if it is asked for the first time; None where the payment has none."""
        path = self._folder / f"{transaction_id}.jpg"
        with self._lock:
            if path.exists():
                return path.read_bytes()
            payment = self._book.find(transaction_id)
            if payment is None:
                return None
            drawn = draw_attached(payment)
            path.write_bytes(drawn.jpeg)
            with (self._folder / TRUTH).open("a") as file:
                truth = {"transaction_id": transaction_id, "is_fraud": payment.is_fraud, "planted": drawn.truth}
                file.write(json.dumps(truth) + "\n")
            return drawn.jpeg


def make_server(archive: Archive, port: int) -> ThreadingHTTPServer:
    """Bind a server on the loopback; port 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        timeout = SOCKET_SECONDS

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == READY:
                self._answer(200, "text/plain", b"ready\n")
                return
            name = _NAME.fullmatch(path)
            document = archive.document(name.group(1)) if name else None
            if document is None:
                self._answer(404, "text/plain", b"no payment with a document has this id\n")
            else:
                self._answer(200, "image/jpeg", document)

        def _answer(self, status: int, media_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the service did not wait so long
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            logger.debug(format, *args)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    return server
