"""A DeBERTa-v3 folder in MiniLM's place: exported, with a head of its own, served by configuration."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="other encoders than BERT are exported by torch")
pytest.importorskip("transformers", reason="and read by transformers, which no extra of ours asks for")
pytest.importorskip("onnx")
pytest.importorskip("sklearn")

import torch
from transformers import DebertaV2Config, DebertaV2Model

from models.services.base.dataplane.dataplane import Dataplane
from models.services.base.dataplane.request import ModelRequest
from models.services.base.settings import ServiceSettings
from models.services.text import served_models
from models.services.text.tokens import TextTokenizer
from models.training.text.__main__ import build

SHIPPED_TOKENIZER = Path(__file__).parents[4] / "models" / "shipped" / "text-1" / "tokenizer.json"


def test_a_deberta_folder_is_exported_and_served(tmp_path: Path) -> None:
    config = DebertaV2Config(
        vocab_size=30_522,
        hidden_size=768,
        num_hidden_layers=1,
        num_attention_heads=12,
        intermediate_size=64,
        max_position_embeddings=64,
        relative_attention=True,
        position_buckets=16,
        pos_att_type=["p2c", "c2p"],
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
        type_vocab_size=0,
    )
    torch.manual_seed(1)
    source, out = tmp_path / "deberta", tmp_path / "text"
    network = DebertaV2Model(config).eval()
    network.save_pretrained(source)
    (source / "tokenizer.json").write_bytes(SHIPPED_TOKENIZER.read_bytes())
    build(source, out, scale=0.1)
    assert json.loads((out / "card.json").read_text())["dimensions"] == 768

    settings = ServiceSettings(model_dir=out)

    async def story() -> None:
        dataplane = Dataplane(served_models(settings), settings)
        await dataplane.load()
        answer = await dataplane.answer(ModelRequest("text", [{"text": "rent march"}, {"text": "invoice 4711 pumps"}]))
        tokenizer = TextTokenizer(SHIPPED_TOKENIZER, 64)
        ids = torch.tensor([tokenizer.tokenize("rent march").ids])
        with torch.no_grad():
            mean = network(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(dim=1)[0]
        expected = (mean / mean.norm()).numpy()
        assert answer.results[0]["embedding"] @ expected == pytest.approx(1.0, abs=1e-4)
        await dataplane.close()

    asyncio.run(story())
