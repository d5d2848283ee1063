"""The encoder's graph against the formulas it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="graphs are made with the training packages")

import onnxruntime

from models.training.text.encoder_graph import BertConfig, build_encoder, quantise_rows
from models.training.text.encoder_weights import read_safetensors
from tests.unit.training.text.tiny_bert import CONFIG, POSITIONS, WORDS, embed_plainly, tiny_weights, write_safetensors

texts = st.lists(st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=POSITIONS), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def sessions() -> dict[bool, Any]:
    made = {}
    for is_int8 in (False, True):
        content = build_encoder(tiny_weights(), CONFIG, is_int8=is_int8).SerializeToString()
        made[is_int8] = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return made


def embed(session: Any, batch: list[list[int]]) -> np.ndarray:
    longest = max(len(ids) for ids in batch)
    padded = np.full((len(batch), longest), WORDS - 1, np.int64)
    mask = np.zeros_like(padded)
    for row, ids in enumerate(batch):
        padded[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return session.run(["embedding"], {"input_ids": padded, "attention_mask": mask})[0]


@settings(deadline=None, max_examples=50)
@given(batch=texts)
def test_the_graph_computes_what_the_paper_says(sessions: dict[bool, Any], batch: list[list[int]]) -> None:
    expected = np.stack([embed_plainly(tiny_weights(), ids) for ids in batch])
    # float32 against float64, over two layers
    np.testing.assert_allclose(embed(sessions[False], batch), expected, atol=2e-5)


@settings(deadline=None, max_examples=50)
@given(batch=texts)
def test_integers_come_close(sessions: dict[bool, Any], batch: list[list[int]]) -> None:
    cosines = (embed(sessions[True], batch) * embed(sessions[False], batch)).sum(axis=1)
    assert cosines.min() > 0.98


@settings(deadline=None, max_examples=50)
@given(batch=texts)
def test_a_vector_does_not_depend_on_the_neighbours(sessions: dict[bool, Any], batch: list[list[int]]) -> None:
    for session in sessions.values():
        together = embed(session, batch)
        for row, ids in enumerate(batch):
            # Not bit for bit: how a product is summed may depend on the number of rows.
            np.testing.assert_allclose(together[row], embed(session, [ids])[0], atol=1e-5)


@given(st.integers(0, 2**32 - 1))
def test_quantised_rows_are_off_by_half_a_step_at_most(seed: int) -> None:
    weight = np.random.default_rng(seed).normal(0, 1, (5, 7)).astype(np.float32)
    weight[0] = 0
    values, scales = quantise_rows(weight)
    assert (np.abs(values * scales[:, None] - weight) <= scales[:, None] * 0.501).all()


def test_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "w", tiny_weights())
    read = read_safetensors(tmp_path / "w")
    assert read.keys() == tiny_weights().keys()
    for name, array in tiny_weights().items():
        np.testing.assert_array_equal(read[name], array)


def test_other_architectures_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="deberta-v2"):
        BertConfig.from_json({"model_type": "deberta-v2", "hidden_act": "gelu"})
