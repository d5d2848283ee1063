"""The head over an encoder's vectors: one logistic regression a tag, and the probability from which it is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from models.training.text.texts import TAGS, TaggedText

Array = np.ndarray[Any, Any]
TARGET_PRECISION = 0.9  # on validation texts: an analyst who sees too many wrong tags stops reading them


@dataclass(frozen=True)
class Head:
    """Weights (H, tags), biases (tags,) and thresholds (tags,)."""

    weights: Array
    biases: Array
    thresholds: Array

    def probabilities(self, embeddings: Array) -> Array:
        """Of each tag, (B, tags)."""
        result: Array = 1 / (1 + np.exp(-(embeddings @ self.weights + self.biases)))
        return result


def targets(texts: Sequence[TaggedText]) -> Array:
    """What was planted, (B, tags) of 0 and 1."""
    return np.array([[tag in text.tags for tag in TAGS] for text in texts], np.int64)


def fit_head(train: tuple[Array, Array], validation: tuple[Array, Array]) -> Head:
    """Fit on embeddings (B, H) and targets (B, tags); thresholds are chosen on the validation part.

    The penalty is scikit-learn's default. A weaker one fits the training templates better and others worse.
    """
    models = [LogisticRegression(max_iter=1000, class_weight="balanced").fit(train[0], y) for y in train[1].T]
    weights = np.stack([model.coef_[0] for model in models], axis=1).astype(np.float32)
    biases = np.array([model.intercept_[0] for model in models], np.float32)
    head = Head(weights, biases, np.full(len(models), 0.5))
    probabilities = head.probabilities(validation[0])
    chosen = [_threshold(probabilities[:, tag], validation[1][:, tag]) for tag in range(len(models))]
    return Head(weights, biases, np.array(chosen))


def _threshold(probabilities: Array, y: Array) -> float:
    """The lowest threshold, in hundredths and at least one half, that reaches the target precision."""
    for hundredths in range(50, 100):
        named = probabilities >= hundredths / 100
        if named.any() and y[named].mean() >= TARGET_PRECISION:
            return hundredths / 100
    return 0.99


def judge(head: Head, embeddings: Array, texts: Sequence[TaggedText]) -> dict[str, Any]:
    """ROC AUC, precision and recall of each tag, and the mean AUC by language."""
    y, probabilities = targets(texts), head.probabilities(embeddings)
    named = probabilities >= head.thresholds
    aucs = [_roc_auc(y[:, k], probabilities[:, k]) for k in range(len(TAGS))]
    tags = {
        tag: {
            "roc_auc": round(aucs[k], 4),
            "precision": round(float(y[named[:, k], k].mean()), 4) if named[:, k].any() else None,
            "recall": round(float(named[y[:, k] == 1, k].mean()), 4) if y[:, k].any() else None,
        }
        for k, tag in enumerate(TAGS)
    }
    languages = {}
    for language in sorted({text.language for text in texts}):
        rows = np.array([text.language == language for text in texts])
        scores = [_roc_auc(y[rows, k], probabilities[rows, k]) for k in range(len(TAGS))]
        languages[language] = round(float(np.mean(scores)), 4)
    return {
        "texts": len(texts),
        "mean_roc_auc": round(float(np.mean(aucs)), 4),
        "tags": tags,
        "mean_roc_auc_by_language": languages,
    }


def _roc_auc(y: Array, probabilities: Array) -> float:
    """One half where there is nothing to tell apart, as happens among very few texts."""
    return float(roc_auc_score(y, probabilities)) if 0 < y.sum() < len(y) else 0.5


def with_head(encoder: onnx.ModelProto, head: Head) -> onnx.ModelProto:
    """Append the head to an encoder's graph: one more output, `tag_probabilities` (B, tags)."""
    model = onnx.ModelProto()
    model.CopyFrom(encoder)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(head.weights, "head.weight"))
    graph.initializer.append(numpy_helper.from_array(head.biases, "head.bias"))
    graph.node.append(helper.make_node("Gemm", ["embedding", "head.weight", "head.bias"], ["tag_logits"], "head"))
    graph.node.append(helper.make_node("Sigmoid", ["tag_logits"], ["tag_probabilities"], "head.sigmoid"))
    shape = ["batch", len(head.biases)]
    graph.output.append(helper.make_tensor_value_info("tag_probabilities", onnx.TensorProto.FLOAT, shape))
    onnx.checker.check_model(model)
    return model
