"""The vision model as the services serve it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from models.services.base.errors import InvalidInstanceError
from models.services.base.model import (
    ActionResult,
    Field,
    FieldKind,
    ImageContent,
    Instance,
    Output,
    Prediction,
    ServedModel,
)
from models.services.base.sessions import open_session
from models.services.base.settings import ServiceSettings
from models.services.reading.fields import check_fields
from models.services.reading.ocr import Reader, has_ocr
from models.services.reading.payment import PAYMENT_SCHEMA, checked_payment
from models.services.reading.report import draft_report
from models.services.vision.heat import PLACE, heat_png, regions
from models.services.vision.pages import SIDE, Prepared, decode, prepare
from models.services.vision.prototypes import Prototypes, check_kind

F32 = npt.NDArray[np.float32]

FOLDER = "weir-vision-1"
CHUNK = 8
"""Squares of one run: 8 take about 250 MB of activations."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the network says of one picture."""

    forgery: F32  # (7,) probabilities, genuine first
    document: F32  # (5,)
    page_embedding: F32  # (128,)
    forensic_embedding: F32  # (64,)
    heat: F32  # (ceil(h / 8), ceil(w / 8)) log-odds


@dataclass(frozen=True, slots=True)
class Item:
    """One prepared instance."""

    page: Prepared
    payment: Mapping[str, Any] | None


class VisionModel(ServedModel):
    """Forged or genuine, kinds, embeddings; `enrol` makes a new version that knows a kind more.

    Enrolled kinds live in the process. The answer to `enrol` holds them as text; kept as `prototypes.json` in the
    model's folder they are there again at the next start, under the same version.
    """

    name = "vision"
    fields = (
        Field("image", FieldKind.IMAGE, description="A photograph or scan of a document."),
        Field(
            "payment",
            FieldKind.JSON,
            required=False,
            description="The payment, for the report.",
            json_schema=PAYMENT_SCHEMA,
        ),
    )
    outputs = (
        Output("forged_probability", "FP32", (), description="Probability that the picture was edited."),
        Output("is_forged", "BOOL", (), description="Whether that reaches the threshold of the model's card."),
        Output("forgery_kinds", "BYTES", (), is_json=True, description="Kinds of forgery, given that there is one."),
        Output("document_kinds", "BYTES", (), is_json=True, description="Kinds of documents, most probable first."),
        Output(
            "enrolled", "BYTES", (), is_json=True, description="Nearest enrolled kind of each aspect, and its cosine."
        ),
        Output("page_embedding", "FP32", (128,), description="Unit vector of the page's arrangement."),
        Output("forensic_embedding", "FP32", (64,), description="Features of the places that look edited."),
    )
    max_batch_size = 16

    def __init__(
        self,
        settings: ServiceSettings,
        prototypes: Prototypes | None = None,
        session: onnxruntime.InferenceSession | None = None,
    ) -> None:
        self._settings = settings
        self._folder: Path = settings.model_dir or settings.models_dir / FOLDER
        self._card: dict[str, Any] = json.loads((self._folder / "card.json").read_text())
        if prototypes is None:
            kept = self._folder / "prototypes.json"
            prototypes = Prototypes.from_json(kept.read_text()) if kept.exists() else Prototypes()
        self._prototypes = prototypes
        self._session = session
        self._reader: Reader | None = None
        self.version = str(self._card["version"]) + (f"-{prototypes.digest}" if prototypes.means else "")
        self.actions = {"enrol": self._enrol}

    @property
    def description(self) -> Mapping[str, Any]:
        """The model's card."""
        return self._card

    def load(self) -> None:
        """Open the graph and run it once."""
        if self._session is None:
            self._session = open_session(self._folder / "vision.onnx", self._settings)
        self._session.run(None, {"image": np.zeros((1, 3, SIDE, SIDE), np.uint8)})

    def preprocess(self, instance: Instance) -> Item:
        """Decode the picture and cut it into squares."""
        image: ImageContent = instance["image"]
        try:
            page = prepare(decode(image.content))
            payment = checked_payment(instance.get("payment"))
        except ValueError as cause:
            raise InvalidInstanceError(str(cause)) from cause
        return Item(page, payment)

    def predict(self, prepared: Sequence[Item]) -> Sequence[Prediction]:
        """Answer a batch."""
        return [self._prediction(seen) for seen in self.look(prepared)]

    def look(self, prepared: Sequence[Item]) -> list[Seen]:
        """Run the network over every square of a batch and put the squares of a picture together."""
        assert self._session is not None, "load() comes first"
        squares = np.concatenate([item.page.squares for item in prepared])
        parts = [self._session.run(None, {"image": squares[i : i + CHUNK]}) for i in range(0, len(squares), CHUNK)]
        forgery, document, page, forensic, heat = (np.concatenate([part[k] for part in parts]) for k in range(5))
        found, first = [], 0
        for item in prepared:
            rows = slice(first + item.page.is_tiled, first + len(item.page.squares))
            # An edit is in one tile: the most suspicious one speaks for the picture.
            worst = rows.start + int(np.argmin(forgery[rows, 0]))
            found.append(
                Seen(forgery[worst], document[first], page[first], forensic[worst], _joined(item.page, heat[rows]))
            )
            first += len(item.page.squares)
        return found

    def explain(self, prepared: Item, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return prediction, heat map, regions and the drafted report.

        `parameters["pixels"]` false leaves the PNG out; `parameters["read"]` false leaves OCR and the fields out.
        """
        seen = self.look([prepared])[0]
        prediction = self._prediction(seen)
        height, width = prepared.page.pixels.shape[:2]
        marked = regions(seen.heat, (width, height))
        checks, was_read = [], True
        if prepared.payment is not None and parameters.get("read", True):
            was_read = has_ocr()
            if was_read:
                if self._reader is None:
                    self._reader = Reader(self._settings.intra_op_threads or 1)
                checks = check_fields(prepared.payment, self._reader.read(prepared.page.pixels))
        report = draft_report(
            forged_probability=float(prediction["forged_probability"]),
            threshold=self.threshold,
            forgery_kinds=prediction["forgery_kinds"],
            document_kinds=prediction["document_kinds"],
            regions=marked,
            fields=checks,
            was_read=was_read,
        )
        answer: dict[str, Any] = {
            "prediction": {
                name: prediction[name] for name in ("forged_probability", "forgery_kinds", "document_kinds", "enrolled")
            },
            "regions": marked,
            "pixels_scale": round(1.0 / prepared.page.factor, 6),
            "report": report,
        }
        if parameters.get("pixels", True):
            png = heat_png(prepared.page.pixels, seen.heat)
            answer["heat_map"] = {"b64": base64.b64encode(png).decode(), "media_type": "image/png"}
        return answer

    @property
    def threshold(self) -> float:
        """Probability from which a picture counts as forged."""
        return float(self._card["thresholds"]["forged_probability"])

    def _prediction(self, seen: Seen) -> dict[str, Any]:
        genuine = float(seen.forgery[0])
        edited = seen.forgery[1:] / max(float(seen.forgery[1:].sum()), 1e-12)
        enrolled = {}
        for aspect, embedding in (("document", seen.page_embedding), ("forgery", seen.forensic_embedding)):
            nearest = self._prototypes.nearest(aspect, embedding)
            enrolled[aspect] = None if nearest is None else {"kind": nearest[0], "cosine": round(nearest[1], 4)}
        return {
            "forged_probability": np.float32(1.0 - genuine),
            "is_forged": bool(1.0 - genuine >= self.threshold),
            "forgery_kinds": _ranked(self._card["outputs"]["forgery"][1:], edited),
            "document_kinds": _ranked(self._card["outputs"]["document"], seen.document),
            "enrolled": enrolled,
            "page_embedding": seen.page_embedding.astype(np.float32),
            "forensic_embedding": seen.forensic_embedding.astype(np.float32),
        }

    def _enrol(self, instances: Sequence[Instance], parameters: Mapping[str, Any]) -> ActionResult:
        """Learn a kind from samples: `parameters` are `kind` and `aspect`, `document` (default) or `forgery`."""
        aspect = str(parameters.get("aspect", "document"))
        kind = str(parameters.get("kind", ""))
        try:
            check_kind(aspect, kind, len(instances))
        except ValueError as cause:
            raise InvalidInstanceError(str(cause)) from cause
        seen = self.look([self.preprocess(instance) for instance in instances])
        vectors = np.stack([s.page_embedding if aspect == "document" else s.forensic_embedding for s in seen])
        grown = self._prototypes.with_kind(aspect, kind, vectors)
        model = VisionModel(self._settings, grown, self._session)
        model.load()
        kinds = [{"aspect": of, "kind": kind} for of, kind in sorted(grown.means)]
        return ActionResult({"version": model.version, "kinds": kinds, "prototypes": grown.to_json()}, model)


def _joined(page: Prepared, heat: F32) -> F32:
    """Put the maps of tiles together, the larger value where they overlap."""
    height, width = page.pixels.shape[:2]
    whole = np.full((-(-height // PLACE), -(-width // PLACE)), -30.0, np.float32)
    for (x, y), tile in zip(page.corners, heat, strict=True):
        part = whole[y // PLACE : y // PLACE + tile.shape[0], x // PLACE : x // PLACE + tile.shape[1]]
        np.maximum(part, tile[: part.shape[0], : part.shape[1]], out=part)
    return whole


def _ranked(names: Sequence[str], probabilities: F32) -> list[dict[str, Any]]:
    order = np.argsort(-probabilities, kind="stable")
    return [{"kind": names[int(i)], "probability": round(float(probabilities[int(i)]), 6)} for i in order]
