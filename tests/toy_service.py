"""A model without weights, for tests of what stands before it: every answer can be worked out by hand."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from models.services.base.errors import InvalidInstanceError
from models.services.base.model import ActionResult, Field, FieldKind, Instance, Output, Prediction, ServedModel


class ToyModel(ServedModel):
    """Counts characters and pixels; the memo 'fail' makes its batch fail, 'wait' waits for `gate`."""

    name = "toy"
    fields = (
        Field("memo", FieldKind.TEXT),
        Field("image", FieldKind.IMAGE, required=False),
        Field("payment", FieldKind.JSON, required=False, json_schema={"type": "object"}),
    )
    outputs = (
        Output("length", "INT64"),
        Output("half", "FP32", (2,)),
        Output("echo", "BYTES"),
        Output("payment", "BYTES", is_json=True),
    )
    max_batch_size = 8

    def __init__(self, version: str = "1") -> None:
        self.version = version
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.predicting = threading.Event()
        self.loaded = False
        self.closed = False
        self.actions = {"learn": self._learn}

    def load(self) -> None:
        self.loaded = True

    def preprocess(self, instance: Instance) -> Any:
        if instance["memo"] == "unusable":
            raise InvalidInstanceError("the memo cannot be used: send another")
        if not isinstance(instance.get("payment", {}), dict):
            raise InvalidInstanceError("the payment should be an object")
        if instance["memo"] == "crash":
            raise RuntimeError("a fault of the model")
        return instance

    def predict(self, prepared: Sequence[Any]) -> Sequence[Prediction]:
        self.batches.append(len(prepared))
        self.predicting.set()
        memos = [one["memo"] for one in prepared]
        if "wait" in memos:
            self.gate.wait(600)
        if "fail" in memos:
            raise RuntimeError("the batch fails")
        return [self._predict(one) for one in prepared]

    def _predict(self, instance: Instance) -> Prediction:
        if instance["memo"] == "lie":
            return {"length": 1}
        length = len(instance["memo"])
        image = instance.get("image")
        return {
            "length": length,
            "half": np.array([length / 2, image.width if image else 0], np.float32),
            "echo": instance["memo"],
            "payment": instance.get("payment"),
        }

    def explain(self, prepared: Any, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"memo": prepared["memo"], "parameters": dict(parameters)}

    def _learn(self, instances: Sequence[Instance], parameters: Mapping[str, Any]) -> ActionResult:
        grown = ToyModel(f"{self.version}.{parameters.get('tag', 'x')}")
        grown.load()
        return ActionResult({"learned": len(instances)}, grown)

    def close(self) -> None:
        self.closed = True


def an_image(kind: str = "PNG", size: tuple[int, int] = (40, 30), seed: int = 1, **options: Any) -> bytes:
    """An image file with content that looks like one: noise on a slope."""
    generator = np.random.default_rng(seed)
    width, height = size
    pixels = np.add.outer(np.arange(height), np.arange(width))[..., None] * np.ones(3) + generator.normal(
        0, 12, (height, width, 3)
    )
    file = io.BytesIO()
    Image.fromarray((pixels % 256).astype(np.uint8), "RGB").save(file, kind, **options)
    return file.getvalue()


if __name__ == "__main__":
    from models.services.base.process import run_service
    from models.services.base.settings import ServiceSettings

    raise SystemExit(run_service("toy", [ToyModel()], ServiceSettings()))
