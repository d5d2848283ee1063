"""Text to token ids, as the encoder was trained to read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """Ids of a text's tokens, and where each stands in it."""

    text: str
    ids: tuple[int, ...]
    was_cut: bool


class TextTokenizer:
    """The tokenizer of one encoder.

    Parameters
    ----------
    path
        tokenizer.json.
    max_tokens
        Longer texts are cut.
    padding_id
        What fills shorter rows.
    """

    def __init__(self, path: Path, max_tokens: int, padding_id: int = 0) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._padding_id = padding_id

    def tokenize(self, text: str) -> TokenizedText:
        """Tokenize one text; safe from many threads."""
        clean = clean_text(text)
        encoded = self._tokenizer.encode(clean)
        return TokenizedText(clean, tuple(encoded.ids), bool(encoded.overflowing))

    def padded(self, texts: Sequence[TokenizedText]) -> tuple[Array, Array]:
        """Ids and mask of a batch, (B, T) int64 each, T the longest."""
        longest = max(len(text.ids) for text in texts)
        ids = np.full((len(texts), longest), self._padding_id, np.int64)
        mask = np.zeros((len(texts), longest), np.int64)
        for row, text in enumerate(texts):
            ids[row, : len(text.ids)] = text.ids
            mask[row, : len(text.ids)] = 1
        return ids, mask


def clean_text(text: str) -> str:
    """Bring letters that only look different to one form, and drop characters that nobody sees.

    >>> clean_text("g\u200bift  ｃａｒｄ")
    'gift card'
    """
    visible = (
        c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) not in ("Cf", "Co", "Cs", "Cn")
    )
    return " ".join("".join(visible).split())
