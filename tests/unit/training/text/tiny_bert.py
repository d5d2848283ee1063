"""A tiny encoder with random weights, in a folder and in plain NumPy."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np

from models.training.text.encoder_graph import BertConfig
from models.training.text.encoder_weights import Weights

CONFIG = BertConfig(layers=2, hidden=16, heads=4, epsilon=1e-12)
WORDS, POSITIONS, WIDE = 40, 24, 32


def tiny_weights(seed: int = 3) -> Weights:
    draw = np.random.default_rng(seed)

    def matrix(*shape: int) -> np.ndarray:
        return draw.normal(0, 0.3, shape).astype(np.float32)

    hidden = CONFIG.hidden
    weights: Weights = {
        "embeddings.word_embeddings.weight": matrix(WORDS, hidden),
        "embeddings.position_embeddings.weight": matrix(POSITIONS, hidden),
        "embeddings.token_type_embeddings.weight": matrix(2, hidden),
    }
    norms = ["embeddings.LayerNorm"]
    for index in range(CONFIG.layers):
        place = f"encoder.layer.{index}"
        shapes = {f"attention.self.{part}": (hidden, hidden) for part in ("query", "key", "value")}
        shapes |= {"attention.output.dense": (hidden, hidden), "intermediate.dense": (WIDE, hidden)}
        shapes["output.dense"] = (hidden, WIDE)
        for name, shape in shapes.items():
            weights[f"{place}.{name}.weight"] = matrix(*shape)
            weights[f"{place}.{name}.bias"] = matrix(shape[0])
        norms += [f"{place}.attention.output.LayerNorm", f"{place}.output.LayerNorm"]
    for name in norms:
        weights[f"{name}.weight"] = 1 + matrix(hidden)
        weights[f"{name}.bias"] = matrix(hidden)
    return weights


def embed_plainly(weights: Weights, ids: list[int]) -> np.ndarray:
    """The paper's formulas for one text, in float64."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + CONFIG.epsilon)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm("embeddings.LayerNorm", x + w["embeddings.token_type_embeddings.weight"][0])
    size = CONFIG.hidden // CONFIG.heads
    for index in range(CONFIG.layers):
        place = f"encoder.layer.{index}"
        q, k, v = (linear(f"{place}.attention.self.{part}", x) for part in ("query", "key", "value"))
        heads = []
        for first in range(0, CONFIG.hidden, size):
            part = slice(first, first + size)
            scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(size))
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ v[:, part])
        y = linear(f"{place}.attention.output.dense", np.concatenate(heads, axis=1))
        x = norm(f"{place}.attention.output.LayerNorm", x + y)
        wide = linear(f"{place}.intermediate.dense", x)
        wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        x = norm(f"{place}.output.LayerNorm", x + linear(f"{place}.output.dense", wide))
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def write_safetensors(path: Path, weights: Weights) -> None:
    header, data = {}, b""
    for name, array in weights.items():
        content = array.tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(content)],
        }
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
