"""The card beside a text model: what it is, how to read for it, and whether its files are the ones it speaks of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from models.services.base.errors import ModelFolderError

CARD = "card.json"


class TextCardError(ModelFolderError):
    """A folder is no text model, or not the one that its card speaks of."""


class TextCard(BaseModel):
    """card.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    licence: str
    encoder: str
    """What the encoder is, and where it is from."""
    dimensions: int
    max_tokens: int
    padding_id: int
    tags: tuple[str, ...]
    risk_tags: tuple[str, ...]
    """Those of `tags` that speak of a risk; the others say what the text is."""
    thresholds: tuple[float, ...]
    """Of each tag: from this probability on it is named."""
    files: Mapping[str, str]
    """SHA-256 of each file."""
    training: Mapping[str, Any]
    metrics: Mapping[str, Any]


def read_card(folder: Path) -> TextCard:
    """Read a card and check the files.

    Raises
    ------
    TextCardError
        If the card or a file is missing or has changed.
    """
    try:
        card = TextCard.model_validate(json.loads((folder / CARD).read_text()))
    except (OSError, ValueError) as error:
        raise TextCardError(
            f"{folder} holds no text model (card.json): make one with python -m models.training.text"
        ) from error
    for name, digest in card.files.items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != digest:
            raise TextCardError(f"{path} is missing or is not what card.json speaks of: make the model anew")
    return card


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
