"""The Open Inference Protocol V2 over HTTP: bodies in and out, with the binary extension."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from models.services.base.dataplane.request import ModelAnswer, ModelRequest
from models.services.base.errors import InvalidRequestError
from models.services.base.model import Field, FieldKind, ServedModel
from models.services.base.protocol.images import image_from_bytes, image_from_text
from models.services.base.protocol.json_text import dump, parse_object, parse_value, require_keys
from models.services.base.protocol.v2_tensors import (
    as_binary,
    as_json,
    bytes_from_binary,
    elements_of_shape,
    shape_of,
    stacked,
    texts_from_json,
)

LENGTH_HEADER = "Inference-Header-Content-Length"
_KEYS = {"id", "parameters", "inputs", "outputs"}
_INPUT_KEYS = {"name", "shape", "datatype", "parameters", "data"}
_OUTPUT_KEYS = {"name", "parameters"}


class InferRequest:
    """A request of this protocol, and how its answer is wanted.

    Attributes
    ----------
    request
        As the dataplane takes it.
    outputs
        Name of each wanted output, and whether it goes as binary data.
    """

    def __init__(self, model: ServedModel, body: bytes, version: str | None, header_length: str | None) -> None:
        header, rest = _split(body, header_length)
        parsed = require_keys("the body", parse_object(header), _KEYS)
        self.request_id = _request_id(parsed)
        parameters = _parameters("the request", parsed)
        self.outputs = _outputs(model, parsed, bool(parameters.get("binary_data_output", False)))
        self.request = ModelRequest(
            model.name,
            _instances(model, parsed.get("inputs"), rest),
            "predict",
            version,
            {name: value for name, value in parameters.items() if name != "binary_data_output"},
            self.request_id,
            hashlib.sha256(body).digest() if self.request_id is not None else b"",
        )

    def write_answer(self, model: ServedModel, answer: ModelAnswer) -> tuple[bytes, dict[str, str]]:
        """Write body and headers of the answer."""
        declared = {output.name: output for output in model.outputs}
        tensors: list[dict[str, Any]] = []
        binary: list[bytes] = []
        for name, is_binary in self.outputs.items():
            output = declared[name]
            values = stacked(output, [one[name] for one in answer.results])
            shape = shape_of(output, len(answer.results))
            tensor: dict[str, Any] = {"name": name, "shape": shape, "datatype": output.datatype}
            if is_binary:
                binary.append(as_binary(values))
                tensor["parameters"] = {"binary_data_size": len(binary[-1])}
            else:
                tensor["data"] = as_json(values)
            tensors.append(tensor)
        head: dict[str, Any] = {"model_name": answer.model_name, "model_version": answer.model_version}
        if self.request_id is not None:
            head["id"] = self.request_id
        header = dump({**head, "outputs": tensors})
        if not binary:
            return header, {"Content-Type": "application/json"}
        return b"".join([header, *binary]), {
            "Content-Type": "application/octet-stream",
            LENGTH_HEADER: str(len(header)),
        }


def model_metadata(model: ServedModel, versions: list[str]) -> dict[str, Any]:
    """Describe a model as the protocol has it."""
    return {
        "name": model.name,
        "versions": versions,
        "platform": model.platform,
        "inputs": [
            {"name": field.name, "datatype": "BYTES", "shape": [-1], "parameters": {"kind": field.kind.value}}
            for field in model.fields
        ],
        "outputs": [
            {
                "name": output.name,
                "datatype": output.datatype,
                "shape": [-1, *(output.shape if output.datatype != "BYTES" else ())],
            }
            for output in model.outputs
        ],
    }


def _split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if not header_length.isascii() or not header_length.isdigit() or int(header_length) > len(body):
        raise InvalidRequestError(f"{LENGTH_HEADER} should be the length of the JSON part of the body, in bytes")
    length = int(header_length)
    return body[:length], memoryview(body)[length:]


def _request_id(parsed: Mapping[str, Any]) -> str | None:
    request_id = parsed.get("id")
    if request_id is None or request_id == "":  # clients send "" for none
        return None
    if not isinstance(request_id, str) or len(request_id) > 200:
        raise InvalidRequestError("'id' should be text of at most 200 characters")
    return request_id


def _parameters(where: str, parsed: Mapping[str, Any]) -> dict[str, Any]:
    parameters = parsed.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"'parameters' of {where} should be an object")
    return parameters


def _outputs(model: ServedModel, parsed: Mapping[str, Any], is_binary: bool) -> dict[str, bool]:
    known = [output.name for output in model.outputs]
    if (given := parsed.get("outputs")) is None:
        return dict.fromkeys(known, is_binary)
    if not isinstance(given, list) or not given:
        raise InvalidRequestError("'outputs' should be a list, or be left out for all outputs")
    wanted: dict[str, bool] = {}
    for one in given:
        output = require_keys("an output", one, _OUTPUT_KEYS)
        name = output.get("name")
        if name not in known or name in wanted:
            raise InvalidRequestError(f"'outputs' should name some of: {', '.join(known)}; each once")
        wanted[name] = bool(_parameters(f"output {name!r}", output).get("binary_data", is_binary))
    return wanted


def _instances(model: ServedModel, inputs: Any, rest: memoryview) -> list[dict[str, Any]]:
    fields = {field.name: field for field in model.fields}
    if not isinstance(inputs, list) or not inputs:
        raise InvalidRequestError(f"'inputs' should be a list of tensors for: {', '.join(fields)}")
    columns: dict[str, list[Any]] = {}
    at = 0
    for one in inputs:
        tensor = require_keys("an input", one, _INPUT_KEYS)
        name = tensor.get("name")
        if not isinstance(name, str) or name not in fields or name in columns:
            raise InvalidRequestError(f"'inputs' should name some of: {', '.join(fields)}; each once")
        if tensor.get("datatype") != "BYTES":
            raise InvalidRequestError(f"input {name!r} should have the datatype BYTES")
        count = elements_of_shape(name, tensor.get("shape"))
        size = _parameters(f"input {name!r}", tensor).get("binary_data_size")
        if size is None:
            texts = texts_from_json(name, tensor.get("data"), count)
            columns[name] = [_from_text(fields[name], text) for text in texts]
            continue
        if not isinstance(size, int) or isinstance(size, bool) or size < 0 or at + size > len(rest) or "data" in tensor:
            raise InvalidRequestError(f"'binary_data_size' of input {name!r} does not fit the body")
        elements = bytes_from_binary(name, rest[at : at + size], count)
        columns[name] = [_from_bytes(fields[name], element) for element in elements]
        at += size
    if at != len(rest):
        raise InvalidRequestError(f"{len(rest) - at} bytes behind the JSON part belong to no input")
    if len({len(column) for column in columns.values()}) != 1:
        raise InvalidRequestError("all inputs should hold the same number of instances")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _from_text(field: Field, text: str) -> Any:
    if field.kind is FieldKind.IMAGE:
        return image_from_text(field.name, text)
    return text if field.kind is FieldKind.TEXT else parse_value(field.name, text)


def _from_bytes(field: Field, element: bytes) -> Any:
    if field.kind is FieldKind.IMAGE:
        return image_from_bytes(element)
    try:
        text = element.decode()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"input {field.name!r} should hold UTF-8") from None
    return text if field.kind is FieldKind.TEXT else parse_value(field.name, text)
