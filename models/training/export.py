"""To ONNX, with the proof that the graphs answer as the models do."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch

from models.scoring.attribution import Trees
from models.training.network import FraudNetwork
from models.training.trees import IR_VERSION, OPSET
from schemas.columns import F32, F64

TOLERANCE = 2e-6
"""Allowed difference of probabilities, native against ONNX. Splits compare exactly, so both walk to the same leaves and
the network sees the same numbers; what differs is the rounding of float32 sums: about 1e-7 of a log-odd per addition,
about 100 additions, times the slope of the logistic function, at most 1/4."""

BATCH = 500


class ParityError(AssertionError):
    """A graph does not answer as the model that it was exported from."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Result of one comparison."""

    rows: int
    largest_difference: float


def network_to_onnx(network: FraudNetwork, feature_count: int) -> onnx.ModelProto:
    """Return a graph `features` (n, F) float32 -> `fraud_probability` (n,) float32, preprocessing included."""
    example = torch.zeros(8, feature_count)
    for talkative in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(talkative).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own dependencies
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["features"],
            output_names=["fraud_probability"],
            dynamic_shapes={"features": {0: torch.export.Dim("n")}},
            opset_version=OPSET + 1,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "weir", ""
    model.graph.name = "fraud_network"
    # Traces of the exporter's own file and line numbers: they would change the checksum with the place of the project.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    onnx.checker.check_model(model)
    return model


def session(model: onnx.ModelProto | bytes) -> onnxruntime.InferenceSession:
    """Load a graph as scoring does: one thread, in order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def probability(graph: onnxruntime.InferenceSession, X: F32, batch: int = 8192) -> F32:
    """Score rows with a graph."""
    parts = [graph.run(["fraud_probability"], {"features": X[i : i + batch]})[0] for i in range(0, len(X), batch)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def hard_rows(X: F32, trees: Trees, count: int, seed: int = 0) -> F32:
    """Return rows that graphs get wrong first: missing values, and values at and next to the thresholds of splits."""
    rng = np.random.default_rng(seed)
    rows = X[rng.integers(0, len(X), count)].copy()
    rows[: count // 4][rng.random((count // 4, X.shape[1])) < 0.3] = np.nan
    inner = np.flatnonzero(trees.feature >= 0)
    for row in range(count // 4, count):
        # Every split once before any twice, a few in each row.
        for split in inner[(7 * row + np.arange(7)) % len(inner)]:
            side = (-np.inf, trees.threshold[split], np.inf)[int(rng.integers(3))]
            rows[row, trees.feature[split]] = np.nextafter(np.float32(trees.threshold[split]), np.float32(side))
    np.nan_to_num(rows, copy=False, nan=np.nan)  # infinite values are no input: beside the largest is the largest
    rows[0] = np.nan
    rows[1] = 0.0
    return rows


def check_parity(name: str, graph: onnxruntime.InferenceSession, X: F32, native: F32 | F64) -> Parity:
    """Compare a graph's probabilities with the native model's.

    Raises
    ------
    ParityError
        Where they differ by more than the tolerance.
    """
    difference = float(np.max(np.abs(probability(graph, X).astype(np.float64) - native)))
    if not difference <= TOLERANCE:
        raise ParityError(
            f"{name}: ONNX and native differ by {difference:.2e}, more than {TOLERANCE:.0e}; do not ship it"
        )
    return Parity(len(X), difference)


def microseconds_per_event(graph: onnxruntime.InferenceSession, X: F32, repeats: int = 200) -> float:
    """Return the cost of an event in batches of 500 on one thread.

    The fastest tenth of the batches counts: whatever else runs on the machine only ever adds.
    """
    batches = [np.ascontiguousarray(X[i * BATCH : (i + 1) * BATCH]) for i in range(max(1, min(20, len(X) // BATCH)))]
    seconds = []
    for number in range(repeats):
        batch = batches[number % len(batches)]
        started = time.perf_counter()
        graph.run(["fraud_probability"], {"features": batch})
        seconds.append((time.perf_counter() - started) / len(batch))
    return float(np.quantile(seconds, 0.1) * 1e6)
