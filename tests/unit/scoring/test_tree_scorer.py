"""Compiled trees answer as a naive walk does, whatever the trees, the rows and their number."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring.attribution import Trees
from models.scoring.errors import ModelError
from models.scoring.model import ScoringModel
from models.scoring.tree_scorer import ROWS, TreeScorer

COLUMNS = 3
VALUES = [-np.inf, -1.5, 0.0, 1e-35, 2.0, float(np.finfo(np.float32).max), np.inf, np.nan]
SHIPPED = Path(__file__).parents[3] / "models" / "shipped" / "weir-1"


def random_trees(rng: np.random.Generator, trees: int, most_leaves: int) -> Trees:
    """Grow trees by splitting random leaves; thresholds may be infinite, as those of 'is it missing' are."""
    nodes: dict[str, list[float]] = {name: [] for name in ("feature", "threshold", "left", "right", "value", "default")}
    roots = []

    def grow(leaves: int) -> int:
        node = len(nodes["feature"])
        for name, value in (("feature", -1), ("threshold", 0.0), ("left", -1), ("right", -1), ("default", 0)):
            nodes[name].append(value)
        nodes["value"].append(float(rng.normal()))
        if leaves > 1:
            nodes["feature"][node] = int(rng.integers(COLUMNS))
            nodes["threshold"][node] = float(rng.choice([v for v in VALUES if not np.isnan(v) and v > -np.inf]))
            nodes["default"][node] = int(rng.integers(2))
            on_left = int(rng.integers(1, leaves))
            nodes["left"][node] = grow(on_left)
            nodes["right"][node] = grow(leaves - on_left)
        return node

    for _ in range(trees):
        roots.append(grow(int(rng.integers(1, most_leaves + 1))))
    return Trees(
        feature=np.array(nodes["feature"], np.int32),
        threshold=np.array(nodes["threshold"], np.float32).astype(np.float64),
        left=np.array(nodes["left"], np.int32),
        right=np.array(nodes["right"], np.int32),
        value=np.array(nodes["value"]),
        default_left=np.array(nodes["default"], np.uint8),
        roots=np.array(roots, np.int32),
    )


def walked(trees: Trees, X: np.ndarray) -> list[float]:
    """Add up the leaves that a row comes to, tree by tree."""
    found = []
    for row in X.tolist():
        total = 0.0
        for root in trees.roots.tolist():
            node = root
            while trees.feature[node] >= 0:
                value = row[trees.feature[node]]
                goes_left = trees.default_left[node] == 1 if np.isnan(value) else value <= trees.threshold[node]
                node = int(trees.left[node] if goes_left else trees.right[node])
            total += float(trees.value[node])
        found.append(total)
    return found


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    trees=st.integers(1, 4),
    most_leaves=st.sampled_from([1, 2, 9, 32]),
    rows=st.sampled_from([0, 1, 5, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 7]),
)
def test_every_row_comes_to_the_leaves_of_a_walk(seed: int, trees: int, most_leaves: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    ensemble = random_trees(rng, trees, most_leaves)
    # Infinite values are no input: beside the largest is the largest.
    X = rng.choice([v for v in VALUES if not np.isinf(v)], (rows, COLUMNS)).astype(np.float32)
    scorer = TreeScorer.compile(ensemble)
    assert scorer is not None
    assert scorer.log_odds(X).tolist() == walked(ensemble, X)


def test_a_tree_of_more_leaves_than_bits_is_left_to_its_graph() -> None:
    rng = np.random.default_rng(1)
    while len((trees := random_trees(rng, 1, 40)).feature) < 2 * 33 - 1:
        pass
    assert TreeScorer.compile(trees) is None


def test_trees_that_are_not_the_graphs_are_refused(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "model")
    with np.load(SHIPPED / "trees.npz") as arrays:
        changed = dict(arrays)
    changed["value"] = changed["value"] * 1.01
    np.savez(tmp_path / "model" / "trees.npz", **changed)
    card = json.loads((SHIPPED / "card.json").read_text())
    card["files"]["trees.npz"] = hashlib.sha256((tmp_path / "model" / "trees.npz").read_bytes()).hexdigest()
    (tmp_path / "model" / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="not of one export"):
        ScoringModel.load(tmp_path / "model")
