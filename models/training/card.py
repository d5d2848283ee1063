"""The model's directory: graphs, trees, and the card that says what they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from models.scoring.attribution import Trees

SHIPPED = Path(__file__).resolve().parents[1] / "shipped" / "weir-1"


def write_model(directory: Path, graphs: dict[str, onnx.ModelProto], trees: Trees, card: dict[str, Any]) -> None:
    """Write graphs, trees and card; the card last, with the SHA-256 of every other file."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, graph in graphs.items():
        (directory / f"{name}.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    arrays = {name: getattr(trees, name) for name in Trees.__slots__}
    np.savez_compressed(directory / "trees.npz", **arrays)
    names = [*(f"{name}.onnx" for name in graphs), "trees.npz"]
    files = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}
    text = json.dumps({**card, "files": files}, indent=2, allow_nan=False)
    (directory / "card.json").write_text(text + "\n")
