"""Evidence moves a score within its bounds, and never against what it says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.scoring.errors import ScoringError
from models.scoring.evidence_rule import LEAST, EvidenceWeight, revised_score, shift_of

PROBABILITIES = st.floats(0, 1)
SERVICES = st.sampled_from(["vision", "text", "multimodal"])
ANSWERS = st.lists(st.tuples(SERVICES, PROBABILITIES), max_size=8)
WEIGHTS = st.dictionaries(
    SERVICES,
    st.builds(EvidenceWeight, st.floats(0, 3), st.floats(0.01, 0.99), st.floats(0, 10), st.floats(0, 10)),
)


def logit(probability: float) -> float:
    inside = min(max(probability, LEAST), 1 - LEAST)
    return math.log(inside / (1 - inside))


@given(PROBABILITIES)
def test_without_an_answer_nothing_changes(score: float) -> None:
    assert revised_score(score, []) == score


@given(PROBABILITIES, ANSWERS, WEIGHTS)
def test_the_shift_is_bounded(
    score: float, answers: list[tuple[str, float]], weights: dict[str, EvidenceWeight]
) -> None:
    revised = revised_score(score, answers, weights)
    assert 0 <= revised <= 1
    of = [weights.get(service, EvidenceWeight()) for service in {service for service, _ in answers}]
    moved = logit(revised) - logit(score)
    assert -sum(w.relief for w in of) - 1e-6 <= moved <= sum(w.burden for w in of) + 1e-6


@given(PROBABILITIES, ANSWERS, WEIGHTS, SERVICES, PROBABILITIES, PROBABILITIES)
def test_a_higher_answer_never_lowers_the_score(
    score: float,
    answers: list[tuple[str, float]],
    weights: dict[str, EvidenceWeight],
    service: str,
    one: float,
    other: float,
) -> None:
    low, high = sorted((one, other))
    lower = revised_score(score, [*answers, (service, low)], weights)
    assert lower <= revised_score(score, [*answers, (service, high)], weights)


@given(PROBABILITIES, PROBABILITIES, ANSWERS, WEIGHTS)
def test_a_higher_score_before_is_a_higher_score_after(
    one: float, other: float, answers: list[tuple[str, float]], weights: dict[str, EvidenceWeight]
) -> None:
    low, high = sorted((one, other))
    assert revised_score(low, answers, weights) <= revised_score(high, answers, weights)


@given(PROBABILITIES, ANSWERS, WEIGHTS, st.randoms())
def test_the_order_of_answers_does_not_matter(
    score: float, answers: list[tuple[str, float]], weights: dict[str, EvidenceWeight], random: object
) -> None:
    shuffled = list(answers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert revised_score(score, answers, weights) == revised_score(score, shuffled, weights)


@given(PROBABILITIES, SERVICES, PROBABILITIES, st.lists(PROBABILITIES, max_size=8))
def test_clean_documents_do_not_whiten_a_forged_one(
    score: float, service: str, forged: float, others: list[float]
) -> None:
    alone = revised_score(score, [(service, forged)])
    assert revised_score(score, [(service, forged), *((service, other) for other in others)]) >= alone


@given(PROBABILITIES, st.floats(0.01, 0.99))
def test_a_calibrated_service_of_full_weight_counts_as_bayes_rule_says(score: float, prior: float) -> None:
    answer = 0.9
    weight = EvidenceWeight(1.0, prior, burden=100, relief=100)
    odds = min(max(score, LEAST), 1 - LEAST)
    odds = odds / (1 - odds) * (answer / (1 - answer)) / (prior / (1 - prior))
    revised = revised_score(score, [("vision", answer)], {"vision": weight})
    assert logit(revised) == pytest.approx(logit(odds / (1 + odds)), abs=1e-3)


def test_an_answer_as_usual_shifts_nothing() -> None:
    assert shift_of(0.05) == 0.0
    assert revised_score(0.4, [("vision", 0.05)]) == 0.4


@pytest.mark.parametrize(
    "wrong", [{"weight": -1}, {"prior": 0}, {"prior": 1}, {"burden": -1}, {"relief": float("nan")}]
)
def test_a_weight_that_would_turn_the_rule_around_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ScoringError):
        EvidenceWeight(**wrong)
