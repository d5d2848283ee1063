"""Weights of an encoder from a folder as Hugging Face lays it out, read without the libraries that wrote it.

References
----------
safetensors, format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

Weights = dict[str, np.ndarray[Any, Any]]
_DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64}


def read_safetensors(path: Path) -> Weights:
    """Read every tensor of a file; floats become float32."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    weights: Weights = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, end = entry["data_offsets"]
        array = np.frombuffer(data[first:end], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
        weights[name] = array.astype(np.float32) if array.dtype.kind == "f" else array
    return weights
