"""From streams to a model directory: simulate, train, export, check, calibrate, write."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import onnxruntime
import torch

from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from models.features.drift_reference import Reference
from models.scoring.attribution import Trees
from models.scoring.model import ScoringModel
from models.training.calibrate import Stack, decline_threshold, fit_stack, review_threshold
from models.training.card import write_model
from models.training.config import LICENCE, MODEL_NAME, MODEL_VERSION, TrainingConfig
from models.training.dataset import Dataset, concatenate, simulate_dataset
from models.training.drift_reference import reference_of
from models.training.evaluate import Agreement, Evaluation, attribution_agreement, evaluate
from models.training.export import (
    TOLERANCE,
    Parity,
    ParityError,
    check_parity,
    hard_rows,
    microseconds_per_event,
    network_to_onnx,
    probability,
    session,
)
from models.training.network import FraudNetwork, fit_network, network_probability
from models.training.simulator.config import DAY_MS
from models.training.trees import ML_OPSET, fit_trees, flatten, trees_to_onnx
from schemas.columns import F32, F64

logger = logging.getLogger(__name__)

Advance = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Split:
    """The data of a training run, apart by time and, for cold streams, by population."""

    train: Dataset
    calibration: Dataset  # the stack's weights
    selection: Dataset  # thresholds
    test: Dataset
    cold_test: Dataset
    reference: Reference  # of the features, for drift

    def slices(self) -> dict[str, Dataset]:
        """Return the parts that hold rows, by name."""
        parts = {name: getattr(self, name) for name in self.__slots__}
        return {name: part for name, part in parts.items() if isinstance(part, Dataset)}


def simulate_split(config: TrainingConfig, advance: Advance = lambda days: None) -> Split:
    """Simulate all streams and cut them: past to train on, then calibration and selection, then the test."""
    stream = config.main_stream()
    test_ms = stream.start_ms + (config.days - config.test_days) * DAY_MS
    validation_ms = test_ms - config.validation_days * DAY_MS
    selection_ms = (validation_ms + test_ms) // 2
    main = simulate_dataset(stream, config.batch_size, validation_ms, config.legitimate_share, advance)
    cold = [
        simulate_dataset(
            config.cold_stream(i),
            config.batch_size,
            # The last two are for calibration and test: whole.
            (1 << 62) if i < config.cold_training_streams else 0,
            config.legitimate_share,
            advance,
        )
        for i in range(config.cold_training_streams + 2)
    ]
    time_ms = main.event_time_ms
    return Split(
        train=concatenate([main.take(time_ms < validation_ms), *cold[: config.cold_training_streams]]),
        calibration=concatenate([main.take((time_ms >= validation_ms) & (time_ms < selection_ms)), cold[-2]]),
        selection=main.take((time_ms >= selection_ms) & (time_ms < test_ms)),
        test=main.take(time_ms >= test_ms),
        cold_test=cold[-1],
        reference=reference_of(config, main),
    )


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with everything that its card and report say."""

    booster: lightgbm.Booster
    network: FraudNetwork
    trees: Trees
    graphs: dict[str, onnx.ModelProto]
    stack: Stack
    review: float
    decline: float
    parity: dict[str, Parity]
    evaluation: dict[str, Evaluation]  # by name: test, cold test, and the parts alone on the test
    agreement: Agreement
    microseconds: dict[str, float]


def train(config: TrainingConfig, data: Split) -> Trained:
    """Train both parts, export them, prove parity, calibrate, choose thresholds, evaluate."""
    logger.info("training on %d rows, %d of them fraud", len(data.train), data.train.is_fraud.sum())
    booster = fit_trees(config.trees, data.train.X, data.train.is_fraud, data.train.weight)
    logger.info("trees trained; network next")
    network = fit_network(config.network, data.train.X, data.train.is_fraud, data.train.weight)
    trees = flatten(booster)
    graphs = {
        "gbm": trees_to_onnx(trees, len(FEATURE_NAMES)),
        "mlp": network_to_onnx(network, len(FEATURE_NAMES)),
    }
    sessions = {name: session(graph) for name, graph in graphs.items()}
    parity = _check(
        sessions, booster, network, np.concatenate([data.test.X[:20_000], hard_rows(data.test.X, trees, 20_000)])
    )

    def parts(X: F32) -> tuple[F32, F32]:
        return probability(sessions["gbm"], X), probability(sessions["mlp"], X)

    calibration, selection = data.calibration, data.selection
    stack = fit_stack(*parts(calibration.X), calibration.is_fraud, calibration.weight)
    selection_score = stack.score(*parts(selection.X))
    review = review_threshold(selection_score, selection.weight, config.alert_rate)
    decline = decline_threshold(selection_score, selection.is_fraud, selection.weight, config.decline_precision)
    review, decline = min(review, decline), max(review, decline)
    gbm, mlp = parts(data.test.X)
    score = stack.score(gbm, mlp)
    return Trained(
        booster,
        network,
        trees,
        graphs,
        stack,
        review,
        decline,
        parity,
        {
            "stack": evaluate(data.test, score, review, decline),
            "gbm": evaluate(data.test, gbm.astype(np.float64), review, decline),
            "mlp": evaluate(data.test, mlp.astype(np.float64), review, decline),
            "cold": evaluate(data.cold_test, stack.score(*parts(data.cold_test.X)), review, decline),
        },
        attribution_agreement(booster, trees, data.test.X[score >= review][:1_000]),
        {name: microseconds_per_event(graph, data.test.X) for name, graph in sessions.items()},
    )


def _check(
    sessions: dict[str, onnxruntime.InferenceSession], booster: lightgbm.Booster, network: FraudNetwork, X: F32
) -> dict[str, Parity]:
    # LightGBM sees the float32 values as float64: the same numbers.
    native: dict[str, F64 | F32] = {
        "gbm": np.asarray(booster.predict(X.astype(np.float64)), np.float64),
        "mlp": network_probability(network, X),
    }
    return {name: check_parity(name, sessions[name], X, native[name]) for name in native}


def ship(trained: Trained, config: TrainingConfig, data: Split, directory: Path) -> None:
    """Write the model directory, load it as scoring does, and compare its scores once more."""
    write_model(directory, trained.graphs, trained.trees, data.reference, make_card(trained, config, data))
    X = np.concatenate([data.test.X[:5_000], hard_rows(data.test.X, trained.trees, 2_000)])
    expected = trained.stack.score(
        np.asarray(trained.booster.predict(X.astype(np.float64)), np.float32), network_probability(trained.network, X)
    )
    # In log-odds the tolerance of the parts grows where a probability is next to 0 or 1; the score's does not.
    difference = float(np.max(np.abs(ScoringModel.load(directory).predict(X) - expected)))
    if not difference <= 10 * TOLERANCE:
        raise ParityError(f"{directory}: the loaded model differs by {difference:.2e} from the one that was trained")


def make_card(trained: Trained, config: TrainingConfig, data: Split) -> dict[str, Any]:
    """Return the card but for its checksums. Nothing in it depends on the time or the machine's speed."""
    legitimate = data.train.X[~data.train.is_fraud]
    with np.errstate(all="ignore"):
        present = ~np.isnan(legitimate).all(axis=0)
        medians = [float(np.nanmedian(column)) if p else None for column, p in zip(legitimate.T, present, strict=True)]
    stream = config.main_stream()
    return {
        "name": MODEL_NAME,
        "version": MODEL_VERSION,
        "licence": LICENCE,
        "feature_set": FEATURE_SET,
        "features": list(FEATURE_NAMES),
        "combination": asdict(trained.stack),
        "calibration": {
            "method": "logistic regression on the parts' log-odds, fitted on the calibration slice",
            "expected_calibration_error": round(trained.evaluation["stack"].reliability.expected_calibration_error, 6),
        },
        "thresholds": {"review": trained.review, "decline": trained.decline},
        "thresholds_chosen": {
            "on": "the selection slice, after the calibration slice and before the test",
            "review": f"{config.alert_rate:.1%} of the transactions reach it",
            "decline": f"from there on {config.decline_precision:.0%} of the transactions are fraud",
        },
        "usual_values": dict(zip(FEATURE_NAMES, medians, strict=True)),
        "opset": {
            "ai.onnx": next(o.version for o in trained.graphs["mlp"].opset_import if not o.domain),
            "ai.onnx.ml": ML_OPSET,
        },
        "input": {"name": "features", "dtype": "float32", "shape": ["n", len(FEATURE_NAMES)], "missing": "NaN"},
        "output": {"name": "fraud_probability", "dtype": "float32", "shape": ["n"]},
        "data": {
            "source": "models.training.simulator; labels are the simulator's truth",
            "main_stream": {
                "seed": stream.seed,
                "accounts": stream.accounts,
                "days": stream.days,
                "start_ms": stream.start_ms,
            },
            "validation_days": config.validation_days,
            "test_days": config.test_days,
            "cold_streams": {
                "accounts": config.cold_accounts,
                "days": config.cold_days,
                "training": config.cold_training_streams,
            },
            "rows": {
                name: {"rows": len(part), "frauds": int(part.is_fraud.sum())} for name, part in data.slices().items()
            },
            "legitimate_share_in_training": config.legitimate_share,
        },
        "settings": {"trees": asdict(config.trees), "network": asdict(config.network)},
        "metrics": {name: e.summary() for name, e in trained.evaluation.items()},
        "parity": {
            "tolerance": TOLERANCE,
            **{
                name: {"rows": p.rows, "largest_difference": float(f"{p.largest_difference:.2e}")}
                for name, p in trained.parity.items()
            },
        },
        "attribution_agreement": trained.agreement.as_dict(),
        "built_with": {
            "command": "python -m models.training",
            "python": platform.python_version(),
            "lightgbm": lightgbm.__version__,
            "torch": torch.__version__.split("+")[0],
            "onnxruntime": onnxruntime.__version__,
        },
    }
