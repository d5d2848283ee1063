"""The proxy passes bytes on as they are, and misbehaves exactly as it is told to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import Proxy, crc32c, find_batch
from tests.waiting import wait_until

WAIT_SECONDS = 20.0


def a_batch(payload: bytes) -> bytes:
    """A record batch, version 2, with one opaque payload in place of records."""
    checked = bytes(61 - 21) + payload
    return struct.pack(">qiib", 0, 4 + 1 + 4 + len(checked), -1, 2) + struct.pack(">I", crc32c(checked)) + checked


@contextlib.contextmanager
def an_echo() -> Iterator[int]:
    """A server that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65_536):
                connection.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with an_echo() as port:
        made = Proxy(seed=3).start(port)
        try:
            yield made
        finally:
            made.close()


def a_client(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=WAIT_SECONDS)


def echoed(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    found = b""
    while len(found) < len(data):
        piece = client.recv(65_536)
        if not piece:
            raise ConnectionError("closed")
        found += piece
    return found


def is_reset(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_bytes_pass_unchanged_in_their_order(proxy: Proxy) -> None:
    data = bytes(range(256)) * 4_000
    with a_client(proxy) as client:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        found = b""
        while len(found) < len(data):
            found += client.recv(65_536)
        sender.join()
    assert found == data


def test_dropped_bytes_arrive_after_healing(proxy: Proxy) -> None:
    with a_client(proxy) as client:
        assert echoed(client, b"before") == b"before"
        proxy.drop()
        client.settimeout(0.2)
        client.sendall(b"during")
        with pytest.raises(TimeoutError):
            client.recv(6)
        proxy.heal()
        client.settimeout(WAIT_SECONDS)
        assert client.recv(6) == b"during"


def test_cut_resets_what_is_connected_and_what_connects_until_healed(proxy: Proxy) -> None:
    with a_client(proxy) as client:
        assert echoed(client, b"before") == b"before"
        proxy.cut()
        assert is_reset(client)
    with contextlib.suppress(ConnectionError), a_client(proxy) as client:
        assert is_reset(client)
    proxy.heal()
    with a_client(proxy) as client:
        assert echoed(client, b"after") == b"after"


def test_delayed_bytes_arrive_in_order(proxy: Proxy) -> None:
    proxy.delay(0.01)
    with a_client(proxy) as client:
        assert [echoed(client, bytes([i]) * 9) for i in range(5)] == [bytes([i]) * 9 for i in range(5)]


def test_a_flip_breaks_one_bit_under_the_checksum_of_a_batch_and_nothing_else(proxy: Proxy) -> None:
    data = b"\x00\x00\x02head" + a_batch(b"records" * 20) + b"tail"
    start, end = find_batch(data) or (0, 0)
    assert data[start:end] == a_batch(b"records" * 20)
    proxy.flip(1)
    broken: list[bytes] = []
    with a_client(proxy) as client:

        def is_flipped() -> bool:
            found = echoed(client, data)
            broken.extend([found] if found != data else [])
            return proxy.flipped == 1

        wait_until(is_flipped, WAIT_SECONDS, "a bit flipped")
        assert echoed(client, data) == data, "one flip was asked for"
    difference = int.from_bytes(broken[0]) ^ int.from_bytes(data)
    assert difference.bit_count() == 1
    at = len(data) - 1 - (difference.bit_length() - 1) // 8
    assert start + 21 <= at < end
    assert find_batch(broken[0]) is None


def test_bytes_without_a_batch_are_left_alone(proxy: Proxy) -> None:
    proxy.flip(5)
    with a_client(proxy) as client:
        assert all(echoed(client, b"\x02" * 500) == b"\x02" * 500 for _ in range(20))
    assert proxy.flipped == 0
