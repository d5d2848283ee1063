"""The folder of a shipped evidence model: graphs, and the card that says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_folder(folder: Path, files: Mapping[str, bytes], card: Mapping[str, Any]) -> None:
    """Write files, and last the card with the SHA-256 and size of each."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = {}
    for name, content in files.items():
        (folder / name).write_bytes(content)
        listed[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "card.json").write_text(json.dumps({**card, "files": listed}, indent=1) + "\n")
