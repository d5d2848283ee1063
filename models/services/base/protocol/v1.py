"""KServe's V1 protocol: bodies in and out.

References
----------
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
TensorFlow Serving, RESTful API (versions in the path, `{"b64": ...}`): https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import hashlib
from typing import Any

from models.services.base.dataplane.request import ModelAnswer, ModelRequest, RawInstance
from models.services.base.errors import InvalidRequestError
from models.services.base.model import FieldKind, ServedModel
from models.services.base.protocol.images import image_from_object
from models.services.base.protocol.json_text import dump, parse_object, require_keys

_KEYS = {"instances", "inputs", "parameters"}


def read_request(
    model: ServedModel, body: bytes, verb: str, version: str | None, request_id: str | None
) -> ModelRequest:
    """Read the body of a request to a model."""
    parsed = require_keys("the body", parse_object(body), _KEYS)
    if "instances" in parsed and "inputs" in parsed:
        raise InvalidRequestError("send 'instances' or 'inputs', not both")
    instances = parsed.get("instances", parsed.get("inputs", []))
    if not isinstance(instances, list):
        raise InvalidRequestError("'instances' should be a list")
    parameters = parsed.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidRequestError("'parameters' should be an object")
    wanted(model, parameters)
    return ModelRequest(
        model.name,
        [_instance(model, one) for one in instances],
        verb,
        version,
        parameters,
        request_id,
        hashlib.sha256(body).digest() if request_id is not None else b"",
    )


def write_answer(model: ServedModel, request: ModelRequest, answer: ModelAnswer) -> bytes:
    """Write the body of an answer."""
    head: dict[str, Any] = {"model_name": answer.model_name, "model_version": answer.model_version}
    if request.request_id is not None:
        head["id"] = request.request_id
    if answer.body is not None:
        return dump({**head, "result": answer.body})
    if request.verb == "explain":
        return dump({**head, "explanations": list(answer.results)})
    names = wanted(model, request.parameters)
    return dump({**head, "predictions": [{name: one[name] for name in names} for one in answer.results]})


def wanted(model: ServedModel, parameters: Any) -> list[str]:
    """Names of the outputs that `parameters.outputs` asks for; all by default."""
    known = [output.name for output in model.outputs]
    names = parameters.get("outputs", known)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name in known for name in names):
        raise InvalidRequestError(f"'parameters.outputs' should be a list of some of: {', '.join(known)}")
    return names


def _instance(model: ServedModel, value: Any) -> RawInstance:
    instance = require_keys("an instance", value, {field.name for field in model.fields})
    kinds = {field.name: field.kind for field in model.fields}
    return {
        name: image_from_object(name, one) if kinds[name] is FieldKind.IMAGE and one is not None else one
        for name, one in instance.items()
    }
