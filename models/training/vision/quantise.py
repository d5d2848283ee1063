"""INT8: static quantisation with calibration, and the table that decides whether it is shipped.

Weights per channel, activations per tensor, in QDQ form. What must stay exact stays float: the residual filters
(their clipped output is the signal), the heads, norms and the softmax of attention.

References
----------
ONNX Runtime, Quantize ONNX models: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

Feed = Mapping[str, npt.NDArray[np.generic]]

SMALLER, FASTER, WORSE = 3.5, 2.0, 0.005
"""Quantised is shipped if so many times smaller, so many times faster, and at most so much worse in its metric."""


class _Feeds(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def quantised(
    model: onnx.ModelProto,
    feeds: Iterable[Feed],
    work: Path,
    keep_float: Callable[[onnx.ModelProto], Sequence[str]] = lambda _: (),
) -> onnx.ModelProto:
    """Return the graph in INT8.

    Parameters
    ----------
    feeds
        Calibration inputs.
    keep_float
        Names of the nodes of the prepared graph that stay float, beside products of two activations.
    """
    work.mkdir(parents=True, exist_ok=True)
    source, prepared, target = work / "float.onnx", work / "prepared.onnx", work / "int8.onnx"
    source.write_bytes(model.SerializeToString())
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    ready = onnx.load(str(prepared))
    constants = {initializer.name for initializer in ready.graph.initializer}
    products = [n.name for n in ready.graph.node if n.op_type == "MatMul" and not constants & set(n.input)]
    quantize_static(
        str(prepared),
        str(target),
        _Feeds(feeds),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
        calibrate_method=CalibrationMethod.MinMax,
        nodes_to_exclude=[*keep_float(ready), *products],
        extra_options={"CalibMovingAverage": True},
    )
    return onnx.load(str(target))


def latencies(
    graphs: Sequence[onnxruntime.InferenceSession], feeds: Sequence[Feed], repeats: int
) -> list[dict[str, float]]:
    """Return p50 and p99 of one instance at a time in milliseconds, of each graph.

    The graphs take turns, so that whatever else runs on the machine slows all of them alike: their ratio holds on a
    busy machine too.
    """
    seconds: list[list[float]] = [[] for _ in graphs]
    for graph in graphs:
        graph.run(None, dict(feeds[0]))
    for number in range(repeats):
        for graph, taken in zip(graphs, seconds, strict=True):
            started = time.perf_counter()
            graph.run(None, dict(feeds[number % len(feeds)]))
            taken.append(time.perf_counter() - started)
    return [
        {"p50_ms": round(float(np.quantile(s, 0.5)) * 1e3, 2), "p99_ms": round(float(np.quantile(s, 0.99)) * 1e3, 2)}
        for s in seconds
    ]


def gains(row_float: Mapping[str, Any], row_int8: Mapping[str, Any], metric: str) -> bool:
    """Return whether the quantised graph is to be shipped."""
    return bool(
        row_float["bytes"] >= SMALLER * row_int8["bytes"]
        and row_float["p50_ms"] >= FASTER * row_int8["p50_ms"]
        and row_int8[metric] >= row_float[metric] - WORSE
    )
