"""The text model in service: tokens, the graph, tags by threshold, and which words a tag rests on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from models.services.base.errors import InvalidInstanceError
from models.services.base.model import Field, FieldKind, Instance, Output, Prediction, ServedModel
from models.services.base.sessions import open_session
from models.services.base.settings import ServiceSettings
from models.services.text.card import TextCard, read_card
from models.services.text.tokens import TextTokenizer, TokenizedText

MAX_EXPLAINED_WORDS = 64
TOKENS_OF_A_RUN = 384
"""Of one run of the graph, padding included: enough for matrix products at full speed, few enough for the cache, and
texts of one run are of nearly one length."""


class TextModel(ServedModel):
    """A folder of `python -m models.training.text` in service.

    `embedding` has length 1, so that a dot product of two is their cosine. `risk` is the greatest probability among the
    risk tags. An empty text has no tags, risk 0 and the vector of nothing.
    """

    name = "text"
    fields = (Field("text", FieldKind.TEXT, description="A memo, or the text of an invoice."),)
    max_batch_size = 64

    def __init__(self, folder: Path, settings: ServiceSettings) -> None:
        self._folder = folder
        self._settings = settings
        self.card: TextCard = read_card(folder)
        self.version = self.card.version
        self.outputs = (
            Output("embedding", "FP32", (self.card.dimensions,), description="Vector of length 1."),
            Output("risk", "FP32", description="Greatest probability of a risk tag."),
            Output("tags", "BYTES", is_json=True, description="Tags above their thresholds, with probabilities."),
            Output(
                "probabilities", "FP32", (len(self.card.tags),), description="Of all tags: " + ", ".join(self.card.tags)
            ),
            Output("was_cut", "BOOL", description="Whether the text was longer than the encoder reads."),
        )
        self._is_risk = np.array([tag in self.card.risk_tags for tag in self.card.tags])
        self._thresholds = np.array(self.card.thresholds)
        self._tokenizer: TextTokenizer | None = None
        self._session: onnxruntime.InferenceSession | None = None

    @property
    def description(self) -> Mapping[str, Any]:
        """The card."""
        return self.card.model_dump(mode="json")

    def load(self) -> None:
        """Open tokenizer and graph, and run it once."""
        self._tokenizer = TextTokenizer(self._folder / "tokenizer.json", self.card.max_tokens, self.card.padding_id)
        self._session = open_session(self._folder / "model.onnx", self._settings)
        self.predict([self.preprocess({"text": "warm-up"})])

    def preprocess(self, instance: Instance) -> TokenizedText:
        """Tokenize."""
        assert self._tokenizer is not None, "load() comes first"
        return self._tokenizer.tokenize(instance["text"])

    def predict(self, prepared: Sequence[TokenizedText]) -> Sequence[Prediction]:
        """Answer a batch; equal texts are computed once."""
        distinct = {text.ids: text for text in prepared}
        places = {ids: index for index, ids in enumerate(distinct)}
        embeddings, probabilities = self._run(list(distinct.values()))
        return [
            self._prediction(embeddings[places[text.ids]], probabilities[places[text.ids]], text) for text in prepared
        ]

    def explain(self, prepared: TokenizedText, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Say of each tag that is named how much its probability falls without each of the text's words.

        Occlusion: the text is read again once per word, without it. Words beyond the first
        `MAX_EXPLAINED_WORDS` are not tried, and `words_tried` says so.
        """
        del parameters
        assert self._tokenizer is not None, "load() comes first"
        spans = [match.span() for match in re.finditer(r"\S+", prepared.text)]
        if not spans:
            raise InvalidInstanceError("the text has no words: there is nothing to explain")
        tried = spans[:MAX_EXPLAINED_WORDS]
        text = prepared.text
        without = [self._tokenizer.tokenize(text[:first] + text[end:]) for first, end in tried]
        _, probabilities = self._run([prepared, *without])
        whole, falls = probabilities[0], probabilities[0] - probabilities[1:]
        return {
            "text": text,
            "words_tried": len(tried),
            "words": len(spans),
            "tags": [
                {
                    "tag": self.card.tags[tag],
                    "probability": float(whole[tag]),
                    "words": [
                        {"word": text[slice(*tried[word])], "start": tried[word][0], "fall": float(falls[word, tag])}
                        for word in np.argsort(-falls[:, tag])[:5]
                        if falls[word, tag] > 0
                    ],
                }
                for tag in np.flatnonzero(whole >= self._thresholds)
            ],
        }

    def close(self) -> None:
        """Free the graph."""
        self._session = None

    def _run(self, texts: Sequence[TokenizedText]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Embeddings (B, H) and probabilities (B, tags)."""
        assert self._session is not None, "load() comes first"
        assert self._tokenizer is not None, "load() comes first"
        order = sorted(range(len(texts)), key=lambda index: len(texts[index].ids))
        embeddings = np.empty((len(texts), self.card.dimensions), np.float32)
        probabilities = np.empty((len(texts), len(self.card.tags)), np.float32)
        for first, end in runs_of([len(texts[index].ids) for index in order], TOKENS_OF_A_RUN):
            rows = order[first:end]
            ids, mask = self._tokenizer.padded([texts[row] for row in rows])
            outputs = self._session.run(["embedding", "tag_probabilities"], {"input_ids": ids, "attention_mask": mask})
            embeddings[rows], probabilities[rows] = outputs
        return embeddings, probabilities

    def _prediction(
        self, embedding: np.ndarray[Any, Any], probabilities: np.ndarray[Any, Any], text: TokenizedText
    ) -> Prediction:
        if not text.text:
            probabilities = np.zeros_like(probabilities)
        named = np.flatnonzero(probabilities >= self._thresholds)
        return {
            "embedding": embedding,
            "risk": probabilities[self._is_risk].max(initial=0.0),
            "tags": [
                {"tag": self.card.tags[tag], "probability": round(float(probabilities[tag]), 6)}
                for tag in named[np.argsort(-probabilities[named], kind="stable")]
            ],
            "probabilities": probabilities,
            "was_cut": text.was_cut,
        }


def runs_of(lengths: Sequence[int], max_tokens: int) -> Iterator[tuple[int, int]]:
    """Cut texts, the shortest first, into runs of the graph; yields (first, end) of each.

    Attention works on (B, T) with T the longest text of a run: a run takes texts as long as B x T stays within
    `max_tokens`. A text beyond that runs alone.

    >>> list(runs_of([4, 4, 5, 9, 40], max_tokens=16))
    [(0, 3), (3, 4), (4, 5)]
    """
    first = 0
    for index, length in enumerate(lengths):
        if index > first and (index + 1 - first) * length > max_tokens:
            yield first, index
            first = index
    if lengths:
        yield first, len(lengths)
