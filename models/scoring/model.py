"""The scoring model: ONNX graphs in, calibrated fraud probabilities out, as the model's card says.

A model is a directory:

- `card.json`, the card (below);
- one `.onnx` file per part: input `features` float32 (n, F), output `fraud_probability` float32 (n,) or (n, 1);
- `trees.npz`, the tree part's nodes (`models.scoring.attribution.Trees`): for contributions, and to be compiled;
- `drift_reference.npz`, what the features looked like in training (`models.features.drift_reference.Reference`): for
  the learner job, which watches them; it may be absent.

Graphs are run by ONNX Runtime. The tree part is run compiled (`models.scoring.tree_scorer`), after it has shown on rows
at and beside its thresholds that it answers as its graph does; a tree of more than 32 leaves leaves it to the graph.
What a network does before its first layer is run compiled (`models.scoring.network_scorer`) where that gives the same
bits.

The card's keys that scoring reads:

- `name`, `version`, `feature_set`: what a decision names; `features`: the F names in the graphs' order;
- `files`: SHA-256 (hexadecimal) by file name, for every file but the card;
- `combination`: `{"gbm": a, "mlp": b, "intercept": c}`, giving score = sigmoid(a logit(gbm) + b logit(mlp) + c), where
  each key but `intercept` names the `.onnx` file of a part;
- `thresholds`: `{"review": r, "decline": d}`, scores from which a transaction is reviewed or declined;
- `usual_values`: median over legitimate training transactions by feature (null or absent: there is none).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numba import njit

from models.features.drift_reference import DriftReferenceError, Reference
from models.scoring.attribution import Trees
from models.scoring.errors import ModelError
from models.scoring.network_scorer import ROWS_AT_ONCE, Answer, NetworkScorer, answer
from models.scoring.tree_scorer import TreeScorer
from schemas.columns import F32, F64

TREE_PART = "gbm"
"""The part whose trees explain the score; the other parts' shares are not attributed."""

REFERENCE_FILE = "drift_reference.npz"

_PROBABILITY_FLOOR = 1e-7  # about float32's resolution next to 1: log-odds stay within +-16.1
_LARGEST_LOG_ODDS = float(np.log((1.0 - _PROBABILITY_FLOOR) / _PROBABILITY_FLOOR))

PARITY_ROWS = 512
PARITY_TOLERANCE = 2e-6
"""Of a probability, the graph's against the compiled trees': the graph adds about 100 leaves in float32, each rounded
by 1e-7 of a log-odd, and the logistic function's slope is at most 1/4."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores from which a transaction is reviewed and declined."""

    review: float
    decline: float

    def __post_init__(self) -> None:
        if not 0.0 < self.review <= self.decline:
            raise ModelError(
                f"thresholds must satisfy 0 < review <= decline, found review {self.review} and decline {self.decline}"
            )


class ScoringModel:
    """A loaded model: `predict` for scores, `contributions` for reasons. Use `ScoringModel.load`."""

    def __init__(
        self,
        card: dict[str, Any],
        card_sha256: str,
        parts: dict[str, Answer],
        trees: Trees,
    ) -> None:
        self.card = card
        self.card_sha256 = card_sha256
        self.name: str = card["name"]
        self.version: str = card["version"]
        self.feature_set: str = card["feature_set"]
        self.feature_names: tuple[str, ...] = tuple(card["features"])
        self.thresholds = Thresholds(float(card["thresholds"]["review"]), float(card["thresholds"]["decline"]))
        usual = card.get("usual_values", {})
        self.usual_values: F32 = np.array(
            [np.nan if usual.get(name) is None else usual[name] for name in self.feature_names], np.float32
        )
        combination = card["combination"]
        self._intercept = float(combination["intercept"])
        self._tree_weight = float(combination[TREE_PART])
        self._trees = trees
        self._scorer = TreeScorer.compile(trees)
        run = [name for name in parts if name != TREE_PART or self._scorer is None]
        self._parts = [(parts[name], float(combination[name])) for name in run]

    @classmethod
    def load(cls, directory: Path) -> ScoringModel:
        """Read a model directory, check every file's SHA-256, and run each graph once.

        Raises
        ------
        ModelError
            Where a file is missing or altered, or the card and the graphs disagree.
        """
        card_path = directory / "card.json"
        card_bytes, card = _read_card(directory)
        contents = {name: _checked_bytes(directory / name, sha256) for name, sha256 in card["files"].items()}
        parts = [name for name in card["combination"] if name != "intercept"]
        for name in (*(f"{part}.onnx" for part in parts), "trees.npz"):
            if name not in contents:
                raise ModelError(f"{card_path}: `files` has no SHA-256 for {name}, which the combination needs")
        if TREE_PART not in parts or "intercept" not in card["combination"]:
            raise ModelError(f"{card_path}: `combination` needs {TREE_PART!r} and 'intercept', found {parts}")
        answers = {part: _answer(contents[f"{part}.onnx"], part) for part in parts}
        trees = Trees.load(directory / "trees.npz", len(card["features"]))
        model = cls(card, hashlib.sha256(card_bytes).hexdigest(), answers, trees)
        model._warm_up(directory)
        if model._scorer is not None:
            _check_parity(model._scorer, trees, answers[TREE_PART], len(model.feature_names))
        return model

    def predict(self, X: F32) -> F32:
        """Score transactions.

        Parameters
        ----------
        X
            (n, F) feature values in the order of `feature_names`; NaN is missing.

        Returns
        -------
        (n,) calibrated probability that the transaction is fraud or laundering; a row's score does not depend on the
        other rows.
        """
        if len(X) == 0:
            return np.zeros(0, np.float32)
        X = np.ascontiguousarray(X, np.float32)
        log_odds = np.full(len(X), self._intercept)
        if self._scorer is not None:
            raw = np.clip(self._scorer.log_odds(X), -_LARGEST_LOG_ODDS, _LARGEST_LOG_ODDS)
            log_odds += self._tree_weight * raw
        for part, weight in self._parts:
            for start in range(0, len(X), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                _add_log_odds(log_odds[rows], part(X[rows]), weight, _PROBABILITY_FLOOR)
        score: F32 = _sigmoid(log_odds)
        return score

    def contributions(self, X: F32) -> F32:
        """Attribute the score's log-odds to the features: (m, F), positive where a feature raises the score.

        Only the tree part's share is attributed. Costs one walk of every tree per row: for alerts, not for every row.
        """
        return (self._trees.contributions(X) * self._tree_weight).astype(np.float32)

    def _warm_up(self, directory: Path) -> None:
        X = np.full((2, len(self.feature_names)), np.nan, np.float32)
        try:
            scores = self.predict(X)
        except Exception as error:  # ONNX Runtime raises classes of its own, derived from Exception only
            raise ModelError(
                f"{directory}: the graphs do not take float32 `features` of {len(self.feature_names)} columns and give "
                f"`fraud_probability`: {error}"
            ) from error
        if not bool(np.all(np.isfinite(scores))):
            raise ModelError(f"{directory}: the score of a transaction with all features missing is not finite")
        self.contributions(X)


def read_reference(directory: Path) -> Reference | None:
    """Return the drift reference that goes with the model in a directory; None where its card names none.

    Raises
    ------
    ModelError
        Where the card or the reference is missing, altered, or of other features than the model's.
    """
    _, card = _read_card(directory)
    if REFERENCE_FILE not in card["files"]:
        return None
    path = directory / REFERENCE_FILE
    try:
        reference = Reference.from_bytes(_checked_bytes(path, card["files"][REFERENCE_FILE]))
    except DriftReferenceError as error:
        raise ModelError(f"{path}: {error}") from error
    if reference.names != tuple(card["features"]):
        raise ModelError(f"{path}: of other features than the model's; `python -m models.training.drift_reference`")
    return reference


def _read_card(directory: Path) -> tuple[bytes, dict[str, Any]]:
    card_path = directory / "card.json"
    try:
        card_bytes = card_path.read_bytes()
        card = json.loads(card_bytes)
    except FileNotFoundError:
        raise ModelError(f"{card_path}: no such file; `make models` builds the model directory") from None
    except ValueError as error:
        raise ModelError(f"{card_path}: not JSON ({error})") from error
    for key in ("name", "version", "feature_set", "features", "files", "combination", "thresholds"):
        if key not in card:
            raise ModelError(f"{card_path}: the key {key!r} is missing")
    return card_bytes, card


def _checked_bytes(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: named by the card but not there; `make models` builds it") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(f"{path}: SHA-256 is {found}, the card says {sha256}; restore the file or rebuild the model")
    return content


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One thread: jobs scale by task slots, and sums keep their order.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its own, derived from Exception only
        raise ModelError(f"the ONNX graph cannot be loaded: {error}") from error


def _answer(content: bytes, part: str) -> Answer:
    whole = answer(_session(content))
    return whole if part == TREE_PART else NetworkScorer.compile(content, _session) or whole


def _check_parity(scorer: TreeScorer, trees: Trees, graph: Answer, feature_count: int) -> None:
    """Compare the compiled trees with their graph, on values at and next to the thresholds and on missing ones."""
    rng = np.random.default_rng(0)
    X = np.zeros((PARITY_ROWS, feature_count), np.float32)
    splits = np.flatnonzero(trees.feature >= 0)
    for column in np.unique(trees.feature[splits]).tolist():
        limits = trees.threshold[splits[trees.feature[splits] == column]].astype(np.float32)
        near = np.stack([np.nextafter(limits, np.float32(-np.inf)), limits, np.nextafter(limits, np.float32(np.inf))])
        X[:, column] = rng.choice(near.ravel()[np.isfinite(near.ravel())], PARITY_ROWS)
    X[rng.random(X.shape) < 0.2] = np.nan
    expected = graph(X)
    difference = float(np.abs(_sigmoid(scorer.log_odds(X)) - expected).max())
    if not difference <= PARITY_TOLERANCE:
        raise ModelError(
            f"the trees of trees.npz and the graph {TREE_PART}.onnx differ by {difference:.2g} on the same rows (up to "
            f"{PARITY_TOLERANCE:.0e} is rounding): they are not of one export, `make models` builds both"
        )


@njit(cache=True, nogil=True)
def _add_log_odds(log_odds: F64, probability: F32, weight: float, floor: float) -> None:
    for row in range(len(log_odds)):
        p: float = min(max(float(probability[row]), floor), 1.0 - floor)
        log_odds[row] += weight * np.log(p / (1.0 - p))


@njit(cache=True, nogil=True)
def _sigmoid(log_odds: F64) -> F32:
    out = np.empty(len(log_odds), np.float32)
    for row in range(len(log_odds)):
        out[row] = 1.0 / (1.0 + np.exp(-log_odds[row]))
    return out
