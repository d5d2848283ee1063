"""Retrieval: how high the matching payment stands among the candidates, with both modalities and with one alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.training.documents.payment import Payment

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]


def mrr_at_10(similarity: F32) -> float:
    """Return the mean reciprocal rank of the diagonal in its row, 0 beyond rank 10.

    Ties count as the mean rank of those tied: an order among equals is luck, not skill.
    """
    similarity = similarity.astype(np.float64)
    own = similarity.diagonal()[:, None]
    rank = 1.0 + (similarity > own).sum(1) + ((similarity == own).sum(1) - 1) / 2.0
    return float(np.where(rank <= 10, 1.0 / rank, 0.0).mean())


def recall_at(similarity: F32, count: int) -> float:
    """Return how often the match is among the first `count`."""
    own = np.diagonal(similarity)[:, None]
    return float(((similarity > own).sum(1) < count).mean())


def best_possible(keys: list[tuple[object, ...]]) -> float:
    """Return the MRR@10 of a perfect reader of some fields alone: payments equal in those stand in random
    order.

    The expected reciprocal rank of one among m equals is the mean of 1/1 .. 1/m (0 beyond 10).
    """
    counts: dict[tuple[object, ...], int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    ranks = np.where(np.arange(1, max(counts.values()) + 1) <= 10, 1.0 / np.arange(1, max(counts.values()) + 1), 0.0)
    return float(np.mean([ranks[: counts[key]].mean() for key in keys]))


def retrieval(both: F32, text: F32, picture: F32, payments: list[Payment]) -> dict[str, Any]:
    """Return the benchmark's numbers.

    Parameters
    ----------
    both, text, picture
        (q, n) similarity of document i and payment j, document i's own being payment i: of the whole model, without
        the picture, without the text.
    """
    result = {
        "candidates": both.shape[1],
        "queries": both.shape[0],
        "mrr_at_10": round(mrr_at_10(both), 4),
        "recall_at_1": round(recall_at(both, 1), 4),
        "recall_at_10": round(recall_at(both, 10), 4),
        "text_alone": round(mrr_at_10(text), 4),
        "picture_alone": round(mrr_at_10(picture), 4),
        "text_alone_at_best": round(best_possible([(p.amount_minor, p.currency, p.day, p.goods) for p in payments]), 4),
        "picture_alone_at_best": round(best_possible([(p.brand,) for p in payments]), 4),
    }
    return result
