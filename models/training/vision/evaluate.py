"""How good the graph is: on held-out layouts, kind by kind of forgery, and on new kinds from few samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from models.training.vision.data import FORGERY_CLASSES

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

RECALL = 0.95
SHOTS = 5


def false_alarms_at(recall: float, forged: F32, genuine: F32) -> float:
    """Return the share of genuine documents at or above the score that `recall` of the forged ones reach."""
    ordered = np.sort(forged)[::-1]
    threshold = ordered[int(np.ceil(recall * len(ordered))) - 1]
    return float((genuine >= threshold).mean())


def threshold_at(share: float, genuine: F32) -> float:
    """Return the score that at most `share` of the genuine documents reach."""
    ordered = np.sort(genuine)[::-1]
    allowed = int(share * len(ordered))
    return float(np.nextafter(ordered[min(allowed, len(ordered) - 1)], np.float32(np.inf)))


def forgery_metrics(score: F32, forgery: I64) -> dict[str, Any]:
    """Return ROC AUC and false alarms at 95% recall of all, and ROC AUC of each kind against all genuine documents.

    Parameters
    ----------
    score
        (n,) log-odds of forged.
    forgery
        (n,) class, 0 for genuine.
    """
    genuine, forged = score[forgery == 0], score[forgery > 0]
    kinds = {}
    for number, name in enumerate(FORGERY_CLASSES[1:], start=1):
        of_kind = score[forgery == number]
        if len(of_kind):
            truth = np.r_[np.zeros(len(genuine)), np.ones(len(of_kind))]
            kinds[name] = {
                "documents": len(of_kind),
                "roc_auc": round(float(roc_auc_score(truth, np.r_[genuine, of_kind])), 5),
            }
    return {
        "documents": len(score),
        "genuine": len(genuine),
        "roc_auc": round(float(roc_auc_score(forgery > 0, score)), 5),
        "false_alarms_at_95_recall": round(false_alarms_at(RECALL, forged, genuine), 5),
        "by_kind": kinds,
    }


def few_shot_accuracy(embedding: F32, kind: I64, tries: int, seed: int) -> dict[str, float]:
    """Return how often the nearest prototype of 5 samples a kind is the right one, over draws of the samples.

    Parameters
    ----------
    embedding
        (n, d) unit vectors.
    kind
        (n,) new kind of each.
    """
    rng = np.random.default_rng(seed)
    accuracies = []
    for _ in range(tries):
        support = np.concatenate([rng.choice(np.flatnonzero(kind == k), SHOTS, replace=False) for k in np.unique(kind)])
        query = np.setdiff1d(np.arange(len(kind)), support)
        means = np.stack([embedding[support][kind[support] == k].mean(0) for k in np.unique(kind)])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        accuracies.append(float((np.unique(kind)[np.argmax(embedding[query] @ means.T, axis=1)] == kind[query]).mean()))
    return {
        "kinds": float(len(np.unique(kind))),
        "shots": float(SHOTS),
        "tries": float(tries),
        "accuracy_mean": round(float(np.mean(accuracies)), 4),
        "accuracy_worst": round(float(np.min(accuracies)), 4),
    }
