"""Exemplars are what their definition says, and find a new kind of fraud from its first labels."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_learning.learners.boosting import BoostedTrees
from online_learning.learners.exemplar_trees import ExemplarSettings, ExemplarTrees
from schemas.columns import F32, F64, Bool

NAMES = tuple(f"f{j}" for j in range(6))
SMALL = ExemplarSettings(exemplars=5, legitimate_rows=60, least_legitimate=20, refresh=1, share=0.05)


def some_rows(rows: int, seed: int) -> tuple[F32, Bool]:
    """Return rows with missing values and of several scales; one in eight is fraud."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, len(NAMES))).astype(np.float32)
    X[:, 0] = np.exp(4 * X[:, 0])
    X[:, 5] = X[:, 4] + 0.1 * X[:, 5]
    X[rng.random(X.shape) < 0.1] = np.nan
    return X, rng.random(rows) < 0.125


def squashed(X: F32) -> F64:
    return (np.sign(X) * np.log1p(np.abs(X.astype(np.float64)))).astype(np.float32).astype(np.float64)


def oracle(X: F32, y: Bool, s: ExemplarSettings, asked: F32) -> F64:
    """Score by definition, with the library's inverse, from the newest rows alone; every fraud was missed."""
    L, E = squashed(X[~y])[-s.legitimate_rows :], squashed(X[y])[-s.exemplars :]
    mean, deviation = np.nanmean(L, axis=0), np.nanstd(L, axis=0)

    def z(rows: F64) -> F64:
        return np.nan_to_num(np.clip((rows - mean) / deviation, -6, 6))

    inverse = np.linalg.inv(z(L).T @ z(L) / len(L) + s.ridge * np.eye(L.shape[1]))
    directions = z(E) @ inverse
    directions /= np.sqrt(np.sum(directions * z(E), axis=1, keepdims=True))
    thresholds = np.sort(z(L) @ directions.T, axis=0)[int((1 - s.share) * (len(L) - 1))]
    beyond = z(E) @ directions.T > thresholds  # (of whom, exemplar)
    np.fill_diagonal(beyond, False)
    votes = np.log2(2 + beyond.sum(axis=0))

    def evidence(rows: F64) -> F64:
        return np.maximum((z(rows) @ directions.T - thresholds) * votes, 0).max(axis=1)

    unit = max(np.sort(evidence(L))[int((1 - s.share) * (len(L) - 1))], 0.1)
    g = evidence(squashed(asked))
    return np.asarray(g**2 / (g**2 + unit**2), np.float64)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(80, 300))
def test_exemplars_score_as_defined(seed: int, rows: int) -> None:
    X, y = some_rows(rows, seed)
    y[:3] = True
    learner = ExemplarTrees(NAMES, 0, replace(SMALL, found_from=2.0))
    learner.learn_many(X, y)
    asked, _ = some_rows(200, seed + 1)
    asked[:50] = X[y][-1] + 0.1 * asked[:50]
    found = learner._exemplar_score().score_many(asked)
    np.testing.assert_allclose(found, oracle(X, y, SMALL, asked), atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 300), max_size=8))
def test_cuts_and_restarts_leave_no_trace(seed: int, cuts: list[int]) -> None:
    X, y = some_rows(300, seed)
    weight = np.random.default_rng(seed).integers(0, 3, 300).astype(np.float32)
    whole, piecewise = ExemplarTrees(NAMES, 3, SMALL), ExemplarTrees(NAMES, 3, SMALL)
    whole.learn_many(X, y, weight)
    for start, end in pairwise(sorted({0, 300, *cuts})):
        piecewise.learn_many(X[start:end], y[start:end], weight[start:end])
        piecewise = ExemplarTrees.restore(piecewise.snapshot())
    assert piecewise.snapshot() == whole.snapshot()
    assert piecewise.parameters() == whole.parameters()


def a_day(rng: np.random.Generator, of_new: int) -> tuple[F32, Bool]:
    """Return labels of a day: what is legitimate, frauds of a known kind, and some of a new one."""
    X = rng.normal(size=(1_000 + of_new, 20)).astype(np.float32)
    y = np.zeros(len(X), np.bool_)
    y[:100] = True
    X[:100, 0] += 4
    X[1_000:, 7] += 20
    X[1_000:, 8] -= 20
    y[1_000:] = True
    order = rng.permutation(len(X))
    return X[order], y[order]


@pytest.mark.parametrize("seed", range(3))
def test_a_new_kind_is_found_from_its_first_labels_when_trees_alone_do_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = tuple(f"f{j}" for j in range(20))
    learner, trees = ExemplarTrees(names, 0), BoostedTrees(names, 0)
    for day in range(4):
        X, y = a_day(rng, 3 if day == 3 else 0)
        learner.learn_many(X, y)
        trees.learn_many(X, y)
    later = rng.normal(size=(5_000, 20)).astype(np.float32)
    later[:50, 7] += 20
    later[:50, 8] -= 20
    recall = {}
    for name, scorer in (("both", learner), ("trees", trees)):
        score = scorer.predict_proba_many(later)
        recall[name] = float((np.argsort(-score, kind="stable")[:100] < 50).sum() / 50)
    assert recall["both"] > 0.6
    assert recall["both"] > recall["trees"] + 0.3


def test_frauds_that_the_trees_find_make_no_exemplars() -> None:
    rng = np.random.default_rng(0)
    learner = ExemplarTrees(tuple(f"f{j}" for j in range(20)), 0)
    for _ in range(6):
        learner.learn_many(*a_day(rng, 0))
    before = int(learner._counts[2])
    learner.learn_many(*a_day(rng, 0))
    assert int(learner._counts[2]) - before < 50  # of 100 frauds; on the first day all of them
