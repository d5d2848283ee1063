"""A service as a real process: clients of the protocols, bad clients, its end."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

from tests.service_process import ServiceProcess, running_service
from tests.toy_service import an_image
from tests.unit.services.test_images import png_of
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

SLOW_CLIENTS = 1000
HEADER_SECONDS = 3


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    log = tmp_path_factory.mktemp("service") / "toy.log"
    with running_service("tests.toy_service", log=log, header_timeout_seconds=HEADER_SECONDS) as running:
        yield running


def metric(service: ServiceProcess, name: str, **labels: str) -> float:
    status, text = service.ask("GET", "/metrics")
    assert status == 200
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return 0.0


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[triton.InferenceServerClient]:
    with contextlib.closing(triton.InferenceServerClient(service.address)) as made:
        yield made


def texts(name: str, *values: str) -> triton.InferInput:
    tensor = triton.InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array([value.encode() for value in values], dtype=object))
    return tensor


def test_tritonclient_finds_the_server_and_the_model(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("toy")
    assert client.is_model_ready("toy", "1")
    assert client.get_server_metadata()["name"] == "weir"
    assert client.get_model_metadata("toy")["versions"] == ["1"]


@pytest.mark.parametrize("is_binary", [True, False])
def test_tritonclient_infers_in_json_and_in_binary(client: triton.InferenceServerClient, is_binary: bool) -> None:
    memo = triton.InferInput("memo", [2], "BYTES")
    memo.set_data_from_numpy(np.array([b"hello", "größe".encode()], dtype=object), binary_data=is_binary)
    outputs = [triton.InferRequestedOutput(name, binary_data=is_binary) for name in ("half", "echo", "length")]
    answer = client.infer("toy", [memo], model_version="1", outputs=outputs, request_id=f"r-{is_binary}")
    assert answer.as_numpy("half").tolist() == [[2.5, 0.0], [2.5, 0.0]]
    assert answer.as_numpy("length").tolist() == [5, 5]
    echoed = [one.decode() if isinstance(one, bytes) else one for one in answer.as_numpy("echo")]
    assert echoed == ["hello", "größe"]
    assert answer.get_response()["id"] == f"r-{is_binary}"


def test_tritonclient_sends_images_and_payments(client: triton.InferenceServerClient) -> None:
    image = triton.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([an_image("JPEG", (64, 32))], dtype=object))
    answer = client.infer("toy", [texts("memo", "x"), image, texts("payment", '{"amount_minor":7}')])
    assert answer.as_numpy("half").tolist() == [[0.5, 64.0]]
    assert json.loads(answer.as_numpy("payment")[0]) == {"amount_minor": 7}


def test_tritonclient_shows_our_errors(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="version '9' of model toy is not served"):
        client.infer("toy", [texts("memo", "x")], model_version="9")
    with pytest.raises(InferenceServerException, match="cannot be used"):
        client.infer("toy", [texts("memo", "unusable")])


def test_metrics_are_what_prometheus_reads(service: ServiceProcess) -> None:
    before = metric(service, "request_predict_seconds_count", model_name="toy")
    assert service.predict("toy", {"memo": "x"})[0] == 200
    assert metric(service, "request_predict_seconds_count", model_name="toy") == before + 1
    assert metric(service, "weir_service_batch_size_count", model_name="toy") >= before + 1
    assert metric(service, "weir_service_ready", model_name="toy") == 1


def test_a_body_of_100_megabytes_is_refused_and_others_are_answered(service: ServiceProcess) -> None:
    def send(is_chunked: bool) -> bytes:
        part = b"x" * (1 << 20)
        with service.connect() as connection:
            framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: 104857600"
            connection.sendall(b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
            for _ in range(100):
                connection.sendall(b"100000\r\n" + part + b"\r\n" if is_chunked else part)
            if is_chunked:
                connection.sendall(b"0\r\n\r\n")
            return connection.recv(4096)

    with ThreadPoolExecutor(2) as pool:
        sending = [pool.submit(send, is_chunked) for is_chunked in (False, True)]
        assert service.predict("toy", {"memo": "meanwhile"})[0] == 200
        for one in sending:
            assert one.result(60).startswith(b"HTTP/1.1 413 ")
    # The bytes were passed over, not kept: the largest body is 32 MiB.
    assert metric(service, "process_resident_memory_bytes") < 600e6


def test_an_image_of_ten_thousand_million_pixels_is_refused_and_others_are_answered(service: ServiceProcess) -> None:
    bomb = base64.b64encode(png_of(100_000, 100_000, bytes(1_000_000))).decode()
    status, answer = service.predict("toy", {"memo": "x", "image": {"b64": bomb}})
    assert (status, answer["code"]) == (413, "image_too_large")
    assert service.predict("toy", {"memo": "after"})[0] == 200


def test_a_thousand_slow_clients_leave_the_service_answering_others(service: ServiceProcess) -> None:
    """Some never send a byte, some stop within the headers, some within the body; none of them is waited for."""
    beginnings = [
        b"",
        b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
    ]
    with contextlib.ExitStack() as held:
        slow = []
        for number in range(SLOW_CLIENTS):
            connection = held.enter_context(service.connect())
            connection.sendall(beginnings[number % 3])
            slow.append(connection)
        for number in range(20):
            assert service.predict("toy", {"memo": "x" * number}) == (200, _answer(number))
        # Those without headers are cut off; the limit on them is HEADER_SECONDS, the rest is for a busy machine.
        for connection in slow[:2]:
            connection.settimeout(30 * HEADER_SECONDS)
            assert connection.recv(1) == b""
        slow[2].settimeout(60)  # the limit on bodies is 10 s
        assert slow[2].recv(12) == b"HTTP/1.1 408"
    wait_until(lambda: metric(service, "weir_service_connections") < 50, 60, "connections were not given back")


def _answer(length: int) -> dict[str, object]:
    prediction = {"length": length, "half": [length / 2, 0.0], "echo": "x" * length, "payment": None}
    return {"model_name": "toy", "model_version": "1", "predictions": [prediction]}


def test_a_client_that_drips_bytes_is_cut_off_all_the_same(service: ServiceProcess) -> None:
    def is_cut_off() -> bool:
        try:
            connection.sendall(b"X")
            return connection.recv(1, socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    with service.connect() as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nX: ")
        wait_until(is_cut_off, 60, "a byte now and then kept the connection open")


def test_endless_headers_are_cut_off(service: ServiceProcess) -> None:
    with service.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"GET /v2 HTTP/1.1\r\n")
        for _ in range(64):
            connection.sendall(b"X-Filler: " + b"y" * 4000 + b"\r\n")
        assert connection.recv(1) == b""


def test_what_is_no_http_is_refused(service: ServiceProcess) -> None:
    with service.connect() as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64))
        assert connection.recv(64).startswith(b"HTTP/1.1 400")


def test_too_many_connections_make_room_by_dropping_the_idle_ones(tmp_path: Path) -> None:
    with (
        running_service("tests.toy_service", log=tmp_path / "log", max_connections=8) as service,
        contextlib.ExitStack() as held,
    ):
        idle = [held.enter_context(service.connect()) for _ in range(20)]
        assert service.predict("toy", {"memo": "x"})[0] == 200
        idle[0].settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert idle[0].recv(1) == b""


def test_sigterm_ends_a_service_that_is_asked_something_in_good_order(tmp_path: Path) -> None:
    with (
        running_service("tests.toy_service", log=tmp_path / "log", shutdown_seconds=1) as service,
        service.connect() as idle,
    ):
        idle.sendall(b"GET /v2 HTTP/1.1\r\n")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0


def test_a_model_that_hangs_does_not_keep_the_service_from_ending(tmp_path: Path) -> None:
    with running_service(
        "tests.toy_service", log=tmp_path / "log", answer_timeout_seconds=0.5, shutdown_seconds=1
    ) as service:
        status, answer = service.predict("toy", {"memo": "wait"})
        assert (status, answer["code"]) == (504, "deadline_exceeded")
        assert service.ask("GET", "/v2/health/live")[0] == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0  # the model would hang for ten minutes


def test_endless_headers_behind_a_request_that_is_being_answered_are_cut_off(tmp_path: Path) -> None:
    with (
        running_service("tests.toy_service", log=tmp_path / "log", answer_timeout_seconds=60) as service,
        service.connect() as connection,
        contextlib.suppress(ConnectionError),
    ):
        body = b'{"instances": [{"memo": "wait"}]}'
        head = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall(head + body)
        connection.sendall(b"GET /v2 HTTP/1.1\r\n")
        for _ in range(64):
            connection.sendall(b"X-Filler: " + b"y" * 4000 + b"\r\n")
        assert connection.recv(1) == b""
