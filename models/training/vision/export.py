"""To ONNX, with the proof that the graph answers as the network does."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import nn

OPSET = 18
IR_VERSION = 9

TOLERANCE = 2e-3
"""Allowed difference of any output, torch against ONNX. Probabilities and unit vectors come out within 1e-5; the map
holds log-odds of some tens, made of float32 sums over about a thousand products in fifteen layers, in another order:
1e-7 x 30 x 1000^0.5."""


class ParityError(AssertionError):
    """A graph does not answer as the network that it was exported from."""


def to_onnx(
    network: nn.Module, example: tuple[torch.Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], name: str
) -> onnx.ModelProto:
    """Export with a free first dimension."""
    for talkative in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(talkative).setLevel(logging.ERROR)
    batch = torch.export.Dim("batch", min=1, max=1024)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own dependencies
        program = torch.onnx.export(
            network.eval().to(memory_format=torch.contiguous_format),
            example,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple({0: batch} for _ in example),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "weir", ""
    model.graph.name = name
    # Traces of the exporter's own files and lines: they would change the checksum with the place of the project.
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


def session(model: onnx.ModelProto | bytes | Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a graph on the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if isinstance(model, Path):
        content = model.read_bytes()
    else:
        content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def check_parity(
    network: nn.Module, graph: onnxruntime.InferenceSession, feeds: Mapping[str, npt.NDArray[np.generic]]
) -> dict[str, float]:
    """Return the largest difference of every output.

    Raises
    ------
    ParityError
        Where one is above `TOLERANCE`, or is no number.
    """
    with torch.inference_mode():
        native = network(*(torch.from_numpy(np.ascontiguousarray(value)) for value in feeds.values()))
    native = native if isinstance(native, tuple) else (native,)
    differences = {}
    for output, expected, got in zip(graph.get_outputs(), native, graph.run(None, dict(feeds)), strict=True):
        difference = float(np.max(np.abs(got - expected.numpy())))
        if not difference <= TOLERANCE:
            raise ParityError(
                f"{output.name}: ONNX and torch differ by {difference:.2e}, more than {TOLERANCE:.0e}; do not ship it"
            )
        differences[output.name] = difference
    return differences
