"""What a reference may reach, and all the ways around it that are known (server-side request forgery)."""

from __future__ import annotations

import contextlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.services.base.errors import (
    ImageTooLargeError,
    ReferenceRefusedError,
    ReferenceUnavailableError,
    ServiceError,
)
from models.services.base.evidence.references import References, _is_public
from models.services.base.settings import ServiceSettings


def nobody(host: str, port: int) -> list[str]:
    raise AssertionError(f"looked up {host}")


def references(*roots: str, resolve=nobody, **settings: object) -> References:
    return References(ServiceSettings(evidence_roots=roots, **settings), resolve)


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "a b.png").write_bytes(b"image")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "evidence-2").mkdir()
    (tmp_path / "evidence-2" / "x.png").write_bytes(b"other")
    (folder / "link-in.png").symlink_to(folder / "a b.png")
    (folder / "link-out.png").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(folder / "pipe")
    return folder


def test_a_file_below_a_root_is_read_by_its_uri_and_by_its_path(evidence: Path) -> None:
    fetch = references(str(evidence))
    assert fetch.read(f"file://{evidence}/a%20b.png") == b"image"
    assert fetch.read(f"{evidence}/a b.png") == b"image"
    assert fetch.read(f"file://localhost{evidence}/link-in.png") == b"image"
    assert references(f"file://{evidence}").read(f"{evidence}/a b.png") == b"image"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "link-out.png",
        "../evidence-2/x.png",
        "./../../../../../../etc/passwd",
        "../no-such-file",
    ],
)
def test_a_file_outside_the_roots_is_refused_whatever_it_is_called(evidence: Path, name: str) -> None:
    with pytest.raises(ReferenceRefusedError):
        references(str(evidence)).read(f"file://{evidence}/{name}")


@pytest.mark.parametrize("uri", ["/etc/passwd", "file:///etc/passwd", "file:///proc/self/environ", "file:///no/such"])
def test_nothing_is_read_without_a_root(uri: str) -> None:
    with pytest.raises(ReferenceRefusedError):
        references().read(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "gopher://127.0.0.1/",
        "ftp://example.org/a.png",
        "data:image/png;base64,AAAA",
        "jar:file:///x!/y",
        "file://example.org/etc/passwd",
        "relative.png",
        "",
        "/evidence/\0.png",
    ],
)
def test_other_schemes_and_forms_are_refused(evidence: Path, uri: str) -> None:
    with pytest.raises(ReferenceRefusedError):
        references(str(evidence), "https://evidence.example.org/").read(uri)


def test_folders_and_pipes_are_no_evidence(evidence: Path) -> None:
    for name in ("", "pipe"):
        with pytest.raises((ReferenceRefusedError, ReferenceUnavailableError)):
            references(str(evidence)).read(f"{evidence}/{name}")


def test_a_file_that_is_too_long_is_not_read_to_its_end(evidence: Path) -> None:
    (evidence / "long.png").write_bytes(bytes(2048))
    with pytest.raises(ImageTooLargeError):
        references(str(evidence), max_image_bytes=1024).read(f"{evidence}/long.png")


ROOT = "https://evidence.example.org/scans/"


@pytest.mark.parametrize(
    "uri",
    [
        "http://evidence.example.org/scans/a.png",
        "https://evidence.example.org:8443/scans/a.png",
        "https://evidence.example.org/other/a.png",
        "https://evidence.example.org/scans/../other/a.png",
        "https://evidence.example.org/scans/%2e%2e/other/a.png",
        "https://evidence.example.org/scans/..%2fother/a.png",
        "https://evidence.example.org/scans-2/a.png",
        "https://evidence.example.org.evil.example/scans/a.png",
        "https://evil.example/scans/a.png",
        "https://evidence.example.org@evil.example/scans/a.png",
        "https://user:pass@evidence.example.org/scans/a.png",
        "https://evil.example#@evidence.example.org/scans/a.png",
        "https://evil.example\\@evidence.example.org/scans/a.png",
        "https://127.0.0.1/scans/a.png",
        "https://[::1]/scans/a.png",
        "https://2130706433/scans/a.png",
        "https://evidence.example.org/scans/a.png\r\nHost: evil.example",
        "https://evidence.example.org:99999/scans/a.png",
        "https:///scans/a.png",
        "https://evidence.\uff45xample.org/scans/a.png",
    ],
)
def test_urls_outside_the_roots_are_refused_before_any_name_is_looked_up(uri: str) -> None:
    with pytest.raises(ReferenceRefusedError):
        references(ROOT).read(uri)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.7",
        "172.16.9.9",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_a_root_whose_name_leads_to_a_private_address_is_refused(address: str) -> None:
    with pytest.raises(ReferenceRefusedError, match="private"):
        references(ROOT, resolve=lambda host, port: ["93.184.215.14", address]).read(f"{ROOT}a.png")


@given(st.ip_addresses(v=4, network="10.0.0.0/8") | st.ip_addresses(v=4, network="127.0.0.0/8"))
def test_private_networks_are_never_public_in_any_notation(address) -> None:
    assert not _is_public(str(address))
    assert not _is_public(f"::ffff:{address}")


class _Evidence(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/scans/redirect":
            self.send_response(302)
            self.send_header("Location", "/secret")
            self.end_headers()
            return
        status, body = {"/scans/a.png?v=1": (200, b"image"), "/scans/long": (200, bytes(4096))}.get(
            self.path, (404, b"")
        )
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Evidence)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(10)


def local(port: int, **settings: object) -> References:
    """The host of the root is known to the resolver alone: that the server answers shows which address was called."""
    root = f"http://evidence.invalid:{port}/scans/"
    return references(root, resolve=lambda host, number: ["127.0.0.1"], evidence_private_addresses=True, **settings)


def test_the_address_that_was_checked_is_the_one_that_is_called(port: int) -> None:
    assert local(port).read(f"http://evidence.invalid:{port}/scans/a.png?v=1") == b"image"


def test_redirects_are_not_followed(port: int) -> None:
    with pytest.raises(ReferenceRefusedError, match="redirect"):
        local(port).read(f"http://evidence.invalid:{port}/scans/redirect")


def test_what_is_not_there_or_too_long_is_told(port: int) -> None:
    with pytest.raises(ReferenceUnavailableError, match="404"):
        local(port).read(f"http://evidence.invalid:{port}/scans/none")
    with pytest.raises(ImageTooLargeError):
        local(port, max_image_bytes=1024).read(f"http://evidence.invalid:{port}/scans/long")


@given(st.text(max_size=60))
def test_any_text_ends_in_a_refusal(text: str) -> None:
    fetch = references("/no/such/root", ROOT)
    for uri in (text, f"file://{text}", f"https://{text}"):
        with pytest.raises(ServiceError):
            fetch.read(uri)
