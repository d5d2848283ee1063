"""Tensors of the Open Inference Protocol, in JSON and in the binary extension.

References
----------
https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Binary data: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from models.services.base.dataplane.outputs import DTYPES
from models.services.base.errors import InvalidRequestError
from models.services.base.model import Output
from models.services.base.protocol.json_text import dump


def elements_of_shape(name: str, shape: Any) -> int:
    """Number of instances of an input tensor: its shape is [n] or [n, 1]."""
    if (
        not isinstance(shape, list)
        or len(shape) not in (1, 2)
        or not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape)
        or shape[1:] not in ([], [1])
    ):
        raise InvalidRequestError(f"input {name!r} should have the shape [n] or [n, 1]")
    return int(shape[0])


def texts_from_json(name: str, data: Any, count: int) -> list[str]:
    """Elements of a BYTES tensor in JSON: texts, flat or nested by rows."""
    if not isinstance(data, list):
        raise InvalidRequestError(f"input {name!r} should have 'data', a list of texts, or 'binary_data_size'")
    flat = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in data]
    if len(flat) != count or not all(isinstance(one, str) for one in flat):
        raise InvalidRequestError(f"input {name!r} should hold {count} texts, as its shape says")
    return flat


def bytes_from_binary(name: str, data: memoryview, count: int) -> list[bytes]:
    """Elements of a BYTES tensor in binary: each with its length before it, 4 bytes, little-endian."""
    elements: list[bytes] = []
    at = 0
    while at + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, at)
        end = at + 4 + length
        if end > len(data):
            break
        elements.append(bytes(data[at + 4 : end]))
        at = end
    if at != len(data) or len(elements) != count:
        raise InvalidRequestError(f"input {name!r} should hold {count} elements of binary BYTES, as its shape says")
    return elements


def stacked(output: Output, values: Sequence[Any]) -> np.ndarray[Any, Any] | list[bytes]:
    """One output of all instances: an array, or texts as UTF-8."""
    if output.datatype != "BYTES":
        array = np.empty((len(values), *output.shape), DTYPES[output.datatype])
        for index, value in enumerate(values):
            array[index] = value
        return array
    return [dump(value) if output.is_json else str(value).encode() for value in values]


def shape_of(output: Output, count: int) -> list[int]:
    """Shape of an output for `count` instances."""
    return [count, *(output.shape if output.datatype != "BYTES" else ())]


def as_json(values: np.ndarray[Any, Any] | list[bytes]) -> Any:
    """Elements as a flat list for JSON."""
    if isinstance(values, np.ndarray):
        return values.reshape(-1).tolist() if values.dtype != np.float32 else np.ascontiguousarray(values.reshape(-1))
    return [value.decode() for value in values]


def as_binary(values: np.ndarray[Any, Any] | list[bytes]) -> bytes:
    """Elements as the binary extension has them: row-major, little-endian."""
    if isinstance(values, np.ndarray):
        return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    return b"".join(_with_lengths(values))


def _with_lengths(values: Iterable[bytes]) -> Iterable[bytes]:
    for value in values:
        yield struct.pack("<I", len(value))
        yield value
