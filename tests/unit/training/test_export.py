"""Training and export on small data; needs the train extra."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightgbm", reason="the train extra is not installed")
pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("onnx", reason="the train extra is not installed")

from models.scoring.model import ScoringModel, read_reference
from models.training import drift_reference
from models.training.__main__ import main
from models.training.config import NetworkSettings, TreeSettings
from models.training.export import check_parity, hard_rows, network_to_onnx, probability, session
from models.training.network import fit_network, network_probability
from models.training.trees import fit_trees, flatten, round_down, trees_to_onnx

FEATURES = 5
REPOSITORY = Path(__file__).parents[3]


def some_data(rows: int = 4_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with missing values in feature 0, none in 1, a constant in 3, nothing at all in 4."""
    rng = np.random.default_rng(seed)
    X = rng.lognormal(0.0, 1.0, (rows, FEATURES)).astype(np.float32)
    X[:, 1] -= 2.0
    fraud = rng.random(rows) < 1 / (1 + np.exp(3 - X[:, 0] - X[:, 1]))
    X[rng.random(rows) < 0.3, 0] = np.nan
    X[:, 3], X[:, 4] = 7.0, np.nan
    return X, fraud, np.ones(rows, np.float32)


@pytest.fixture(scope="module")
def booster():
    X, fraud, weight = some_data()
    return fit_trees(TreeSettings(trees=25, leaves=12, min_leaf=10), X, fraud, weight)


def test_the_tree_graph_answers_as_lightgbm_also_next_to_thresholds_and_without_values(booster) -> None:
    trees = flatten(booster)
    X = hard_rows(some_data(seed=1)[0], trees, 4_000)
    X[:1_000][np.random.default_rng(2).random((1_000, FEATURES)) < 0.4] = np.nan
    parity = check_parity("gbm", session(trees_to_onnx(trees, FEATURES)), X, booster.predict(X.astype(np.float64)))
    assert parity.rows == 4_000


def test_path_attribution_adds_up_to_the_raw_prediction(booster) -> None:
    trees = flatten(booster)
    X = hard_rows(some_data(seed=1)[0], trees, 500)
    raw = booster.predict(X.astype(np.float64), raw_score=True)
    assert np.allclose(trees.contributions(X).sum(axis=1) + trees.base_value, raw, atol=1e-9)


def test_expected_values_of_the_roots_are_those_of_lightgbm(booster) -> None:
    exact = booster.predict(some_data()[0][:5].astype(np.float64), pred_contrib=True)
    assert flatten(booster).base_value == pytest.approx(exact[0, -1], abs=1e-9)


def test_rounding_down_keeps_every_comparison() -> None:
    thresholds = np.random.default_rng(0).normal(size=1_000) * 100
    rounded = round_down(thresholds)
    for candidate in (rounded, np.nextafter(rounded, np.float32(np.inf)), np.nextafter(rounded, np.float32(-np.inf))):
        assert np.array_equal(candidate.astype(np.float64) <= thresholds, candidate <= rounded)


def test_the_network_graph_answers_as_torch_and_ignores_what_training_never_saw() -> None:
    X, fraud, weight = some_data()
    network = fit_network(NetworkSettings(hidden=(8,), epochs=2, batch_size=256), X, fraud, weight)
    graph = session(network_to_onnx(network, FEATURES))
    X[0] = np.nan
    X[1] = 3e38
    check_parity("mlp", graph, X, network_probability(network, X))
    changed = X.copy()
    changed[:, 3:] = 1e6
    changed[0, 3:] = np.nan
    assert np.array_equal(probability(graph, X), probability(graph, changed))


def test_the_same_seed_gives_the_same_network() -> None:
    X, fraud, weight = some_data(1_000)
    settings = NetworkSettings(hidden=(8,), epochs=1, batch_size=256)
    first, second = (network_probability(fit_network(settings, X, fraud, weight), X) for _ in range(2))
    assert np.array_equal(first, second)


def test_the_command_builds_a_model_that_scoring_loads_and_a_report(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "models.training", "--quick", "--no-sizes"]
    command += ["--out", str(tmp_path / "model"), "--docs", str(tmp_path / "docs")]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    model = ScoringModel.load(tmp_path / "model")
    assert model.predict(np.zeros((3, len(model.feature_names)), np.float32)).shape == (3,)
    reference = read_reference(tmp_path / "model")
    assert reference is not None
    before = (tmp_path / "model" / "card.json").read_bytes()
    (tmp_path / "model" / "drift_reference.npz").unlink()
    assert drift_reference.main(["--quick", "--out", str(tmp_path / "model")]) == 0
    assert (tmp_path / "model" / "card.json").read_bytes() == before
    assert read_reference(tmp_path / "model").to_bytes() == reference.to_bytes()  # type: ignore[union-attr]
    assert "## Calibration" in (tmp_path / "docs" / "models.md").read_text()


def test_a_toy_model_cannot_replace_the_shipped_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--quick"])
    assert "--out" in capsys.readouterr().err
