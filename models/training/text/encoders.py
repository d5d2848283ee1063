"""Encoders by the folder they lie in: BERT-class ones are built here, others are exported by torch.

A folder holds config.json, model.safetensors and tokenizer.json, as Hugging Face lays them out.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from models.training.text.encoder_graph import BertConfig, build_encoder
from models.training.text.encoder_weights import read_safetensors

MAX_TOKENS = 256  # what MiniLM was trained with; memos are far shorter


@dataclass(frozen=True)
class Encoder:
    """Graphs of one encoder by form (float32, int8), and how to read for it."""

    graphs: Mapping[str, onnx.ModelProto]
    max_tokens: int
    padding_id: int
    description: str


def open_encoder(folder: Path) -> Encoder:
    """Make the graphs of the encoder in a folder."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    padding_id = int(config.get("pad_token_id") or 0)
    max_tokens = min(MAX_TOKENS, int(config["max_position_embeddings"]))
    kind = str(config["model_type"])
    name = f"{config.get('_name_or_path') or folder.name} ({kind}, {config['hidden_size']}-d)"
    if kind == "bert":
        weights, sizes = read_safetensors(folder / "model.safetensors"), BertConfig.from_json(config)
        graphs = {
            "float32": build_encoder(weights, sizes, is_int8=False),
            "int8": build_encoder(weights, sizes, is_int8=True),
        }
        return Encoder(graphs, max_tokens, padding_id, name)
    return Encoder({"float32": _export(folder)}, max_tokens, padding_id, name)


def _export(folder: Path) -> onnx.ModelProto:
    """Export any encoder that the library transformers knows, such as DeBERTa-v3, with the mean over its tokens."""
    import torch
    from transformers import AutoModel

    class MeanOfTokens(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, H)
            mean = (states * attention_mask[..., None]).sum(dim=1)  # (B, H)
            return torch.nn.functional.normalize(mean, dim=1)

    ids = torch.ones((2, 8), dtype=torch.int64)
    file = io.BytesIO()
    sizes = {0: "batch", 1: "tokens"}
    torch.onnx.export(
        MeanOfTokens().eval(),
        (ids, torch.ones_like(ids)),
        file,
        input_names=["input_ids", "attention_mask"],
        output_names=["embedding"],
        dynamic_axes={"input_ids": sizes, "attention_mask": sizes, "embedding": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    return onnx.load_from_string(file.getvalue())
