"""From scores to outcomes, for whole batches: the strictest of what the model and the typologies ask for."""

from __future__ import annotations

import numpy as np

from models.scoring.model import Thresholds
from models.scoring.typologies import APPROVE, DECLINE, REVIEW
from schemas.columns import F32, U8


def outcome_of_score(score: F32, thresholds: Thresholds) -> U8:
    """Return what the model alone asks for: review and decline start at their thresholds.

    Examples
    --------
    >>> outcome_of_score(np.array([0.1, 0.5, 0.9], np.float32), Thresholds(review=0.5, decline=0.8)).tolist()
    [0, 1, 2]
    """
    asked = np.where(score >= thresholds.decline, DECLINE, np.where(score >= thresholds.review, REVIEW, APPROVE))
    return asked.astype(np.uint8)


def decide(score: F32, thresholds: Thresholds | None, typology_outcome: U8) -> U8:
    """Return the outcome of n transactions.

    Parameters
    ----------
    score
        (n,) calibrated probability of fraud or laundering.
    thresholds
        The model's; None without a model, when the rules decide alone.
    typology_outcome
        (n,) the strictest outcome that a typology asks for.

    Returns
    -------
    (n,) 0 approve, 1 review, 2 decline.
    """
    if thresholds is None:
        return typology_outcome
    return np.maximum(outcome_of_score(score, thresholds), typology_outcome)
