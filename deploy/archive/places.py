"""Where an archive answers, and where it keeps the truth about its documents."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = "/documents"
READY = "/ready"
TRUTH = "planted.jsonl"


def planted(folder: Path) -> dict[str, str]:
    """Return what was planted in the documents drawn so far, by transaction id."""
    try:
        lines = (folder / TRUTH).read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {truth["transaction_id"]: truth["planted"] for truth in map(json.loads, lines)}
