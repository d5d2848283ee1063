"""How evidence moves a score: a bounded shift of its log-odds, monotone in what each service says.

A service answers with the probability p that the document speaks for fraud. Against the probability that it gives an
ordinary document (its prior), that is worth

    shift = clip(weight * (logit(p) - logit(prior)), -relief, +burden)

in log-odds, so a weight of 1 is what Bayes' rule says of a calibrated service whose errors are independent of the
score's, and a lower one trusts it less. Of several documents the one that speaks loudest for fraud counts: a forger
does not whiten one document by sending ten clean ones along. The shifts of different services add up, within the sum of
their bounds. What was not answered shifts nothing.

From this follows, and is tested: the revised score rises or stays when any answer rises; it does not depend on the
order of the answers; the log-odds move by no more than the bounds; without an answer nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from models.scoring.errors import ScoringError

LEAST = 1e-6
"""Probabilities are cut off here on both sides: no answer is worth more than 13.8 in log-odds, whatever the weight."""


@dataclass(frozen=True, slots=True)
class EvidenceWeight:
    """How much the answers of one service count.

    Attributes
    ----------
    weight
        Of the log-odds, from 0 on.
    prior
        Probability that the service gives an ordinary document, above 0 and below 1.
    burden
        Most that it may add to the log-odds of the score.
    relief
        Most that it may take from them.
    """

    weight: float = 0.5
    prior: float = 0.05
    burden: float = 4.0
    relief: float = 1.0

    def __post_init__(self) -> None:
        if not (self.weight >= 0 and 0 < self.prior < 1 and self.burden >= 0 and self.relief >= 0):
            raise ScoringError(
                f"weight {self.weight}, burden {self.burden} and relief {self.relief} of evidence must be at least 0, "
                f"and the prior {self.prior} between 0 and 1"
            )


DEFAULT_WEIGHT = EvidenceWeight()


def shift_of(probability: float, weight: EvidenceWeight = DEFAULT_WEIGHT) -> float:
    """Return what one answer adds to the log-odds of the score.

    Examples
    --------
    >>> shift_of(0.05), round(shift_of(0.97), 2), round(shift_of(0.0), 2)
    (0.0, 3.21, -1.0)
    """
    moved = weight.weight * (_logit(probability) - _logit(weight.prior))
    return min(max(moved, -weight.relief), weight.burden)


def revised_score(
    score: float, answers: Iterable[tuple[str, float]], weights: Mapping[str, EvidenceWeight] | None = None
) -> float:
    """Return the score after some answers.

    Parameters
    ----------
    score
        Before any evidence, 0 to 1.
    answers
        Service and probability, in any order.
    weights
        By service; the default weight for others.

    Examples
    --------
    >>> round(revised_score(0.4, [("vision", 0.97), ("vision", 0.01)]), 3)
    0.943
    >>> revised_score(0.4, [])
    0.4
    """
    loudest: dict[str, float] = {}
    for service, probability in answers:
        shift = shift_of(probability, (weights or {}).get(service, DEFAULT_WEIGHT))
        loudest[service] = max(loudest.get(service, shift), shift)
    if not loudest:
        return score
    moved = math.fsum(loudest.values())
    if moved == 0:
        return score
    odds = _logit(score) + moved
    revised = 1 / (1 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1 + math.exp(odds))
    # Cut off at the ends, the way there and back must not turn the direction around.
    return max(score, revised) if moved > 0 else min(score, revised)


def _logit(probability: float) -> float:
    inside = min(max(probability, LEAST), 1 - LEAST)
    return math.log(inside / (1 - inside))
