"""The shipped model as a per-event program runs it: both ONNX graphs on a batch of one, and their calibrated stack."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import onnxruntime

PROBABILITY_FLOOR = 1e-7


class ShippedModel:
    """Scores single rows of features. Make one per process.

    Parameters
    ----------
    folder
        Of the model's card.
    """

    def __init__(self, folder: Path) -> None:
        text = (folder / "card.json").read_bytes()
        card = json.loads(text)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.names: list[str] = card["features"]
        self.feature_set: str = card["feature_set"]
        self.thresholds: tuple[float, float] = (card["thresholds"]["review"], card["thresholds"]["decline"])
        self.named = {
            "model_name": card["name"],
            "model_version": card["version"],
            "model_sha256": hashlib.sha256(text).hexdigest(),
        }
        combination = dict(card["combination"])
        self._intercept = combination.pop("intercept")
        self._parts = [
            (onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options), weight)
            for name, weight in combination.items()
        ]

    def probability(self, X: Any) -> float:
        """Return the probability of fraud of (1, F) float32 features; NaN is missing."""
        log_odds = self._intercept
        for session, weight in self._parts:
            p = float(session.run(["fraud_probability"], {"features": X})[0].reshape(-1)[0])
            p = min(max(p, PROBABILITY_FLOOR), 1 - PROBABILITY_FLOOR)
            log_odds += weight * math.log(p / (1 - p))
        return 1 / (1 + math.exp(-log_odds))
