"""A compiled network answers with the bits of its graph; whatever is not known to is left to the graph."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring.model import ScoringModel, _session
from models.scoring.network_scorer import NetworkScorer, logarithms, rows_to_compare
from models.scoring.onnx_graph import OnnxGraph
from schemas.columns import F32

SHIPPED = Path(__file__).parents[3] / "models" / "shipped" / "weir-1"
GRAPH = (SHIPPED / "mlp.onnx").read_bytes()
FEATURES = len(json.loads((SHIPPED / "card.json").read_text())["features"])

values = st.one_of(
    st.just(float("nan")),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-38, 1e-7, 3.4e38, -3.4e38, 2.0**24]),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.integers(0, 10_000).map(float),
    st.floats(0, 1e7, width=32),
)


def bits(probabilities: F32) -> list[int]:
    """Probabilities as whole numbers: equal only where every bit is."""
    found: list[int] = np.ascontiguousarray(probabilities, np.float32).view(np.uint32).tolist()
    return found


@pytest.fixture(scope="module")
def scorer() -> NetworkScorer:
    compiled = NetworkScorer.compile(GRAPH, _session)
    assert compiled is not None, "the shipped network's preprocessing is not compiled: has ONNX Runtime changed?"
    return compiled


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_answers_are_the_graphs_bit_for_bit(scorer: NetworkScorer, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 9))
    seeds = data.draw(st.lists(values, min_size=1, max_size=64))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    X = rng.choice(np.array(seeds, np.float32), (rows, FEATURES))
    assert bits(scorer(X)) == bits(scorer.whole(X))


def test_many_rows_of_usual_sizes_agree_bit_for_bit(scorer: NetworkScorer) -> None:
    X = np.roll(rows_to_compare(FEATURES), 7, axis=1)  # other numbers in each column than when it was compiled
    for start in range(0, len(X), 511):
        part = X[start : start + 511]
        assert bits(scorer(part)) == bits(scorer.whole(part))


def test_rows_with_an_infinite_feature_are_left_to_the_graph(scorer: NetworkScorer) -> None:
    X = rows_to_compare(FEATURES)[:8].copy()
    X[3, 5], X[6, 0] = np.inf, -np.inf
    assert bits(scorer(X)) == bits(scorer.whole(X))


def test_the_logarithm_is_within_three_units_in_the_last_place() -> None:
    x = np.concatenate([np.float32(1) + np.arange(2_000, dtype=np.float32) / 997, np.logspace(0, 38, 5_000)])
    x = x.astype(np.float32)
    found = np.empty_like(x)
    logarithms(x, found)
    exact = np.log(x.astype(np.float64))
    assert np.all(np.abs(found - exact) <= 3 * np.spacing(np.maximum(exact, 1e-7).astype(np.float32)))


def test_a_graph_of_another_form_is_left_to_onnx_runtime() -> None:
    assert NetworkScorer.compile((SHIPPED / "gbm.onnx").read_bytes(), _session) is None


@pytest.mark.parametrize("place", range(16))
def test_a_graph_that_does_another_thing_is_left_to_onnx_runtime(place: int) -> None:
    graph = OnnxGraph(GRAPH)
    graph._model.graph.node[place].op_type = "Neg"
    assert NetworkScorer.compile(graph._model.SerializeToString(), _session) is None


def test_a_graph_whose_constants_are_not_the_expected_ones_is_left_to_onnx_runtime() -> None:
    graph = OnnxGraph(GRAPH)
    for tensor in graph._model.graph.initializer:
        if tensor.name == graph.nodes[2].inputs[1]:  # what stands for a missing value
            tensor.raw_data = np.float32(1.0).tobytes()
    assert NetworkScorer.compile(graph._model.SerializeToString(), _session) is None


def test_a_preprocessing_that_gives_other_bits_is_left_to_onnx_runtime() -> None:
    def load(content: bytes) -> Any:
        session = _session(content)
        return session if content == GRAPH else _Nudged(session.run)

    assert NetworkScorer.compile(GRAPH, load) is None


class _Nudged:
    """Runs a graph and changes the last bit of one answer."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run

    def run(self, *arguments: Any) -> list[F32]:
        (found,) = self._run(*arguments)
        found = found.copy()
        found[-1] = np.nextafter(found[-1], np.float32(2))
        return [found]


def test_a_model_whose_network_is_left_to_the_graph_scores_alike(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(SHIPPED, folder)
    graph = OnnxGraph(GRAPH)
    nodes = list(graph._model.graph.node)
    nodes[1], nodes[2] = nodes[2], nodes[1]  # the same in another order is another form
    del graph._model.graph.node[:]
    graph._model.graph.node.extend(nodes)
    content = graph._model.SerializeToString()
    (folder / "mlp.onnx").write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    card["files"]["mlp.onnx"] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    assert NetworkScorer.compile(content, _session) is None
    X = rows_to_compare(FEATURES)[:1_001]
    assert bits(ScoringModel.load(folder).predict(X)) == bits(ScoringModel.load(SHIPPED).predict(X))
