"""Both protocols over one application: paths, bodies, tokens, errors, limits."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.services.base.errors import InvalidRequestError, UnauthorizedError
from models.services.base.protocol.tokens import Tokens
from models.services.base.protocol.v2_tensors import as_binary, bytes_from_binary
from models.services.base.settings import ServiceSettings, is_loopback
from tests.toy_service import ToyModel, an_image
from tests.unit.services.asking import Asked, Reply, ask

IMAGE = an_image("PNG", (50, 20))


def post(path: str, body: Any, headers: dict[str, str] | None = None, **settings: Any) -> Reply:
    return ask([ToyModel()], lambda asked: asked.post(path, body, **(headers or {})), **settings)


def get(path: str, **headers: str) -> Reply:
    return ask([ToyModel()], lambda asked: asked.get(path, **headers))


def tensor(name: str, *data: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "BYTES", "shape": [len(data)], "data": list(data), **more}


def test_v1_predicts_what_is_asked_for() -> None:
    body = {
        "instances": [
            {"memo": "hello", "image": {"b64": base64.b64encode(IMAGE).decode()}, "payment": {"amount_minor": 5}},
            {"memo": "hi", "image": None},
        ],
        "parameters": {"outputs": ["half", "payment"]},
    }
    reply = post("/v1/models/toy:predict", body, {"X_Request_Id": "r-1"})
    assert reply.status == 200
    assert reply.headers["x-model-version"] == "1"
    assert reply.json == {
        "model_name": "toy",
        "model_version": "1",
        "id": "r-1",
        "predictions": [
            {"half": [2.5, 50.0], "payment": {"amount_minor": 5}},
            {"half": [1.0, 0.0], "payment": None},
        ],
    }


def test_v1_explains_learns_and_pins() -> None:
    async def story(asked: Asked) -> None:
        explained = await asked.post("/v1/models/toy:explain", {"instances": [{"memo": "a"}]})
        assert explained.json["explanations"] == [{"memo": "a", "parameters": {}}]
        learned = await asked.post("/v1/models/toy:learn", {"instances": [{"memo": "a"}], "parameters": {"tag": "z"}})
        assert learned.json == {"model_name": "toy", "model_version": "1.z", "result": {"learned": 1}}
        pinned = await asked.post("/v1/models/toy/versions/1:predict", {"instances": [{"memo": "a"}]})
        assert pinned.json["model_version"] == "1"
        gone = await asked.post("/v1/models/toy/versions/2:predict", {"instances": [{"memo": "a"}]})
        assert (gone.status, gone.json["code"]) == (404, "version_not_found")

    ask([ToyModel()], story)


def test_v2_describes_itself() -> None:
    assert get("/v2").json["extensions"] == ["binary_tensor_data"]
    metadata = get("/v2/models/toy/versions/1").json
    assert metadata["versions"] == ["1"]
    assert metadata["outputs"][1] == {"name": "half", "datatype": "FP32", "shape": [-1, 2]}


def test_v2_infers_in_json() -> None:
    image = base64.b64encode(IMAGE).decode()
    body = {
        "id": "r2",
        "inputs": [tensor("memo", "hello", "hi"), tensor("image", image, image), tensor("payment", "null", "{}")],
        "outputs": [{"name": "half"}, {"name": "payment"}],
    }
    reply = post("/v2/models/toy/infer", body)
    assert reply.json == {
        "model_name": "toy",
        "model_version": "1",
        "id": "r2",
        "outputs": [
            {"name": "half", "shape": [2, 2], "datatype": "FP32", "data": [2.5, 50.0, 1.0, 50.0]},
            {"name": "payment", "shape": [2], "datatype": "BYTES", "data": ["null", "{}"]},
        ],
    }


def test_v2_infers_in_binary_and_answers_so() -> None:
    content = as_binary([b"hello", b""])
    header = json.dumps(
        {
            "parameters": {"binary_data_output": True},
            "inputs": [
                {"name": "memo", "datatype": "BYTES", "shape": [2, 1], "parameters": {"binary_data_size": len(content)}}
            ],
            "outputs": [{"name": "length"}, {"name": "echo", "parameters": {"binary_data": False}}],
        }
    ).encode()
    reply = post("/v2/models/toy/infer", header + content, {"Inference_Header_Content_Length": str(len(header))})
    length = int(reply.headers["inference-header-content-length"])
    outputs = json.loads(reply.body[:length])["outputs"]
    assert outputs[0]["parameters"] == {"binary_data_size": 16}
    assert np.frombuffer(reply.body[length:], "<i8").tolist() == [5, 0]
    assert outputs[1]["data"] == ["hello", ""]


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_binary_texts_round_trip(elements: list[bytes]) -> None:
    assert bytes_from_binary("x", memoryview(as_binary(elements)), len(elements)) == elements


@given(st.binary(max_size=60), st.integers(0, 5))
def test_binary_tensors_that_do_not_fit_are_refused_and_never_read_beyond(data: bytes, count: int) -> None:
    try:
        elements = bytes_from_binary("x", memoryview(data), count)
    except InvalidRequestError:
        return
    assert as_binary(elements) == data


GOOD = {"instances": [{"memo": "x"}]}
TENSOR = tensor("memo", "x")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"instances": [{"memo": NaN}]}',
        b'{"instances":' + b"[" * 5000,
        {},
        {"instances": []},
        {"instances": {}},
        {"instances": [[]]},
        {"instances": [{"memo": "x"}], "inputs": []},
        {**GOOD, "parameter": {}},
        {**GOOD, "parameters": []},
        {**GOOD, "parameters": {"outputs": ["none"]}},
        {**GOOD, "parameters": {"outputs": []}},
        {"instances": [{"memo": "x", "image": {"b64": "%%%"}}]},
        {"instances": [{"memo": "x", "image": {"b64": "AAAA", "uri": "file:///x"}}]},
        {"instances": [{"memo": "x", "image": {"uri": "file:///x", "sha256": "12"}}]},
        {"instances": [{"memo": "x", "image": "AAAA"}]},
    ],
)
def test_v1_refuses_what_is_not_its_form(body: Any) -> None:
    reply = post("/v1/models/toy:predict", body)
    assert (reply.status, reply.json["retryable"]) == (400, False)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": []},
        {"inputs": [{}]},
        {"inputs": [TENSOR, TENSOR]},
        {"inputs": [tensor("none", "x")]},
        {"inputs": [{**TENSOR, "datatype": "FP32"}]},
        {"inputs": [{**TENSOR, "shape": [2]}]},
        {"inputs": [{**TENSOR, "shape": [1, 2]}]},
        {"inputs": [{**TENSOR, "shape": [-1]}]},
        {"inputs": [{**TENSOR, "shape": [True]}]},
        {"inputs": [{**TENSOR, "data": [1]}]},
        {"inputs": [{**TENSOR, "data": "x"}]},
        {"inputs": [TENSOR, tensor("payment", "null", "null")]},
        {"inputs": [TENSOR, tensor("payment", "{")]},
        {"inputs": [TENSOR, tensor("image", "%")]},
        {"inputs": [{**TENSOR, "parameters": {"binary_data_size": 9}}]},
        {"inputs": [TENSOR], "outputs": []},
        {"inputs": [TENSOR], "outputs": [{"name": "none"}]},
        {"inputs": [TENSOR], "id": 5},
        {"inputs": [TENSOR], "parameters": 5},
        {"inputs": [TENSOR], "unknown": 5},
    ],
)
def test_v2_refuses_what_is_not_its_form(body: Any) -> None:
    assert post("/v2/models/toy/infer", body).status == 400


@pytest.mark.parametrize("length", ["-1", "x", "10000", "²"])
def test_a_header_length_that_does_not_fit_is_refused(length: str) -> None:
    reply = post("/v2/models/toy/infer", {"inputs": [TENSOR]}, {"Inference_Header_Content_Length": length})
    assert reply.status == 400


KEYS_OF_V1 = ("instances", "parameters", "memo", "image", "payment", "b64", "uri")
KEYS_OF_V2 = ("inputs", "outputs", "id", "name", "shape", "datatype", "data", "BYTES")
WORDS = st.sampled_from(KEYS_OF_V1 + KEYS_OF_V2)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=8, deadline=None)
@given(st.lists(ANY_JSON, min_size=20, max_size=40))
def test_no_json_at_all_makes_the_service_fail(values: list[Any]) -> None:
    async def story(asked: Asked) -> None:
        for value in values:
            for path in ("/v1/models/toy:predict", "/v1/models/toy:learn", "/v2/models/toy/infer"):
                assert (await asked.post(path, json.dumps(value).encode())).status < 500

    ask([ToyModel()], story)


def test_unknown_paths_and_methods_are_told_in_json() -> None:
    assert get("/nothing").json["code"] == "not_found"
    assert get("/v1/models/none").json["code"] == "model_not_found"
    reply = get("/v1/models/toy:predict")
    assert (reply.status, reply.json["code"], reply.headers["allow"]) == (405, "method_not_allowed", "POST")


def test_health_needs_no_token_and_everything_else_does() -> None:
    async def story(asked: Asked) -> None:
        assert (await asked.get("/v2/health/live")).status == 200
        assert (await asked.get("/v2/health/ready")).status == 200
        for path in ("/v1/models", "/v2", "/metrics", "/openapi.json", "/v2/models/toy", "/v1/models/none"):
            refused = await asked.get(path)
            assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert (await asked.get(path, Authorization="Bearer two")).status in (200, 404)
        assert (await asked.post("/v1/models/toy:predict", GOOD)).status == 401
        assert (await asked.post("/v1/models/toy:predict", GOOD, Authorization="bearer one")).status == 200

    ask([ToyModel()], story, tokens="one, two")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer oneone", "Basic one", "one", "Bearer ö"])
def test_tokens_that_are_not_ours_are_refused(header: str | None) -> None:
    with pytest.raises(UnauthorizedError):
        Tokens(ServiceSettings(tokens="one").tokens).check(header)


def test_a_service_without_a_token_listens_on_loopback_only() -> None:
    assert ServiceSettings(host="0.0.0.0", tokens="x").host == "0.0.0.0"
    assert is_loopback(ServiceSettings().host)
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
        with pytest.raises(ValueError, match="loopback"):
            ServiceSettings(host=host)


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr(ServiceSettings(tokens="hunter2"))


def test_a_body_is_refused_by_its_length_and_by_what_comes() -> None:
    async def story(asked: Asked) -> None:
        stated = await asked.post("/v1/models/toy:predict", b"x" * 2000)
        chunked = await asked.post("/v1/models/toy:predict", [b"x" * 600] * 4)
        for reply in (stated, chunked):
            assert (reply.status, reply.json["code"]) == (413, "body_too_large")
            assert reply.headers["connection"] == "close"
        assert (await asked.post("/v1/models/toy:predict", GOOD)).status == 200

    ask([ToyModel()], story, max_body_bytes=1024)


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def story(asked: Asked) -> None:
        reply = await asked.post("/v1/models/toy:predict", [], Content_Length="10")
        assert (reply.status, reply.json["code"]) == (408, "body_timeout")

    ask([ToyModel()], story, body_timeout_seconds=0.05)


def test_bodies_that_hold_too_much_together_are_refused_until_there_is_room() -> None:
    toy = ToyModel()

    async def story(asked: Asked) -> None:
        body = {"instances": [{"memo": "wait"}], "parameters": {"filler": "x" * 1500}}
        holding = asyncio.create_task(asked.post("/v1/models/toy:predict", body))
        await asyncio.to_thread(toy.predicting.wait, 10)
        refused = [
            await asked.post("/v1/models/toy:predict", b" " * 1000),
            await asked.post("/v1/models/toy:predict", [b" " * 500] * 2),
        ]
        for reply in refused:
            assert (reply.status, reply.json["code"], reply.headers["retry-after"]) == (503, "overloaded", "1")
        toy.gate.set()
        assert (await holding).status == 200
        assert (await asked.post("/v1/models/toy:predict", b" " * 1000 + json.dumps(GOOD).encode())).status == 200

    ask([toy], story, max_body_bytes=2048, max_bodies_bytes=2048)


def test_an_answer_is_repeated_by_id_in_both_protocols() -> None:
    toy = ToyModel()

    async def story(asked: Asked) -> None:
        for _ in range(2):
            assert (await asked.post("/v1/models/toy:predict", GOOD, X_Request_Id="a")).status == 200
            assert (await asked.post("/v2/models/toy/infer", {"id": "b", "inputs": [TENSOR]})).status == 200
        other = await asked.post("/v1/models/toy:predict", {"instances": [{"memo": "y"}]}, X_Request_Id="a")
        assert (other.status, other.json["code"]) == (409, "request_id_reused")
        assert (await asked.post("/v1/models/toy:predict", GOOD, X_Request_Id="a b")).status == 400

    ask([toy], story)
    assert toy.batches == [1, 1]


def test_a_service_that_loads_is_alive_and_not_ready() -> None:
    async def story(asked: Asked) -> None:
        assert (await asked.get("/v2/health/live")).status == 200
        for path in ("/v2/health/ready", "/v1/models/toy", "/v2/models/toy/ready"):
            assert (await asked.get(path)).status == 503
        reply = await asked.post("/v1/models/toy:predict", GOOD)
        assert (reply.status, reply.json["code"], reply.json["retryable"]) == (503, "not_ready", True)

    ask([ToyModel()], story, load=False)


def test_the_description_names_every_path_and_field() -> None:
    described = get("/openapi.json").json
    assert "/v1/models/toy:learn" in described["paths"]
    body = described["paths"]["/v1/models/toy:predict"]["post"]["requestBody"]
    instance = body["content"]["application/json"]["schema"]["properties"]["instances"]["items"]
    assert set(instance["properties"]) == {"memo", "image", "payment"}
    assert instance["required"] == ["memo"]


def test_structs_of_lengths_are_little_endian() -> None:
    assert as_binary([b"ab"]) == struct.pack("<I", 2) + b"ab"
