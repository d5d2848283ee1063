"""``python -m deploy.archive --port PORT --folder FOLDER --plan PLAN``: run an archive until SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from deploy.archive.book import PaymentBook
from deploy.archive.server import Archive, make_server
from deploy.load.plan import LoadPlan


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the documents of one load plan."""
    parser = argparse.ArgumentParser(prog="python -m deploy.archive", description="Serve the documents of a load.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--plan", required=True, help="the load plan, as LoadPlan.as_json writes it")
    options = parser.parse_args(argv)
    archive = Archive(PaymentBook(LoadPlan.from_json(options.plan)), options.folder)
    archive.warm_up()
    server = make_server(archive, options.port)
    # shutdown() waits for serve_forever(), which runs in this very thread
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    with server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
