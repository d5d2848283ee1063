"""The outcome as rows, files and curves; and a table of numbers, predicted block by block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.metrics import average_precision
from online_learning.evaluate.contestant import Clocked, Detecting, Learning
from online_learning.evaluate.measures import DAY_MS, Judged, measure
from online_learning.evaluate.numeric_table import NumericTable, table_scores
from online_learning.evaluate.plots import precision_recall, write_plots
from online_learning.evaluate.report import rows_of, write_rows
from online_learning.learners.half_space_trees import HalfSpaceTrees
from online_learning.learners.logistic import LogisticRegression

SCORES = st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5, 0.9])), min_size=1, max_size=40)


def a_judged(n: int = 300) -> tuple[Judged, np.ndarray]:
    rng = np.random.default_rng(4)
    fraud = rng.random(n) < 0.2
    pattern = tuple(np.where(fraud, "cycle", "").tolist())
    times = 20_000 * DAY_MS + np.sort(rng.integers(0, 9 * DAY_MS, n))
    return Judged(fraud, rng.integers(0, 50, n), times, pattern), np.clip(0.5 * fraud + rng.random(n) / 2, 0, 1)


def test_every_contestant_is_measured_on_all_and_on_each_group(tmp_path: Path) -> None:
    judged, score = a_judged()
    rows = list(rows_of(judged, {"one": score, "other": 1 - score}))
    groups = [(row.grouping, row.group) for row in rows if row.contestant == "one"]
    assert groups == [("all", "all"), ("week", "2024-10-04"), ("week", "2024-10-11"), ("pattern", "cycle")]
    assert rows[0].measures == measure(judged, score)
    write_rows(rows, tmp_path / "rows.parquet")
    stored = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert len(stored) == len(rows) == 8
    assert stored[4]["contestant"] == "other"
    assert stored[0]["average_precision"] == rows[0].measures.average_precision
    assert [row.grouping for row in rows_of(judged, {"one": score}, ())] == ["all"]


@given(SCORES)
def test_the_area_under_the_curve_drawn_is_the_average_precision(scored: list[tuple[bool, float]]) -> None:
    fraud = np.array([label for label, _ in scored] + [True])
    score = np.array([value for _, value in scored] + [0.5])
    precision, recall = precision_recall(fraud, score)
    area = float(np.sum(precision * np.diff(recall, prepend=0)))
    assert area == pytest.approx(average_precision(fraud, score))
    assert recall[-1] == 1


def test_plots_are_drawn_with_and_without_weeks(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra 'plots'")
    judged, score = a_judged()
    written = write_plots(judged, {"one": score}, tmp_path, by_weeks=False)
    assert {path.name for path in written} == {
        f"{name}.{suffix}" for name in ("precision-recall", "calibration") for suffix in ("png", "svg")
    }
    assert all(path.stat().st_size > 1_000 for path in written)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 60), st.integers(1, 30))
def test_a_block_of_a_table_is_learned_after_it_was_scored(rows: int, block_rows: int) -> None:
    rng = np.random.default_rng(rows)
    X, y = rng.random((rows, 2), np.float32), rng.random(rows) < 0.4
    oracle = LogisticRegression(("a", "b"))
    expected = []
    for at in range(0, rows, block_rows):
        expected += oracle.predict_proba_many(X[at : at + block_rows]).tolist()
        oracle.learn_many(X[at : at + block_rows], y[at : at + block_rows])
    learner = Clocked(Learning(LogisticRegression(("a", "b"))), iter(range(1_000)).__next__)
    found = table_scores(NumericTable(("a", "b"), X, y), {"one": learner}, block_rows)["one"]
    assert found.tolist() == expected
    blocks = -(-rows // block_rows)
    assert learner.rows_scored == rows
    assert learner.scoring_seconds == blocks
    assert learner.labels_learned == rows - (rows - (blocks - 1) * block_rows if rows else 0)


def test_a_detector_learns_the_rows_and_no_label() -> None:
    rng = np.random.default_rng(1)
    X = rng.random((600, 2), np.float32)
    honest, lied = (Detecting(HalfSpaceTrees(("a", "b"))) for _ in range(2))
    honest.learn_many(X, np.zeros(600, np.bool_))
    lied.learn_many(X, np.ones(600, np.bool_))
    np.testing.assert_array_equal(honest.score_many(X), lied.score_many(X))
    assert honest.detector.rows_seen == 600
