"""What a network's graph does to the features before its first layer, compiled into one pass over the rows.

ONNX Runtime passes over all features once for each of sixteen small operators, which takes longer than the layers
do. Here they are one loop that gives the same bits; the layers stay with ONNX Runtime, as a graph of their own.

Each operator but the logarithm is one IEEE operation, so its result is given. The logarithm is the one that ONNX
Runtime takes from Eigen: the number is split into m 2^e with m in [sqrt(1/2), sqrt(2)), and log m is a rational
function of m - 1. A graph of another form, or one whose answers differ in a single bit on the rows that are compared,
is left to ONNX Runtime whole.

References
----------
Eigen, `plog_impl_float`, https://gitlab.com/libeigen/eigen (Eigen/src/Core/arch/Default/GenericPacketMathFunctions.h)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import onnxruntime
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from models.scoring.onnx_graph import Node, OnnxGraph
from schemas.columns import F32

ROWS_COMPARED = 4_096
ROWS_AT_ONCE = 512
"""Of a graph: what passes between its operators then stays in the nearest caches."""

_STEPS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("IsNaN", ("features",), "missing"),
    ("Cast", ("missing",), "flag"),
    ("Where", ("missing", "zero", "features"), "known"),
    ("Mul", ("known", "steep"), "steeper"),
    ("Clip", ("steeper", "minus_one", "one"), "sign"),
    ("Abs", ("known",), "size"),
    ("Add", ("size", "one"), "beyond_one"),
    ("Log", ("beyond_one",), "log1p"),
    ("Mul", ("sign", "log1p"), "squashed"),
    ("Sub", ("squashed", "mean"), "centred"),
    ("Mul", ("centred", "scale"), "scaled"),
    ("Clip", ("scaled", "lowest", "highest"), "standard"),
    ("Sub", ("one", "flag"), "is_known"),
    ("Mul", ("standard", "is_known"), "value"),
    ("Mul", ("flag", "flag_scale"), "flag_value"),
    ("Concat", ("value", "flag_value"), "inputs"),
)
"""Operators, what they take and what they give: `FraudNetwork.log_odds` as it is exported."""
_SCALARS = {"zero": 0.0, "minus_one": -1.0, "one": 1.0}
_LIMITS = ("steep", "lowest", "highest")
_BY_FEATURE = ("mean", "scale", "flag_scale")

Answer = Callable[[F32], F32]
"""(n, F) features -> (n,) probabilities."""


@dataclass(frozen=True, slots=True)
class NetworkScorer:
    """A network whose preprocessing is compiled."""

    steep: np.float32
    lowest: np.float32
    highest: np.float32
    mean: F32  # (F,)
    scale: F32  # (F,)
    flag_scale: F32  # (F,)
    layers: Answer  # (n, 2 F) inputs of the first layer -> (n,) probabilities
    whole: Answer  # what it is compiled from; answers where a feature is infinite

    @classmethod
    def compile(cls, content: bytes, load: Callable[[bytes], onnxruntime.InferenceSession]) -> Self | None:
        """Return a scorer of a serialised graph; None where it is of another form, or answers otherwise.

        Parameters
        ----------
        content
            The graph.
        load
            Makes sessions of graphs.
        """
        graph = OnnxGraph(content)
        bound = _bind(graph.nodes, graph.inputs)
        if bound is None or any(bound[name] not in graph.constants for name in (*_SCALARS, *_LIMITS, *_BY_FEATURE)):
            return None
        constant = {name: graph.constants[tensor] for name, tensor in bound.items() if tensor in graph.constants}
        if any(constant[name].shape for name in (*_SCALARS, *_LIMITS)):
            return None
        if any(constant[name] != value for name, value in _SCALARS.items()):
            return None
        features = constant["mean"].shape
        if len(features) != 1 or any(constant[name].shape != features for name in _BY_FEATURE):
            return None
        rest = graph.without(range(len(_STEPS)), bound["inputs"])
        steep, lowest, highest = (np.float32(constant[name]) for name in _LIMITS)
        mean, scale, flag_scale = (constant[name] for name in _BY_FEATURE)
        layers, whole = answer(load(rest), bound["inputs"]), answer(load(content), bound["features"])
        scorer = cls(steep, lowest, highest, mean, scale, flag_scale, layers, whole)
        X = rows_to_compare(features[0])
        return scorer if np.array_equal(_bits_of(scorer(X)), _bits_of(scorer.whole(X))) else None

    def __call__(self, X: F32) -> F32:
        """Return the network's probabilities, (n,), of (n, F) features; NaN is missing."""
        inputs = np.empty((len(X), 2 * len(self.mean)), np.float32)
        is_finite = _prepare(
            X, self.steep, self.lowest, self.highest, self.mean, self.scale, self.flag_scale, inputs,
            np.empty(len(self.mean), np.float32),
        )  # fmt: skip
        return self.layers(inputs) if is_finite else self.whole(X)


def answer(session: onnxruntime.InferenceSession, name: str = "features") -> Answer:
    """Return what runs a graph on one input."""
    return lambda X: session.run(["fraud_probability"], {name: X})[0].reshape(-1)  # type: ignore[no-any-return]


def rows_to_compare(features: int) -> F32:
    """Return rows of the sizes that features have: counts, amounts, seconds, ratios, near 0 and missing."""
    rng = np.random.default_rng(0)
    X = rng.lognormal(0.0, 6.0, (ROWS_COMPARED, features)) * rng.choice(
        [-1.0, 1.0, 1.0, 1.0], (ROWS_COMPARED, features)
    )
    kinds = rng.integers(0, 8, X.shape)
    X = np.where(kinds == 0, np.nan, np.where(kinds == 1, 0.0, np.where(kinds == 2, np.rint(X), X)))
    return X.astype(np.float32)


def _bits_of(values: F32) -> Any:
    return np.ascontiguousarray(values).view(np.uint32)


def _bind(nodes: Sequence[Node], inputs: Sequence[str]) -> dict[str, str] | None:
    """Return the tensor of each name of `_STEPS`; None where the graph does not begin with these steps."""
    if len(inputs) != 1 or len(nodes) < len(_STEPS):
        return None
    bound = {"features": inputs[0]}
    for node, (operator, taken, given) in zip(nodes, _STEPS, strict=False):
        if node.operator != operator or len(node.inputs) != len(taken) or len(node.outputs) != 1:
            return None
        for name, tensor in (*zip(taken, node.inputs, strict=True), (given, node.outputs[0])):
            if bound.setdefault(name, tensor) != tensor:
                return None
    made_here = {bound[given] for _, _, given in _STEPS} - {bound["inputs"]}
    if any(tensor in made_here for node in nodes[len(_STEPS) :] for tensor in node.inputs):
        return None
    return bound


@intrinsic
def _as_int(typing_context: Any, value: Any) -> Any:
    """Return the bits of a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def _as_float(typing_context: Any, value: Any) -> Any:
    """Return the float32 of some bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)
_HALF_ROOT = np.float32(0.707106781186547524)
_LN_2 = np.float32(0.6931471805599453)
_P1, _P2, _P3 = np.float32(1.0000000190281136), np.float32(1.0000000190281063), np.float32(0.18256296349849254)
_Q1, _Q2, _Q3 = np.float32(1.4999999999999927), np.float32(0.59923249590823520), np.float32(0.049616247954120038)
_MANTISSA = np.int32(0x007FFFFF)
_HALF = np.int32(0x3F000000)
_INFINITE = np.int32(0x7F800000)
_SIZE = np.int32(0x7FFFFFFF)
_EXPONENT_AT, _BIAS = np.int32(23), np.int32(126)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _log(value):  # type: ignore[no-untyped-def]
    """Return the logarithm of a finite number from 1 on."""
    bits = _as_int(value)
    exponent = np.float32(np.int32((bits >> _EXPONENT_AT) - _BIAS))
    m = _as_float(np.int32((bits & _MANTISSA) | _HALF))
    is_small = m < _HALF_ROOT
    doubled = m if is_small else _ZERO
    exponent = exponent - (_ONE if is_small else _ZERO)
    m = (m - _ONE) + doubled
    p = m * (m * (m * _P3 + _P2) + _P1)
    q = m * (m * (m * _Q3 + _Q2) + _Q1) + _ONE
    return exponent * _LN_2 + p / q


@njit(cache=True, nogil=True, error_model="numpy")
def logarithms(values: F32, out: F32) -> None:
    """Write the logarithms of finite numbers from 1 on."""
    for i in range(len(values)):
        out[i] = _log(values[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _prepare(X, steep, lowest, highest, mean, scale, flag_scale, out, squashed):  # type: ignore[no-untyped-def]
    """Write the inputs of the first layer; False where a feature is infinite."""
    features = len(mean)
    is_finite = True
    for row in range(len(X)):
        largest = np.int32(0)
        for j in range(features):
            known = X[row, j]
            known = _ZERO if known != known else known
            sign = known * steep
            sign = sign if sign > -_ONE else -_ONE
            sign = sign if sign < _ONE else _ONE
            size = np.int32(_as_int(known) & _SIZE)  # as bits, which rise with the number
            largest = max(largest, size)
            squashed[j] = sign * _log(_as_float(size) + _ONE)
        if largest >= _INFINITE:
            is_finite = False
        # Few arrays in each loop: the compiler makes it one over vectors only where it can tell them apart cheaply.
        for j in range(features):
            value = (squashed[j] - mean[j]) * scale[j]
            value = value if value > lowest else lowest
            squashed[j] = value if value < highest else highest
        for j in range(features):
            out[row, j] = squashed[j] * (_ONE - (_ONE if X[row, j] != X[row, j] else _ZERO))
        for j in range(features):
            out[row, features + j] = (_ONE if X[row, j] != X[row, j] else _ZERO) * flag_scale[j]
    return is_finite
