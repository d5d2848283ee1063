"""The model's directory: graphs, trees, drift reference, and the card that says what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from models.features.drift_reference import Reference
from models.scoring.attribution import Trees
from models.training.drift_reference import add_reference, write_card


def write_model(
    directory: Path, graphs: dict[str, onnx.ModelProto], trees: Trees, reference: Reference, card: dict[str, Any]
) -> None:
    """Write graphs, trees, drift reference and card; the card last, with the SHA-256 of every other file."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, graph in graphs.items():
        (directory / f"{name}.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    arrays = {name: getattr(trees, name) for name in Trees.__slots__}
    np.savez_compressed(directory / "trees.npz", **arrays)
    write_card(directory, card, [*(f"{name}.onnx" for name in graphs), "trees.npz"])
    add_reference(directory, reference)
