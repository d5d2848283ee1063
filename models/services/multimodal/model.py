"""The multimodal model as served: a document and a payment in one space, and the fields that disagree."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from models.services.base.errors import InvalidInstanceError
from models.services.base.model import Field, FieldKind, ImageContent, Instance, Output, Prediction, ServedModel
from models.services.base.sessions import open_session
from models.services.base.settings import ServiceSettings
from models.services.multimodal.grams import GRAMS, LINES, encode_lines, encode_payment
from models.services.reading.fields import FieldCheck, check_fields
from models.services.reading.ocr import Line, Reader, has_ocr
from models.services.reading.payment import PAYMENT_SCHEMA, checked_payment
from models.services.reading.report import draft_report
from models.services.vision.pages import SIDE, decode, resized, square

I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]

FOLDER = "weir-multimodal-1"


@dataclass(frozen=True, slots=True)
class Item:
    """One prepared instance."""

    picture: U8  # (3, 512, 512)
    lines: I32  # (40, 48)
    fields: I32  # (4, 48)
    read: tuple[Line, ...]
    payment: Mapping[str, Any]


class MultimodalModel(ServedModel):
    """Similarity of a document and a payment; without OCR it goes by the picture alone and says so."""

    name = "multimodal"
    fields = (
        Field("image", FieldKind.IMAGE, description="A photograph or scan of a document."),
        Field(
            "payment", FieldKind.JSON, description="The payment that it should belong to.", json_schema=PAYMENT_SCHEMA
        ),
    )
    outputs = (
        Output("match_probability", "FP32", (), description="Probability that the document belongs to the payment."),
        Output("similarity", "FP32", (), description="Cosine of the two embeddings."),
        Output(
            "fields",
            "BYTES",
            (),
            is_json=True,
            description="Every field that the payment states, against what was read.",
        ),
        Output(
            "degraded",
            "BYTES",
            (),
            is_json=True,
            description="What was missing: `ocr` where the document was not read.",
        ),
        Output("document_embedding", "FP32", (256,), description="Unit vector of the document."),
        Output("payment_embedding", "FP32", (256,), description="Unit vector of the payment."),
    )
    max_batch_size = 16

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._folder: Path = settings.model_dir or settings.models_dir / FOLDER
        self._card: dict[str, Any] = json.loads((self._folder / "card.json").read_text())
        self._reads = has_ocr()
        # Another reader answers otherwise, so it is part of the version.
        self.version = str(self._card["version"]) + ("" if self._reads else "-unread")
        self._document: onnxruntime.InferenceSession | None = None
        self._payment: onnxruntime.InferenceSession | None = None
        self._reader: Reader | None = None

    @property
    def description(self) -> Mapping[str, Any]:
        """The model's card."""
        return self._card

    def load(self) -> None:
        """Open both graphs and the reader, and run them once."""
        self._document = open_session(self._folder / "document.onnx", self._settings)
        self._payment = open_session(self._folder / "payment.onnx", self._settings)
        if self._reads:
            self._reader = Reader(self._settings.intra_op_threads or 1)
            self._reader.read(np.full((64, 64, 3), 255, np.uint8))
        blank = np.zeros((1, LINES, GRAMS), np.int32)
        self._document.run(None, {"picture": np.zeros((1, 3, SIDE, SIDE), np.uint8), "lines": blank})
        self._payment.run(None, {"fields": blank[:, :4]})

    def preprocess(self, instance: Instance) -> Item:
        """Decode and read the document, encode its lines and the payment's fields."""
        image: ImageContent = instance["image"]
        try:
            pixels = decode(image.content)
            payment = checked_payment(instance["payment"])
        except ValueError as cause:
            raise InvalidInstanceError(str(cause)) from cause
        if payment is None:
            raise InvalidInstanceError(
                "payment must be an object with amount_minor, currency, beneficiary, date, goods"
            )
        read = tuple(self._reader.read(pixels)) if self._reader is not None else ()
        shrink = SIDE / max(*pixels.shape[:2], SIDE)
        small = pixels if shrink == 1 else resized(pixels, _scaled(pixels, shrink))
        return Item(square(small), encode_lines([line.text for line in read]), encode_payment(payment), read, payment)

    def predict(self, prepared: Sequence[Item]) -> Sequence[Prediction]:
        """Answer a batch."""
        assert self._document is not None, "load() comes first"
        assert self._payment is not None
        pictures, lines = np.stack([i.picture for i in prepared]), np.stack([i.lines for i in prepared])
        documents = self._document.run(None, {"picture": pictures, "lines": lines})[0]
        payments = self._payment.run(None, {"fields": np.stack([i.fields for i in prepared])})[0]
        return [self._prediction(*row) for row in zip(prepared, documents, payments, strict=True)]

    def explain(self, prepared: Item, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the prediction and the drafted report."""
        del parameters
        prediction = self.predict([prepared])[0]
        report = draft_report(
            match_probability=float(prediction["match_probability"]),
            fields=check_fields(prepared.payment, prepared.read),
            was_read=self._reads,
        )
        shown = ("match_probability", "similarity", "fields", "degraded")
        return {"prediction": {name: prediction[name] for name in shown}, "report": report}

    def _prediction(
        self, item: Item, document: npt.NDArray[np.float32], payment: npt.NDArray[np.float32]
    ) -> Prediction:
        similarity = float(document @ payment)
        calibration = self._card["calibration"]
        odds = calibration["slope"] * similarity + calibration["offset"]
        return {
            "match_probability": np.float32(1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, odds))))),
            "similarity": np.float32(similarity),
            "fields": [_shown(check) for check in check_fields(item.payment, item.read)],
            "degraded": [] if self._reads else ["ocr"],
            "document_embedding": document.astype(np.float32),
            "payment_embedding": payment.astype(np.float32),
        }


def _scaled(pixels: U8, factor: float) -> tuple[int, int]:
    return max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor))


def _shown(check: FieldCheck) -> dict[str, Any]:
    return {
        "field": check.field,
        "expected": check.expected,
        "agrees": check.agrees,
        "read": list(check.read),
        "box": check.box,
    }
