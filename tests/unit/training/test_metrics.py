from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training.metrics import area_under_roc, average_precision, card_precision_at, rank, reliability

rankings = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=2, max_size=60).filter(
    lambda rows: 0 < sum(fraud for fraud, _ in rows) < len(rows)
)


def naive_card_precision(fraud: list[bool], score: list[float], card: list[int], day: list[int], k: int) -> float:
    found: set[int] = set()
    shares = []
    for d in sorted(set(day)):
        rows = [i for i in range(len(day)) if day[i] == d and card[i] not in found]
        best = {c: max(score[i] for i in rows if card[i] == c) for c in {card[i] for i in rows}}
        listed = sorted(best, key=lambda c: (-best[c], c))[:k]
        hits = [c for c in listed if any(fraud[i] for i in rows if card[i] == c)]
        shares.append(len(hits) / k)
        found |= set(hits)
    return sum(shares) / len(shares)


@given(rankings)
def test_area_and_precision_agree_with_scikit_learn_also_on_ties(rows: list[tuple[bool, int]]) -> None:
    oracle = pytest.importorskip("sklearn.metrics", reason="the oracle is in the train extra")
    fraud, score = np.array([f for f, _ in rows]), np.array([s for _, s in rows], np.float64)
    assert area_under_roc(fraud, score) == pytest.approx(oracle.roc_auc_score(fraud, score))
    assert average_precision(fraud, score) == pytest.approx(oracle.average_precision_score(fraud, score))


def test_a_perfect_ranking_has_area_and_precision_one() -> None:
    fraud = np.array([True, True, False, False, False])
    score = np.array([0.9, 0.8, 0.3, 0.2, 0.1])
    assert area_under_roc(fraud, score) == 1.0
    assert average_precision(fraud, score) == pytest.approx(1.0)


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 99), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=60
    ),
    st.integers(1, 4),
)
def test_card_precision_agrees_with_a_plain_loop(rows: list[tuple[bool, int, int, int]], k: int) -> None:
    fraud, score, card, day = (list(column) for column in zip(*rows, strict=True))
    score = [s + i / 1000 for i, s in enumerate(score)]  # no ties: their order is nobody's promise
    found = card_precision_at(np.array(fraud), np.array(score), np.array(card), np.array(day), k)
    assert found == pytest.approx(naive_card_precision(fraud, score, card, day, k))


def test_a_card_found_on_one_day_is_not_listed_on_the_next() -> None:
    fraud = np.array([True, True, False])
    ranking = rank(fraud, np.array([0.9, 0.9, 0.1]), np.array([1, 1, 2]), np.array([0, 1, 1]), k=1)
    assert ranking.card_precision == 0.5


def test_scores_equal_to_the_observed_shares_have_no_calibration_error() -> None:
    score = np.repeat([0.1, 0.5], 10)
    fraud = np.array([True] + [False] * 9 + [True] * 5 + [False] * 5)
    measured = reliability(fraud, score)
    assert measured.expected_calibration_error == pytest.approx(0.0, abs=1e-12)
    assert measured.count.sum() == 20
