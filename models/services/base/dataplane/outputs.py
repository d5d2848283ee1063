"""What a model answers, held against what it declared: a service never lies about its own schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.services.base.dataplane.request import ModelAnswer
from models.services.base.errors import ModelFailedError
from models.services.base.model import Output, Prediction, ServedModel

DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}
"""Datatypes of numbers that an output may declare; BYTES is text or JSON."""


def checked(model: ServedModel, predictions: Sequence[Prediction]) -> list[Prediction]:
    """Bring predictions to the declared datatypes and shapes.

    Raises
    ------
    ModelFailedError
        If an output is missing, is one too many, has another shape, or is not finite.
    """
    declared = {output.name: output for output in model.outputs}
    answers: list[Prediction] = []
    for prediction in predictions:
        if prediction.keys() != declared.keys():
            raise ModelFailedError(
                f"model {model.name} declares the outputs {sorted(declared)} and answered {sorted(prediction)}"
            )
        answers.append({name: _checked(output, prediction[name]) for name, output in declared.items()})
    return answers


def _checked(output: Output, value: Any) -> Any:
    if output.datatype == "BYTES":
        if not output.is_json and not isinstance(value, str):
            raise ModelFailedError(f"output {output.name} should be text and is {type(value).__name__}")
        return value
    array = np.asarray(value, dtype=DTYPES[output.datatype])
    if array.shape != output.shape:
        raise ModelFailedError(f"output {output.name} has the shape {array.shape} and should have {output.shape}")
    if not np.isfinite(array).all():
        raise ModelFailedError(f"output {output.name} is not finite")
    return array


def answer_bytes(answer: ModelAnswer) -> int:
    """Estimate the bytes that a kept answer takes."""
    total = 512
    for result in answer.results:
        total += sum(_size(value) for value in result.values())
    return total + (_size(answer.body) if answer.body is not None else 0)


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return 128 + value.nbytes
    if isinstance(value, str):
        return 64 + 4 * len(value)
    return 64 + 2 * len(json.dumps(value, default=str))
