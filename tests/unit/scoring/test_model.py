from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models.features.drift_reference import Reference
from models.scoring.errors import ModelError
from models.scoring.model import REFERENCE_FILE, ScoringModel, Thresholds, read_reference

MODEL = Path(__file__).parents[2] / "data" / "scoring-model"


@pytest.fixture(scope="module")
def model() -> ScoringModel:
    return ScoringModel.load(MODEL)


def some_features(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.lognormal(0.0, 1.0, (rows, 6)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    return X


def a_copy(tmp_path: Path, **card_changes: object) -> Path:
    """Copy the model; a change of None removes the card's key."""
    directory = tmp_path / "model"
    shutil.copytree(MODEL, directory)
    card = json.loads((directory / "card.json").read_text()) | card_changes
    (directory / "card.json").write_text(json.dumps({k: v for k, v in card.items() if v is not None}))
    return directory


def logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.log(p / (1 - p))


def test_score_is_the_stack_that_the_card_describes(model: ScoringModel) -> None:
    X = some_features(500)
    weights = model.card["combination"]
    log_odds = np.full(500, weights["intercept"])
    for part in ("gbm", "mlp"):
        session = onnxruntime.InferenceSession(MODEL / f"{part}.onnx", providers=["CPUExecutionProvider"])
        log_odds += weights[part] * logit(session.run(["fraud_probability"], {"features": X})[0].reshape(-1))
    expected = 1 / (1 + np.exp(-log_odds))
    score = model.predict(X)
    assert score.dtype == np.float32
    assert np.allclose(score, expected, atol=1e-6)
    assert len(np.unique(score)) > 100


def test_score_of_a_row_does_not_depend_on_its_batch(model: ScoringModel) -> None:
    X = some_features(700)
    whole = model.predict(X)
    for size in (1, 2, 3, 7, 8, 33, 256, 699):
        parts = [model.predict(X[at : at + size]) for at in range(0, len(X), size)]
        assert np.array_equal(np.concatenate(parts), whole), f"batches of {size}"


def test_score_accepts_columns_picked_from_a_wider_matrix_and_an_empty_batch(model: ScoringModel) -> None:
    wide = np.asfortranarray(some_features(50).repeat(2, axis=1))
    assert np.array_equal(model.predict(wide[:, ::2]), model.predict(some_features(50)))
    assert model.predict(np.zeros((0, 6), np.float32)).shape == (0,)


def test_certain_parts_give_a_finite_score(model: ScoringModel) -> None:
    X = np.full((4, 6), 1e30, np.float32)
    X[1] = -1e30
    X[2] = np.nan
    score = model.predict(X)
    assert np.all((score >= 0) & (score <= 1))


def test_contributions_and_base_value_add_up_to_the_tree_parts_log_odds(model: ScoringModel) -> None:
    X = some_features(300)
    session = onnxruntime.InferenceSession(MODEL / "gbm.onnx", providers=["CPUExecutionProvider"])
    raw = logit(session.run(["fraud_probability"], {"features": X})[0].reshape(-1))
    assert np.ptp(raw) > 1
    weight = model.card["combination"]["gbm"]
    total = model.contributions(X).sum(axis=1) + weight * model._trees.base_value
    assert np.allclose(total, weight * raw, atol=1e-4)  # float32 probabilities near 0 cost digits


def test_contributions_credit_what_moved_the_score(model: ScoringModel) -> None:
    X = np.repeat(model.usual_values[np.newaxis], 2, axis=0)
    X[1, model.feature_names.index("amount_zscore_30d")] = 5.0
    usual, unusual = model.contributions(X)
    assert model.feature_names[int(np.argmax(unusual - usual))] == "amount_zscore_30d"


def test_thresholds_and_usual_values_come_from_the_card(model: ScoringModel) -> None:
    assert model.thresholds.review == model.card["thresholds"]["review"]
    assert model.usual_values.shape == (6,)
    assert len(model.card_sha256) == 64


def test_usual_value_is_nan_where_the_card_has_none(tmp_path: Path) -> None:
    model = ScoringModel.load(a_copy(tmp_path, usual_values={"amount": 10.0, "pair_is_new": None}))
    assert model.usual_values[0] == 10.0
    assert np.isnan(model.usual_values[1:]).all()


@pytest.mark.parametrize("name", ["gbm.onnx", "mlp.onnx", "trees.npz"])
def test_an_altered_file_is_refused(tmp_path: Path, name: str) -> None:
    directory = a_copy(tmp_path)
    content = bytearray((directory / name).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name}: SHA-256"):
        ScoringModel.load(directory)


def test_a_missing_card_or_file_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="make models"):
        ScoringModel.load(tmp_path)
    directory = a_copy(tmp_path)
    (directory / "mlp.onnx").unlink()
    with pytest.raises(ModelError, match=r"mlp\.onnx.*make models"):
        ScoringModel.load(directory)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": None}, "'thresholds' is missing"),
        ({"thresholds": {"review": 0.9, "decline": 0.5}}, "review <= decline"),
        ({"combination": {"gbm": 1.0, "other": 1.0, "intercept": 0.0}}, r"other\.onnx"),
        ({"combination": {"mlp": 1.0, "intercept": 0.0}}, "'gbm'"),
        ({"features": ["amount"]}, "features below 1"),
        ({"features": [f"f{i}" for i in range(9)]}, "9 columns"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ScoringModel.load(a_copy(tmp_path, **changes))


def test_a_card_that_is_no_json_is_refused(tmp_path: Path) -> None:
    directory = a_copy(tmp_path)
    (directory / "card.json").write_text("{")
    with pytest.raises(ModelError, match="not JSON"):
        ScoringModel.load(directory)


def test_thresholds_must_rise() -> None:
    with pytest.raises(ModelError):
        Thresholds(review=0.0, decline=0.5)


def with_reference(tmp_path: Path, features: int = 6) -> Path:
    names = tuple(json.loads((MODEL / "card.json").read_text())["features"])[:features]
    blob = Reference.of(names, some_features(50)[:, :features], np.zeros(50, np.int64)).to_bytes()
    files = json.loads((MODEL / "card.json").read_text())["files"]
    directory = a_copy(tmp_path, files=files | {REFERENCE_FILE: hashlib.sha256(blob).hexdigest()})
    (directory / REFERENCE_FILE).write_bytes(blob)
    return directory


def test_a_model_may_bring_a_drift_reference(tmp_path: Path) -> None:
    directory = with_reference(tmp_path)
    reference = read_reference(directory)
    assert reference is not None
    assert reference.names == ScoringModel.load(directory).feature_names
    assert read_reference(MODEL) is None


def test_an_altered_drift_reference_is_refused(tmp_path: Path) -> None:
    directory = with_reference(tmp_path)
    with (directory / REFERENCE_FILE).open("ab") as file:
        file.write(b"x")
    for read in (read_reference, ScoringModel.load):
        with pytest.raises(ModelError, match="SHA-256"):
            read(directory)


def test_a_drift_reference_of_other_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="other features"):
        read_reference(with_reference(tmp_path, features=5))
