"""A BERT-class encoder as an ONNX graph, built node by node from its weights: no training library is needed.

Inputs `input_ids` and `attention_mask` (B, T) int64, T at most the model's positions; output `embedding` (B, H) float32
of length 1: the mean over the tokens that are no padding, as the sentence-transformers library makes it.

Tokens run through the matrix products packed, (R, H) with R tokens that are no padding; only attention sees (B, T). So
short texts cost little beside long ones in a batch.

With ``is_int8``, matrix products run on integers: weights with a scale for each output, activations with a scale for
each token, found as it passes. A text's vector does not depend on the texts beside it in the batch then, as it would
with the usual dynamic quantisation, whose one scale is that of the whole tensor.

References
----------
Devlin et al., BERT: https://arxiv.org/abs/1810.04805
Wang et al., MiniLM: https://arxiv.org/abs/2002.10957
ONNX Runtime's operators: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.training.text.encoder_weights import Weights

OPSET = 20
MICROSOFT = "com.microsoft"

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class BertConfig:
    """The sizes of an encoder, from its config.json."""

    layers: int
    hidden: int
    heads: int
    epsilon: float

    @classmethod
    def from_json(cls, config: dict[str, Any]) -> BertConfig:
        """Read config.json; other architectures are refused."""
        if config["model_type"] != "bert" or config["hidden_act"] != "gelu":
            raise ValueError(f"an encoder of type bert is expected, not {config['model_type']}: export it with torch")
        return cls(
            config["num_hidden_layers"],
            config["hidden_size"],
            config["num_attention_heads"],
            config["layer_norm_eps"],
        )


class _Graph:
    """Nodes and constants, as they are added."""

    def __init__(self, is_int8: bool) -> None:
        self.is_int8 = is_int8
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: Array) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], output, domain=domain, **attributes))
        return output

    def linear(self, name: str, x: str, weight: Array, bias: Array | None = None) -> str:
        """Multiply (R, inputs) by `weight` (outputs, inputs); add the bias if there is one."""
        if not self.is_int8:
            y = self.node("MatMul", [x, self.constant(f"{name}.weight", weight.T)], f"{name}.product")
        else:
            y = self._integer_product(name, x, weight)
        return y if bias is None else self.node("Add", [y, self.constant(f"{name}.bias", bias)], name)

    def _integer_product(self, name: str, x: str, weight: Array) -> str:
        values, scales = quantise_rows(weight)
        last = self.constant("axis.last", np.array([1], np.int64))
        largest = self.node("ReduceMax", [self.node("Abs", [x], f"{name}.abs"), last], f"{name}.largest", keepdims=1)
        share = self.node("Mul", [largest, self.constant("share", np.array(1 / 127, np.float32))], f"{name}.share")
        scale = self.node(
            "Max", [share, self.constant("least", np.array(1e-12, np.float32))], f"{name}.scale"
        )  # (R, 1)
        vector = self.node("Squeeze", [scale, last], f"{name}.scales")  # (R,)
        rows = self.node("Shape", [vector], f"{name}.rows")
        middle = self.constant("middle", np.array(128, np.uint8))
        middles = self.node("Expand", [middle, rows], f"{name}.middles")
        # Unsigned activations by signed weights are what the processor multiplies at once (VNNI).
        quantised = self.node("QuantizeLinear", [x, vector, middles], f"{name}.quantised", axis=0)
        kernel = self.constant(f"{name}.weight", values.T)
        # Scaled by output as it is multiplied; by token behind that, since the operator takes one scale for all tokens.
        one = self.constant("unit", np.array(1, np.float32))
        inputs = [quantised, kernel, one, self.constant(f"{name}.weight.scale", scales), middle]
        product = self.node("MatMulIntegerToFloat", inputs, f"{name}.unscaled", MICROSOFT)
        return self.node("Mul", [product, scale], f"{name}.product")


def quantise_rows(weight: Array) -> tuple[Array, Array]:
    """Quantise (rows, columns) to int8 with one scale a row: values (rows, columns), scales (rows,)."""
    scales = np.maximum(np.abs(weight).max(axis=1) / 127, 1e-12).astype(np.float32)
    return np.rint(weight / scales[:, None]).astype(np.int8), scales


def build_encoder(weights: Weights, config: BertConfig, *, is_int8: bool) -> onnx.ModelProto:
    """Make the graph, in float32 or in integers."""
    graph = _Graph(is_int8)
    # Places (R, 2) of the tokens that are no padding.
    graph.node("Transpose", [graph.node("NonZero", ["attention_mask"], "places.rows")], "places", perm=[1, 0])
    x = _embeddings(graph, weights, config)
    graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)  # 1 for a token, 0 for padding
    shape = graph.node("Shape", ["input_ids"], "shape")
    for width, name in ((3 * config.hidden, "qkv"), (config.hidden, "hidden")):
        size = graph.constant(f"{name}.width", np.array([width], np.int64))
        full = graph.node("Concat", [shape, size], f"{name}.shape", axis=0)
        graph.node("ConstantOfShape", [full], f"{name}.zeros")  # (B, T, width)
    for index in range(config.layers):
        x = _layer(graph, weights, config, x, index)
    _pool(graph, x)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "text_encoder",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
                for name in ("input_ids", "attention_mask")
            ],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", config.hidden])],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=9,
        producer_name="weir",
    )
    onnx.checker.check_model(model)
    return model


def _embeddings(graph: _Graph, weights: Weights, config: BertConfig) -> str:
    ids = graph.node("GatherND", ["input_ids", "places"], "ids")  # (R,)
    words = weights["embeddings.word_embeddings.weight"]
    if graph.is_int8:
        values, scales = quantise_rows(words)
        row = graph.node("Gather", [graph.constant("word.table", values), ids], "word.row")
        real = graph.node("Cast", [row], "word.real", to=TensorProto.FLOAT)
        factor = graph.node("Gather", [graph.constant("word.scale", scales[:, None]), ids], "word.factor")
        word = graph.node("Mul", [real, factor], "word")  # (R, H)
    else:
        word = graph.node("Gather", [graph.constant("word.table", words), ids], "word")
    # All tokens are of the first type, so that type's vector is part of every position's.
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    column = graph.node("Gather", ["places.rows", graph.constant("one", np.array(1, np.int64))], "column", axis=0)
    position = graph.node("Gather", [graph.constant("position.table", positions), column], "position")
    return _normalise(graph, weights, config, "embeddings.LayerNorm", graph.node("Add", [word, position], "embedded"))


def _layer(graph: _Graph, weights: Weights, config: BertConfig, x: str, index: int) -> str:
    place = f"encoder.layer.{index}"
    parts = []
    for part in ("query", "key", "value"):
        source = f"{place}.attention.self.{part}"
        parts.append((weights[f"{source}.weight"], weights[f"{source}.bias"]))
    joint = graph.linear(f"{place}.qkv", x, np.concatenate([weight for weight, _ in parts]))  # (R, 3H)
    spread = graph.node("ScatterND", ["qkv.zeros", "places", joint], f"{place}.spread")  # (B, T, 3H)
    sizes = graph.constant("qkv.sizes", np.full(3, config.hidden, np.int64))
    names = [f"{place}.{part}" for part in ("query", "key", "value")]
    graph.nodes.append(helper.make_node("Split", [spread, sizes], names, f"{place}.split", axis=-1))
    bias = graph.constant(f"{place}.qkv.bias", np.concatenate([bias for _, bias in parts]))
    attended = graph.node(
        "MultiHeadAttention", [*names, bias, "mask"], f"{place}.attended", MICROSOFT, num_heads=config.heads
    )
    packed = graph.node("GatherND", [attended, "places"], f"{place}.packed")  # (R, H)
    source = f"{place}.attention.output"
    y = graph.linear(f"{source}.dense", packed, weights[f"{source}.dense.weight"], weights[f"{source}.dense.bias"])
    x = _normalise(graph, weights, config, f"{source}.LayerNorm", graph.node("Add", [y, x], f"{source}.sum"))
    source = f"{place}.intermediate.dense"
    wide = graph.linear(source, x, weights[f"{source}.weight"], weights[f"{source}.bias"])
    wide = graph.node("Gelu", [wide], f"{place}.gelu")
    source = f"{place}.output"
    y = graph.linear(f"{source}.dense", wide, weights[f"{source}.dense.weight"], weights[f"{source}.dense.bias"])
    return _normalise(graph, weights, config, f"{source}.LayerNorm", graph.node("Add", [y, x], f"{source}.sum"))


def _normalise(graph: _Graph, weights: Weights, config: BertConfig, source: str, x: str) -> str:
    inputs = [x, graph.constant(f"{source}.weight", weights[f"{source}.weight"])]
    inputs.append(graph.constant(f"{source}.bias", weights[f"{source}.bias"]))
    return graph.node("LayerNormalization", inputs, source, axis=-1, epsilon=config.epsilon)


def _pool(graph: _Graph, x: str) -> None:
    """Mean over real tokens, scaled to length 1, which makes the division by their number needless."""
    spread = graph.node("ScatterND", ["hidden.zeros", "places", x], "spread")  # (B, T, H)
    total = graph.node("ReduceSum", [spread, graph.constant("axis.last", np.array([1], np.int64))], "total", keepdims=0)
    graph.node("LpNormalization", [total], "embedding", axis=-1, p=2)  # (B, H)
