"""The contract, executable: every learner and detector passes these checks.

A check makes its own learner by `factory` and raises `AssertionError` where a promise is broken. Rows come from a
seeded generator: some values are missing, and one feature tells fraud.

References
----------
River's checks, https://github.com/online-ml/river/blob/main/river/checks/common.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from online_learning.learners.errors import InputError, SnapshotError
from online_learning.learners.registry import DetectorFactory, LearnerFactory
from online_learning.learners.scoring import apply, scorer_of
from schemas.columns import F32, U8

FEATURE_NAMES = ("amount", "count", "is_new", "hour", "risk")

Factory = LearnerFactory | DetectorFactory
Either = Any  # a Learner or an AnomalyDetector: the checks tell them apart by `is_detector`


def some_rows(rows: int, seed: int = 0) -> tuple[F32, U8]:
    """Return rows (n, 5) with a tenth of the values missing, and labels (n,) that the last feature tells."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((rows, len(FEATURE_NAMES))).astype(np.float32)
    X[:, 0] = np.exp(3.0 * X[:, 0])
    y = (X[:, 4] > 1.5).astype(np.uint8)
    X[random.random(X.shape) < 0.1] = np.nan
    return X, y


def is_detector(learner: Either) -> bool:
    """Say whether a learner goes without labels."""
    return hasattr(learner, "score_many")


def learn(learner: Either, X: F32, y: U8) -> None:
    """Learn rows; a detector ignores the labels."""
    if is_detector(learner):
        learner.learn_many(X)
    else:
        learner.learn_many(X, y)


def scores_of(learner: Either, X: F32) -> F32:
    """Return the scores of rows."""
    scores: F32 = learner.score_many(X) if is_detector(learner) else learner.predict_proba_many(X)
    return scores


def seen(learner: Either) -> int:
    """Return how many labels or rows were learned."""
    return int(learner.rows_seen if is_detector(learner) else learner.labels_seen)


def _taught(factory: Factory, rows: int = 3000, seed: int = 7) -> Either:
    learner = factory(FEATURE_NAMES, seed)
    learn(learner, *some_rows(rows))
    return learner


def _equal(actual: npt.NDArray[Any], expected: npt.NDArray[Any], what: str) -> None:
    np.testing.assert_array_equal(actual, expected, err_msg=what)


def check_inputs_stay_untouched(factory: Factory) -> None:
    """Learning and scoring leave rows and labels as they were."""
    X, y = some_rows(500)
    X_before, y_before = X.copy(), y.copy()
    learner = factory(FEATURE_NAMES, 0)
    learn(learner, X, y)
    scores_of(learner, X)
    _equal(X, X_before, "rows were changed")
    _equal(y, y_before, "labels were changed")


def check_inputs_are_not_kept(factory: Factory) -> None:
    """What the caller does with the arrays afterwards changes nothing; nor does a scorer follow its learner."""
    X, y = some_rows(3000)
    learner = factory(FEATURE_NAMES, 0)
    learn(learner, X, y)
    scorer = scorer_of(learner.parameters())
    before, rows = learner.snapshot(), X[:50].copy()
    scores = scorer.score_many(rows)
    X[:] = 1e6
    y[:] = 1 - y
    assert learner.snapshot() == before, "the learner kept the caller's rows"
    learn(learner, *some_rows(2000, seed=1))
    _equal(scorer.score_many(rows), scores, "a scorer changed while its learner went on")


def check_same_seed_same_scores(factory: Factory) -> None:
    """Two learners of one seed that learned the same are equal, bit for bit."""
    assert _taught(factory).snapshot() == _taught(factory).snapshot()


def check_learns_something(factory: Factory) -> None:
    """Learning changes the scores, and those of frauds end above those of legitimate rows (learners only)."""
    X, y = some_rows(1000, seed=3)
    learner = _taught(factory, 6000)
    scores = scores_of(learner, X)
    assert not np.array_equal(scores, scores_of(factory(FEATURE_NAMES, 7), X)), "the scores are those of the beginning"
    if not is_detector(learner):
        fraud, legitimate = scores[y == 1], scores[y == 0]
        assert np.median(fraud) > np.quantile(legitimate, 0.9), "frauds score no higher than legitimate rows"


def check_cuts_of_the_stream_leave_no_trace(factory: Factory) -> None:
    """Rows one at a time, in uneven blocks, or all at once: the states are equal, bit for bit."""
    X, y = some_rows(1200)
    at_once: Either = factory(FEATURE_NAMES, 5)
    in_blocks: Either = factory(FEATURE_NAMES, 5)
    one_by_one: Either = factory(FEATURE_NAMES, 5)
    learn(at_once, X, y)
    for start, stop in zip((0, 1, 18, 500, 1113), (1, 18, 500, 1113, 1200), strict=True):
        learn(in_blocks, X[start:stop], y[start:stop])
    assert in_blocks.snapshot() == at_once.snapshot(), "the cuts into blocks changed the state"
    for row, label in zip(X, y, strict=True):
        x = {name: float(value) for name, value in zip(FEATURE_NAMES, row, strict=True) if not np.isnan(value)}
        if is_detector(one_by_one):
            one_by_one.learn_one(x)
        else:
            one_by_one.learn_one(x, bool(label))
    assert one_by_one.snapshot() == at_once.snapshot(), "learn_one differs from learn_many"


def check_scores_depend_on_their_row_alone(factory: Factory) -> None:
    """A row's score is the same bits alone, among others, and by its features' names."""
    learner = _taught(factory)
    X, _ = some_rows(67, seed=4)
    scores = scores_of(learner, X)
    assert scores.dtype == np.float32
    assert scores.shape == (67,)
    for i in range(len(X)):
        assert scores_of(learner, X[i : i + 1])[0] == scores[i], f"row {i} scores differently alone"
    x = {name: float(value) for name, value in zip(FEATURE_NAMES, X[5], strict=True)} | {"unknown": 1.0}
    if is_detector(learner):
        assert learner.score_one(x) == scores[5]
    else:
        probabilities = learner.predict_proba_one(x)
        assert probabilities[True] == scores[5]
        assert probabilities[False] == 1.0 - probabilities[True]


def check_snapshot_round_trip(factory: Factory) -> None:
    """A restored learner is equal, and goes on like the original, bit for bit, wherever it was cut off."""
    for rows in (0, 1, 1037, 3000):
        learner = _taught(factory, rows)
        snapshot = learner.snapshot()
        restored = factory.restore(snapshot)
        assert restored.snapshot() == snapshot, f"the snapshot after {rows} rows does not round-trip"
        assert (restored.name, restored.feature_names, seen(restored)) == (learner.name, FEATURE_NAMES, rows)
        X, y = some_rows(2500, seed=9)
        learn(learner, X, y)
        learn(restored, X, y)
        assert restored.snapshot() == learner.snapshot(), f"restored after {rows} rows, the learner goes another way"
        _equal(scores_of(restored, X), scores_of(learner, X), "a restored learner scores differently")


def check_damaged_snapshot_is_refused(factory: Factory) -> None:
    """A snapshot that was cut or changed raises `SnapshotError`, and so do parameters in its place."""
    learner = _taught(factory, 200)
    snapshot = learner.snapshot()
    changed = bytearray(snapshot)
    changed[len(changed) // 2] ^= 1
    for blob in (b"", snapshot[:-1], snapshot[: len(snapshot) // 2], bytes(changed), learner.parameters()):
        try:
            factory.restore(blob)
        except SnapshotError:
            continue
        raise AssertionError("a damaged snapshot was restored")


def check_parameters_score_like_the_learner(factory: Factory) -> None:
    """Exported parameters give the learner's own scores, bit for bit, and name features and labels."""
    for rows in (0, 3000):
        learner = _taught(factory, rows)
        X, _ = some_rows(300, seed=2)
        parameters = learner.parameters()
        assert parameters == learner.parameters()
        _equal(apply(parameters, X), scores_of(learner, X), "exported parameters score differently")
        scorer = scorer_of(parameters)
        assert (scorer.feature_names, scorer.labels_seen) == (FEATURE_NAMES, rows)


def check_scores_lie_between_0_and_1(factory: Factory) -> None:
    """Scores are valid at any time, for extreme and missing values, and after learning such."""
    extremes = np.array(
        [0.0, -0.0, 1e-45, 1e-30, 1.0, 1e9, -1e30, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan], np.float32
    )
    random = np.random.default_rng(0)
    X = random.choice(extremes, (4000, len(FEATURE_NAMES)))
    y = random.integers(0, 2, 4000).astype(np.uint8)
    usual = some_rows(2000)
    learner = factory(FEATURE_NAMES, 1)
    for rows, labels in ((X[:0], y[:0]), usual, (X, y), usual):
        learn(learner, rows, labels)
        for asked in (X, usual[0]):
            scores = scores_of(learner, asked)
            assert np.isfinite(scores).all(), "a score is not a number"
            assert ((scores >= 0) & (scores <= 1)).all(), "a score lies outside 0 to 1"
    assert factory.restore(learner.snapshot()).snapshot() == learner.snapshot()


def check_infinities_count_as_missing(factory: Factory) -> None:
    """NaN and both infinities teach the same and score the same."""
    X, y = some_rows(2000)
    infinite = np.where(np.isnan(X), np.float32(np.inf), X)
    infinite[::2] = np.where(np.isnan(X[::2]), np.float32(-np.inf), X[::2])
    learner = factory(FEATURE_NAMES, 0)
    other = factory(FEATURE_NAMES, 0)
    learn(learner, X, y)
    learn(other, infinite, y)
    _equal(scores_of(other, infinite), scores_of(learner, X), "an infinity is not treated like a missing value")


def check_empty_batch_does_nothing(factory: Factory) -> None:
    """No rows: no change, no scores."""
    for rows in (0, 700):
        learner = _taught(factory, rows)
        before = learner.snapshot()
        X, y = some_rows(0)
        learn(learner, X, y)
        assert learner.snapshot() == before, "an empty batch changed the state"
        assert scores_of(learner, X).shape == (0,)


def check_memory_is_bounded(factory: Factory) -> None:
    """Memory and snapshot do not grow with the stream, whatever it does."""
    learner = factory(FEATURE_NAMES, 0)
    memory, length = learner.memory_bytes, len(learner.snapshot())
    for seed in range(10):
        X, y = some_rows(3000, seed)
        learn(learner, X + np.float32(seed), y if seed % 2 else (1 - y).astype(np.uint8))
    assert seen(learner) == 30_000
    assert learner.memory_bytes == memory, "the arrays grew"
    assert len(learner.snapshot()) <= length + 1024, "the snapshot grew"


def check_wrong_rows_are_refused(factory: Factory) -> None:
    """Rows of another width, and labels or weights that do not fit, raise `InputError` and teach nothing."""
    learner = _taught(factory, 300)
    before = learner.snapshot()
    X, y = some_rows(10)
    wrong: list[tuple[Any, ...]] = [(X[:, :-1],), (X[0],)]
    if not is_detector(learner):
        wrong = [(rows, y) for (rows,) in wrong] + [(X, y[:-1]), (X, y + 2), (X, y.astype(np.float32))]
        ones = np.ones(10, np.float32)
        wrong += [(X, y, -ones), (X, y, ones[:-1]), (X, y, np.full(10, np.nan, np.float32))]
    for arguments in wrong:
        try:
            learner.learn_many(*arguments)
        except InputError:
            continue
        raise AssertionError(f"learned from shapes {[argument.shape for argument in arguments]}")
    assert learner.snapshot() == before, "a refused block left a trace"


def check_weights_matter(factory: LearnerFactory) -> None:
    """None is a weight of one; boolean labels equal numbers; a label of weight zero teaches nothing."""
    X, y = some_rows(2000)
    ones = np.ones(2000, np.float32)
    plain, weighted, boolean = (factory(FEATURE_NAMES, 0) for _ in range(3))
    plain.learn_many(X, y)
    weighted.learn_many(X, y, ones)
    boolean.learn_many(X, y.astype(np.bool_))
    assert weighted.snapshot() == plain.snapshot(), "weights of one differ from none"
    assert boolean.snapshot() == plain.snapshot(), "boolean labels differ from numbers"
    honest, lying = factory(FEATURE_NAMES, 0), factory(FEATURE_NAMES, 0)
    honest.learn_many(X, y, 0 * ones)
    lying.learn_many(X, np.roll(y, 1), 0 * ones)
    assert honest.labels_seen == 2000
    asked, _ = some_rows(200, seed=8)
    _equal(lying.predict_proba_many(asked), honest.predict_proba_many(asked), "labels of weight zero taught something")


CHECKS: tuple[Callable[[Factory], None], ...] = (
    check_inputs_stay_untouched,
    check_inputs_are_not_kept,
    check_same_seed_same_scores,
    check_learns_something,
    check_cuts_of_the_stream_leave_no_trace,
    check_scores_depend_on_their_row_alone,
    check_snapshot_round_trip,
    check_damaged_snapshot_is_refused,
    check_parameters_score_like_the_learner,
    check_scores_lie_between_0_and_1,
    check_infinities_count_as_missing,
    check_empty_batch_does_nothing,
    check_memory_is_bounded,
    check_wrong_rows_are_refused,
)
"""For learners and detectors."""

LEARNER_CHECKS: tuple[Callable[[LearnerFactory], None], ...] = (check_weights_matter,)
"""For learners alone, beside `CHECKS`."""
