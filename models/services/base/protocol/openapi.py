"""The OpenAPI description, made from the models that are served: the fields of each are in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.services.base.dataplane.dataplane import Dataplane
from models.services.base.model import Field, FieldKind, Output, ServedModel
from models.services.base.settings import ServiceSettings

Schema = dict[str, Any]

_ERRORS = {
    400: "The request, or an instance of it, cannot be used.",
    401: "A bearer token is needed.",
    403: "A reference lies outside the configured roots.",
    404: "No such model, version or verb.",
    405: "Another method is needed.",
    408: "The body came too slowly.",
    409: "The request id was used with another body.",
    413: "Too many bytes, pixels, characters or instances.",
    415: "Not an image that is accepted.",
    429: "The queue is full.",
    500: "The model failed.",
    502: "A reference could not be fetched.",
    503: "Not ready, or overloaded.",
    504: "No answer in time.",
}
_NUMBERS = {"BOOL": "boolean", "UINT8": "integer", "INT32": "integer", "INT64": "integer"}


def openapi(dataplane: Dataplane) -> Schema:
    """Describe every path."""
    models = [dataplane.model(name) for name in dataplane.names]
    paths: Schema = {
        "/v2/health/live": _get("Whether the process answers", _object(live={"type": "boolean"}), is_open=True),
        "/v2/health/ready": _get("Whether all models are ready", _object(ready={"type": "boolean"}), 503, is_open=True),
        "/metrics": _get("Metrics in Prometheus' text format", {"type": "string"}, media_type="text/plain"),
        "/openapi.json": _get("This description", {"type": "object"}),
        "/v1/models": _get("Names of the models", _object(models={"type": "array", "items": {"type": "string"}})),
        "/v2": _get(
            "What the server is",
            _object(
                name={"type": "string"},
                version={"type": "string"},
                extensions={"type": "array", "items": {"type": "string"}},
            ),
        ),
    }
    for model in models:
        paths |= _model_paths(model, dataplane.settings)
    description: Schema = {
        "openapi": "3.1.0",
        "info": {"title": "Weir side service: " + ", ".join(dataplane.names), "version": "1"},
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR}},
    }
    if dataplane.settings.tokens:
        description["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        description["security"] = [{"bearer": []}]
    return description


_ERROR: Schema = {
    "type": "object",
    "required": ["error", "code", "retryable"],
    "properties": {
        "error": {"type": "string", "description": "What is wrong, and what to do."},
        "code": {"type": "string"},
        "retryable": {"type": "boolean"},
    },
}


def _model_paths(model: ServedModel, settings: ServiceSettings) -> Schema:
    ready = _object(name={"type": "string"}, ready={"type": "boolean"})
    one, two = f"/v1/models/{model.name}", f"/v2/models/{model.name}"
    predict = _post("Predict", _v1_request(model, settings), _v1_answer(model), with_id=True)
    infer = _post("Infer", _v2_request(model), _V2_ANSWER)
    metadata = _get("What the model takes and gives", {"type": "object"})
    paths: Schema = {
        one: _get("Whether the model is ready", ready, 503),
        f"{one}:predict": predict,
        f"{one}/versions/{model.version}:predict": predict,
        two: metadata,
        f"{two}/ready": _get("Whether the model is ready", ready, 503),
        f"{two}/infer": infer,
        f"{two}/versions/{model.version}": metadata,
        f"{two}/versions/{model.version}/ready": _get("Whether the model is ready", ready, 503),
        f"{two}/versions/{model.version}/infer": infer,
    }
    if model.explains:
        explanations = {"type": "array", "items": {"type": "object"}}
        paths[f"{one}:explain"] = _post(
            "Explain", _v1_request(model, settings), _v1_envelope("explanations", explanations), with_id=True
        )
    for action in model.actions:
        request = _v1_request(model, settings, needs_instances=False)
        paths[f"{one}:{action}"] = _post(action, request, _v1_envelope("result", {"type": "object"}), with_id=True)
    return paths


def _get(
    summary: str, schema: Schema, *errors: int, media_type: str = "application/json", is_open: bool = False
) -> Schema:
    operation: Schema = {
        "summary": summary,
        "responses": {
            "200": {"description": "Done.", "content": {media_type: {"schema": schema}}},
            **{str(status): {"description": _ERRORS[status], "content": _content({})} for status in errors},
            **_failures(() if is_open else (401,)),
        },
    }
    if is_open:
        operation["security"] = []
    return {"get": operation}


def _post(summary: str, request: Schema, answer: Schema, with_id: bool = False) -> Schema:
    operation: Schema = {
        "summary": summary,
        "requestBody": {"required": True, "content": _content(request)},
        "responses": {
            "200": {"description": "Done.", "content": _content(answer)},
            **_failures(tuple(status for status in _ERRORS if status != 405)),
        },
    }
    if with_id:
        schema = {"type": "string", "pattern": "^[!-~]{1,200}$"}
        operation["parameters"] = [{"name": "X-Request-Id", "in": "header", "required": False, "schema": schema}]
    return {"post": operation}


def _failures(statuses: tuple[int, ...]) -> Schema:
    error = _content({"$ref": "#/components/schemas/Error"})
    return {str(status): {"description": _ERRORS[status], "content": error} for status in statuses}


def _content(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _closed(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": required,
        "additionalProperties": False,
    }


def _v1_request(model: ServedModel, settings: ServiceSettings, needs_instances: bool = True) -> Schema:
    fields = {field.name: _field(field, settings) for field in model.fields}
    instance = _closed(fields, [field.name for field in model.fields if field.required])
    names: Schema = {"type": "string", "enum": [output.name for output in model.outputs]}
    return _closed(
        {
            "instances": {
                "type": "array",
                "items": instance,
                "minItems": 1 if needs_instances else 0,
                "maxItems": settings.max_instances,
            },
            "parameters": {
                "type": "object",
                "properties": {"outputs": {"type": "array", "items": names, "minItems": 1}},
            },
        },
        ["instances"] if needs_instances else [],
    )


def _field(field: Field, settings: ServiceSettings) -> Schema:
    if field.kind is FieldKind.TEXT:
        schema: Schema = {"type": "string", "maxLength": settings.max_text_characters}
    elif field.kind is FieldKind.JSON:
        schema = dict(field.json_schema or {})
    else:
        digest = {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}
        inline = _closed({"b64": {"type": "string", "contentEncoding": "base64"}}, ["b64"])
        schema = {"oneOf": [inline, _closed({"uri": {"type": "string"}, "sha256": digest}, ["uri"])]}
    if field.description:
        schema["description"] = field.description
    return schema if field.required else {"anyOf": [schema, {"type": "null"}]}  # null is as good as absent


def _v1_answer(model: ServedModel) -> Schema:
    item: Schema = {"type": "object", "properties": {output.name: _output(output) for output in model.outputs}}
    return _v1_envelope("predictions", {"type": "array", "items": item})


def _v1_envelope(name: str, schema: Schema) -> Schema:
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {"model_name": text, "model_version": text, "id": text, name: schema},
        "required": ["model_name", "model_version", name],
    }


def _output(output: Output) -> Schema:
    if output.datatype == "BYTES":
        return {"description": output.description} if output.is_json else {"type": "string"}
    schema: Schema = {"type": _NUMBERS.get(output.datatype, "number")}
    for size in reversed(output.shape):
        schema = {"type": "array", "items": schema, "minItems": size, "maxItems": size}
    return schema


def _v2_request(model: ServedModel) -> Schema:
    parameters: Schema = {"type": "object"}
    tensor = _closed(
        {
            "name": {"type": "string", "enum": [field.name for field in model.fields]},
            "datatype": {"type": "string", "const": "BYTES"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
            "data": {"type": "array", "items": {"type": "string"}},
            "parameters": parameters,
        },
        ["name", "datatype", "shape"],
    )
    output = _closed(
        {"name": {"type": "string", "enum": [output.name for output in model.outputs]}, "parameters": parameters},
        ["name"],
    )
    return _closed(
        {
            "id": {"type": "string", "maxLength": 200},
            "parameters": parameters,
            "inputs": {"type": "array", "items": tensor, "minItems": 1, "maxItems": len(model.fields)},
            "outputs": {"type": "array", "items": output, "minItems": 1, "maxItems": len(model.outputs)},
        },
        ["inputs"],
    )


_V2_ANSWER: Schema = {
    "type": "object",
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "datatype": {"type": "string"},
                    "shape": {"type": "array", "items": {"type": "integer"}},
                    "data": {"type": "array"},
                },
                "required": ["name", "datatype", "shape"],
            },
        },
    },
    "required": ["model_name", "outputs"],
}
