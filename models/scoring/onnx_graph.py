"""An ONNX graph as far as it must be read to run its first operators elsewhere: nodes, constants, and what is left.

Only the fields that are needed are described; the others travel through as they are.

References
----------
ONNX, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (field numbers)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from schemas.columns import F32

_FLOAT = 1  # TensorProto.DataType
_FLOAT_TENSOR = b"\x0a\x02\x08\x01"  # a TypeProto: tensor of float, any shape

_SCHEMA: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "Model": (("graph", 7, "Graph", False),),
    "Graph": (("node", 1, "Node", True), ("initializer", 5, "Tensor", True), ("input", 11, "Value", True)),
    "Node": (("input", 1, "string", True), ("output", 2, "string", True), ("op_type", 4, "string", False)),
    "Tensor": (("dims", 1, "int64", True), ("data_type", 2, "int32", False), ("name", 8, "string", False),
               ("raw_data", 9, "bytes", False)),
    "Value": (("name", 1, "string", False), ("type", 2, "bytes", False)),
}  # fmt: skip
"""Messages by name: fields with number, type, and whether they repeat."""


def _model_class() -> Any:
    described = descriptor_pb2.FileDescriptorProto(name="weir/onnx.proto", package="weir.onnx", syntax="proto2")
    field_type = descriptor_pb2.FieldDescriptorProto
    for name, fields in _SCHEMA.items():
        message = described.message_type.add(name=name)
        for field, number, kind, is_repeated in fields:
            added = message.field.add(name=field, number=number)
            added.label = field_type.LABEL_REPEATED if is_repeated else field_type.LABEL_OPTIONAL
            if kind in _SCHEMA:
                added.type, added.type_name = field_type.TYPE_MESSAGE, f".weir.onnx.{kind}"
            else:
                added.type = getattr(field_type, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("weir.onnx.Model"))


_MODEL = _model_class()


@dataclass(frozen=True, slots=True)
class Node:
    """One operator."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class OnnxGraph:
    """A graph: `nodes` in their order, and its floating-point `constants` by name.

    Parameters
    ----------
    content
        A serialised model.
    """

    def __init__(self, content: bytes) -> None:
        self._model = _MODEL.FromString(content)
        graph = self._model.graph
        self.inputs: tuple[str, ...] = tuple(value.name for value in graph.input)
        self.nodes: tuple[Node, ...] = tuple(
            Node(node.op_type, tuple(node.input), tuple(node.output)) for node in graph.node
        )
        self.constants: dict[str, F32] = {
            tensor.name: np.frombuffer(tensor.raw_data, "<f4").reshape(tuple(tensor.dims)).astype(np.float32)
            for tensor in graph.initializer
            if tensor.data_type == _FLOAT and tensor.raw_data
        }

    def without(self, nodes: Iterable[int], becomes_input: str) -> bytes:
        """Return the model without some nodes; the tensor that they led to is its only input."""
        rest = _MODEL.FromString(self._model.SerializeToString())
        for place in sorted(nodes, reverse=True):
            del rest.graph.node[place]
        del rest.graph.input[:]
        rest.graph.input.add(name=becomes_input, type=_FLOAT_TENSOR)
        content: bytes = rest.SerializeToString()
        return content
