"""Train the tiny model under `scoring-model/` that the scoring tests load.

Run with the `train` extra installed: `python tests/data/make_scoring_model.py`. A gradient-boosted ensemble and a
network of one hidden layer learn synthetic transactions on which fraud is likely where amounts are unusual, counts are
high or the pair is new; a few features are missing here and there. The parity with ONNX Runtime is checked on the spot.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

OUT = Path(__file__).parent / "scoring-model"
FEATURES = (
    "amount",
    "account_out_count_1h",
    "amount_zscore_30d",
    "pair_is_new",
    "account_pass_through_1d",
    "device_distinct_accounts_7d",
)


def synthetic_transactions(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (rows, 6) with missing values, and whether each row is fraud (about 5%)."""
    rng = np.random.default_rng(seed)
    X = np.stack(
        [
            rng.lognormal(3.5, 1.0, rows),
            rng.poisson(1.5, rows),
            rng.normal(0.0, 1.5, rows),
            rng.integers(0, 2, rows),
            rng.exponential(0.5, rows),
            1 + rng.poisson(0.3, rows),
        ],
        axis=1,
    ).astype(np.float32)
    log_odds = -6.5 + 0.8 * X[:, 2] + 0.6 * X[:, 1] + 1.2 * X[:, 3] + 0.5 * X[:, 4] + 0.9 * (X[:, 5] - 1)
    is_fraud = rng.random(rows) < 1.0 / (1.0 + np.exp(-log_odds))
    X[:, [2, 4, 5]] = np.where(rng.random((rows, 3)) < 0.1, np.nan, X[:, [2, 4, 5]])
    return X, is_fraud


def tree_arrays(booster: lightgbm.Booster) -> dict[str, np.ndarray]:
    """Flatten the booster's trees for `models.scoring.attribution.Trees`: parents before children."""
    rows: list[list[float]] = []
    roots = []

    def add(node: dict) -> int:
        index = len(rows)
        if "leaf_index" in node or "split_feature" not in node:
            rows.append([-1, 0.0, -1, -1, node["leaf_value"], 0])
            return index
        rows.append([])
        assert node["decision_type"] == "<="
        # Without missing values in training, LightGBM reads NaN as 0.
        missing_left = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0
        left, right = add(node["left_child"]), add(node["right_child"])
        threshold = float(np.float32(node["threshold"]))
        rows[index] = [node["split_feature"], threshold, left, right, node["internal_value"], int(missing_left)]
        return index

    for tree in booster.dump_model()["tree_info"]:
        roots.append(add(tree["tree_structure"]))
    table = np.array(rows)
    return {
        "feature": table[:, 0].astype(np.int32),
        "threshold": table[:, 1].astype(np.float32),
        "left": table[:, 2].astype(np.int32),
        "right": table[:, 3].astype(np.int32),
        "value": table[:, 4],
        "default_left": table[:, 5].astype(np.uint8),
        "roots": np.array(roots, np.int32),
    }


def gbm_graph(booster: lightgbm.Booster) -> onnx.ModelProto:
    """Convert to ONNX with `features` in and the fraud class's probability alone out."""
    model = convert_lightgbm(
        booster, initial_types=[("features", FloatTensorType([None, len(FEATURES)]))], zipmap=False, target_opset=15
    )
    probabilities = next(output.name for output in model.graph.output if "prob" in output.name)
    model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.int64), "fraud_class"))
    model.graph.node.append(helper.make_node("Gather", [probabilities, "fraud_class"], ["fraud_probability"], axis=1))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("fraud_probability", TensorProto.FLOAT, [None]))
    onnx.checker.check_model(model)
    return model


def mlp_graph(network: MLPClassifier, mean: np.ndarray, scale: np.ndarray) -> onnx.ModelProto:
    """Write the network as ONNX: missing values become the mean, then standardise, two layers, sigmoid."""
    initializers = {
        "mean": mean,
        "scale": scale,
        "hidden_weights": network.coefs_[0],
        "hidden_bias": network.intercepts_[0],
        "output_weights": network.coefs_[1],
        "output_bias": network.intercepts_[1],
    }
    nodes = [
        helper.make_node("IsNaN", ["features"], ["is_missing"]),
        helper.make_node("Where", ["is_missing", "mean", "features"], ["known"]),
        helper.make_node("Sub", ["known", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["standardised"]),
        helper.make_node("Gemm", ["standardised", "hidden_weights", "hidden_bias"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "output_weights", "output_bias"], ["log_odds"]),
        helper.make_node("Sigmoid", ["log_odds"], ["probability"]),
        helper.make_node("Squeeze", ["probability", "last_axis"], ["fraud_probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(FEATURES)])],
        [helper.make_tensor_value_info("fraud_probability", TensorProto.FLOAT, [None])],
        [
            *(numpy_helper.from_array(value.astype(np.float32), name) for name, value in initializers.items()),
            numpy_helper.from_array(np.array([1], np.int64), "last_axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Train, export, check the parity, write the card."""
    OUT.mkdir(exist_ok=True)
    X, y = synthetic_transactions(20_000, seed=1)
    X_stack, y_stack = synthetic_transactions(10_000, seed=2)
    booster = lightgbm.train(
        {"objective": "binary", "num_leaves": 7, "learning_rate": 0.2, "verbosity": -1, "seed": 1, "num_threads": 1,
         "deterministic": True},
        lightgbm.Dataset(X, y.astype(int), feature_name=list(FEATURES)),
        num_boost_round=20,
    )  # fmt: skip
    mean, scale = np.nanmean(X, axis=0), np.nanstd(X, axis=0)
    network = MLPClassifier((8,), max_iter=30, random_state=1).fit((np.where(np.isnan(X), mean, X) - mean) / scale, y)
    graphs = {"gbm": gbm_graph(booster), "mlp": mlp_graph(network, mean, scale)}
    log_odds = []
    for name, graph in graphs.items():
        (OUT / f"{name}.onnx").write_bytes(graph.SerializeToString())
        session = onnxruntime.InferenceSession(OUT / f"{name}.onnx", providers=["CPUExecutionProvider"])
        p = session.run(["fraud_probability"], {"features": X_stack})[0].astype(np.float64)
        log_odds.append(np.log(p / (1 - p)))
    assert np.allclose(log_odds[0], booster.predict(X_stack, raw_score=True), atol=1e-4)
    stack = LogisticRegression().fit(np.stack(log_odds, axis=1), y_stack)
    np.savez_compressed(OUT / "trees.npz", **tree_arrays(booster))
    scores = stack.predict_proba(np.stack(log_odds, axis=1))[:, 1]
    legitimate = X_stack[~y_stack]
    files = ("gbm.onnx", "mlp.onnx", "trees.npz")
    card = {
        "name": "tiny",
        "version": "1",
        "feature_set": "test",
        "features": list(FEATURES),
        "files": {name: hashlib.sha256((OUT / name).read_bytes()).hexdigest() for name in files},
        "combination": {
            "gbm": float(stack.coef_[0][0]),
            "mlp": float(stack.coef_[0][1]),
            "intercept": float(stack.intercept_[0]),
        },
        "thresholds": {
            "review": float(np.quantile(scores, 0.98)),
            "decline": float(np.quantile(scores, 0.995)),
        },
        "usual_values": {
            name: float(value) for name, value in zip(FEATURES, np.nanmedian(legitimate, axis=0), strict=True)
        },
        "data": "20,000 synthetic transactions of make_scoring_model.py, seed 1",
        "licence": "Apache-2.0",
    }
    (OUT / "card.json").write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
