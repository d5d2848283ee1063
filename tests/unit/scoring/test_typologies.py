from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.scoring.decision import decide
from models.scoring.model import Thresholds
from models.scoring.rules import Rule
from models.scoring.typologies import APPROVE, DECLINE, REVIEW, Typologies


def a_rule(rule_id: str, typology: str, weight: float, review: float = 0.5, decline: float = 1.0) -> Rule:
    return Rule(rule_id, 1, "A rule", "amount > 1", typology, weight, review, decline)


def test_a_typologys_score_is_the_sum_of_its_hits_and_at_most_1() -> None:
    typologies = Typologies([a_rule("a", "fan_in", 0.3), a_rule("b", "fan_in", 0.9), a_rule("c", "cycle", 0.4)])
    assert typologies.names == ("cycle", "fan_in")
    scores = typologies.score(np.array([[0, 0, 0], [1, 0, 1], [1, 1, 0]], bool))
    assert np.allclose(scores.scores, [[0.0, 0.0], [0.4, 0.3], [0.0, 1.0]])
    assert np.allclose(scores.highest, [0.0, 0.4, 1.0])
    assert scores.outcome.tolist() == [APPROVE, APPROVE, DECLINE]


def test_weights_that_add_up_to_a_threshold_reach_it() -> None:
    # In floating point 0.1 added ten times stays below 1.0.
    typologies = Typologies([a_rule(f"r{i}", "fan_in", float(np.float32(0.1))) for i in range(10)])
    hits = np.ones((1, 10), bool)
    assert typologies.score(hits).outcome.tolist() == [DECLINE]
    hits[0, 5:] = False
    assert typologies.score(hits).outcome.tolist() == [REVIEW]


def test_the_lowest_threshold_among_a_typologys_rules_counts() -> None:
    typologies = Typologies(
        [a_rule("a", "fan_in", 0.4, review=0.9), a_rule("b", "fan_in", 0.1, review=0.4, decline=0.5)]
    )
    assert typologies.score(np.array([[1, 0], [0, 1], [1, 1]], bool)).outcome.tolist() == [REVIEW, APPROVE, DECLINE]


def test_a_threshold_above_1_is_never_reached() -> None:
    typologies = Typologies([a_rule("a", "fan_in", 1.0, review=1.5, decline=2.0)])
    assert typologies.score(np.ones((1, 1), bool)).outcome.tolist() == [APPROVE]


def test_without_rules_the_typology_score_is_0() -> None:
    scores = Typologies([]).score(np.zeros((3, 0), bool))
    assert scores.highest.tolist() == [0, 0, 0]
    assert scores.outcome.tolist() == [APPROVE] * 3


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.sampled_from([APPROVE, REVIEW, DECLINE])), max_size=20))
def test_the_stricter_of_score_and_typology_decides(rows: list[tuple[float, int]]) -> None:
    thresholds = Thresholds(review=0.5, decline=0.75)
    score = np.array([s for s, _ in rows], np.float32)
    asked = np.array([t for _, t in rows], np.uint8)
    expected = [max(2 if s >= 0.75 else 1 if s >= 0.5 else 0, t) for s, t in rows]
    assert decide(score, thresholds, asked).tolist() == expected
    assert decide(score, None, asked).tolist() == asked.tolist()
