"""LightGBM's ensemble as flat arrays: for attributions, and for an ONNX graph without a converter's surprises."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.scoring.attribution import Trees
from models.training.config import TreeSettings
from schemas.columns import F32, F64, Bool

OPSET = 17
ML_OPSET = 3
IR_VERSION = 9

ZERO_THRESHOLD = np.float32(1e-35)
"""LightGBM takes smaller absolute values for 0 (kZeroThreshold)."""


def fit_trees(settings: TreeSettings, X: F32, is_fraud: Bool, weight: F32) -> lightgbm.Booster:
    """Train the ensemble; equal arguments give equal trees."""
    parameters = {
        "objective": "binary",
        "num_leaves": settings.leaves,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": settings.min_leaf,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "max_bin": 255,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 2,
        "verbosity": -1,
    }
    return lightgbm.train(parameters, lightgbm.Dataset(X, is_fraud, weight=weight), settings.trees)


def flatten(booster: lightgbm.Booster) -> Trees:
    """Return the nodes of all trees in one numbering, parents before their children."""
    nodes: dict[str, list[Any]] = {name: [] for name in Trees.__slots__}
    for tree in booster.dump_model()["tree_info"]:
        nodes["roots"].append(len(nodes["feature"]))
        _append(nodes, tree["tree_structure"])
    return Trees(
        feature=np.array(nodes["feature"], np.int32),
        threshold=np.array(nodes["threshold"], np.float64),
        left=np.array(nodes["left"], np.int32),
        right=np.array(nodes["right"], np.int32),
        value=np.array(nodes["value"], np.float64),
        default_left=np.array(nodes["default_left"], np.uint8),
        roots=np.array(nodes["roots"], np.int32),
    )


def _append(nodes: dict[str, list[Any]], node: dict[str, Any]) -> tuple[int, float]:
    """Append a subtree; return its number of training examples and their summed output."""
    at = len(nodes["feature"])
    for name in ("feature", "left", "right"):
        nodes[name].append(-1)
    nodes["threshold"].append(0.0)
    nodes["value"].append(0.0)
    nodes["default_left"].append(0)
    if "leaf_value" in node:
        nodes["value"][at] = node["leaf_value"]
        count = node.get("leaf_count", 1)
        return count, count * node["leaf_value"]
    if node["decision_type"] != "<=":
        raise ValueError(f"a split of type {node['decision_type']!r}: only numerical features are supported")
    threshold = float(node["threshold"])
    nodes["feature"][at] = node["split_feature"]
    nodes["threshold"][at] = float(round_down(np.array([threshold]))[0])
    # Where no value was missing in training, LightGBM takes a missing one for 0.
    goes_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0.0
    nodes["default_left"][at] = int(goes_left)
    nodes["left"][at] = len(nodes["feature"])
    left_count, left_sum = _append(nodes, node["left_child"])
    nodes["right"][at] = len(nodes["feature"])
    right_count, right_sum = _append(nodes, node["right_child"])
    count, total = left_count + right_count, left_sum + right_sum
    nodes["value"][at] = total / count
    return count, total


def round_down(threshold: F64) -> F32:
    """Return float32 thresholds that send every float32 value where LightGBM sends it.

    That is the largest float32 that is not above the threshold: for a float32 x, `x <= threshold` in float64 and
    `x <= round_down(threshold)` in float32 are the same. Two thresholds are LightGBM's signs for something else: beyond
    float32's range it means "any value that is not missing"; and values of at most 1e-35 count as 0, so that nothing
    at -1e-35 is below it.

    Examples
    --------
    >>> bool(round_down(np.array([0.1]))[0] <= 0.1)
    True
    """
    with np.errstate(over="ignore"):
        rounded = threshold.astype(np.float32)
    too_high = (rounded.astype(np.float64) > threshold) | (rounded == -ZERO_THRESHOLD)
    rounded[too_high] = np.nextafter(rounded[too_high], np.float32(-np.inf))
    rounded[threshold > np.finfo(np.float32).max] = np.inf
    return rounded


def trees_to_onnx(trees: Trees, feature_count: int) -> onnx.ModelProto:
    """Return a graph `features` (n, F) float32 -> `fraud_probability` (n,) float32; NaN takes each node's default side.

    One regressor, a logistic link and one output: no label, no map of probabilities, nothing to be thrown away.
    """
    inner = trees.feature >= 0
    tree_of = np.searchsorted(trees.roots, np.arange(len(trees.feature)), side="right") - 1
    first = trees.roots[tree_of]
    node_of = np.arange(len(trees.feature)) - first
    leaves = np.flatnonzero(~inner)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["features"],
        ["log_odds"],
        name="boosted_trees",
        domain="ai.onnx.ml",
        n_targets=1,
        post_transform="NONE",  # ONNX Runtime ignores a logistic link here
        aggregate_function="SUM",
        nodes_treeids=tree_of.tolist(),
        nodes_nodeids=node_of.tolist(),
        nodes_featureids=np.where(inner, trees.feature, 0).tolist(),
        nodes_modes=["BRANCH_LEQ" if i else "LEAF" for i in inner],
        nodes_values=trees.threshold.astype(np.float32).tolist(),
        nodes_truenodeids=np.where(inner, trees.left - first, 0).tolist(),
        nodes_falsenodeids=np.where(inner, trees.right - first, 0).tolist(),
        nodes_missing_value_tracks_true=(trees.default_left * inner).astype(np.int64).tolist(),
        target_treeids=tree_of[leaves].tolist(),
        target_nodeids=node_of[leaves].tolist(),
        target_ids=[0] * len(leaves),
        target_weights=trees.value[leaves].astype(np.float32).tolist(),
    )
    flat = helper.make_node("Reshape", ["log_odds", "flat_shape"], ["flat_log_odds"], name="flatten")
    link = helper.make_node("Sigmoid", ["flat_log_odds"], ["fraud_probability"], name="logistic_link")
    graph = helper.make_graph(
        [node, flat, link],
        "boosted_trees",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", feature_count])],
        [helper.make_tensor_value_info("fraud_probability", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.array([-1], np.int64), "flat_shape")],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        producer_name="weir",
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    return model
