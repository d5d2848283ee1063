"""Evidence by reference: fetched from the configured roots alone, so that a request cannot make the service read or
call anything else (server-side request forgery).

A root is a folder or an http(s) URL prefix. A file must lie, links resolved, below a folder. A URL must agree with a
root in scheme, host, port and path; every address of its host is looked up once and must be public (unless the
settings say otherwise), and the connection goes to that very address, so that a second look-up cannot change it.
Redirects are not followed, proxies of the environment are not used, and the content is cut off at the largest image.

References
----------
OWASP, Server-Side Request Forgery Prevention Cheat Sheet
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ipaddress
import os
import posixpath
import socket
import ssl
import stat
import threading
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from models.services.base.errors import ImageTooLargeError, ReferenceRefusedError, ReferenceUnavailableError
from models.services.base.settings import ServiceSettings

Address = tuple[str, int]
Resolve = Callable[[str, int], list[str]]
_PORTS = {"http": 80, "https": 443}
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class _Url:
    scheme: str
    host: str
    port: int
    path: str
    query: str


def resolve_host(host: str, port: int) -> list[str]:
    """Every address of a host, as the system knows them."""
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})


class References:
    """Fetch references below the configured roots.

    Parameters
    ----------
    settings
        Roots and limits.
    resolve
        Looks up a host's addresses.
    """

    def __init__(self, settings: ServiceSettings, resolve: Resolve = resolve_host) -> None:
        self._settings = settings
        self._resolve = resolve
        roots = settings.evidence_roots
        self._folders = tuple(Path(_path(root)).resolve() for root in roots if not _is_url(root))
        self._urls = tuple(_url(root) for root in roots if _is_url(root))
        # A hanging place costs one of these threads until its time is up, and no other work.
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="fetch")

    async def fetch(self, uri: str) -> bytes:
        """Fetch a reference.

        Raises
        ------
        ReferenceRefusedError
            If it lies outside the roots; nothing was read or called then.
        ReferenceUnavailableError
            If it is not there, or did not come in time.
        ImageTooLargeError
            If it is longer than an image may be.
        """
        loop = asyncio.get_running_loop()
        timeout = self._settings.fetch_timeout_seconds
        try:
            # A look-up of a name and a read of a network folder take no timeout of their own.
            return await asyncio.wait_for(loop.run_in_executor(self._threads, self.read, uri), timeout + 1)
        except TimeoutError:
            raise ReferenceUnavailableError(f"the reference did not come within {timeout:g} s: ask again") from None

    def read(self, uri: str) -> bytes:
        """Fetch a reference in this thread."""
        if _is_url(uri):
            return self._read_url(_url(uri))
        return self._read_file(_path(uri))

    # -- files --------------------------------------------------------------------------------------------------------

    def _read_file(self, name: str) -> bytes:
        if "\0" in name or not name.startswith("/"):
            raise ReferenceRefusedError("a file is named by its absolute path, as file:///folder/name")
        try:
            path = Path(name).resolve(strict=True)
        except (OSError, RuntimeError):
            # Outside the roots nobody is told what exists.
            self._require_below_a_folder(Path(os.path.normpath(name)))
            raise ReferenceUnavailableError("the file is not there") from None
        self._require_below_a_folder(path)
        try:
            # O_NOFOLLOW and O_NONBLOCK: a link or pipe put in the file's place meanwhile is refused, not waited for.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise ReferenceUnavailableError(f"the file cannot be read: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ReferenceRefusedError("the reference is no regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return self._bounded(file.read(self._settings.max_image_bytes + 1))
        except OSError as error:
            raise ReferenceUnavailableError(f"the file cannot be read: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def _require_below_a_folder(self, path: Path) -> None:
        if not any(path.is_relative_to(folder) for folder in self._folders):
            raise ReferenceRefusedError("the reference lies outside the folders of evidence_roots")

    # -- URLs ---------------------------------------------------------------------------------------------------------

    def _read_url(self, url: _Url) -> bytes:
        if not any(_is_below(url, root) for root in self._urls):
            raise ReferenceRefusedError("the reference lies outside the URLs of evidence_roots")
        deadline = time.monotonic() + self._settings.fetch_timeout_seconds
        connection = self._connect(url)
        # The socket's timeout is that of one read: a host that sends a byte now and then would never meet it.
        cut_off = threading.Timer(self._settings.fetch_timeout_seconds, _cut_off, [connection])
        cut_off.daemon = True
        cut_off.start()
        try:
            target = url.path + (f"?{url.query}" if url.query else "")
            connection.request("GET", target, headers={"Accept": "image/*", "Accept-Encoding": "identity"})
            response = connection.getresponse()
            if 300 <= response.status < 400:
                raise ReferenceRefusedError("the reference redirects, and redirects are not followed: name its target")
            if response.status != 200:
                raise ReferenceUnavailableError(f"the reference answered with status {response.status}")
            return self._body(response, deadline)
        except (OSError, http.client.HTTPException) as error:
            raise ReferenceUnavailableError(f"the reference did not answer: {type(error).__name__}") from error
        finally:
            cut_off.cancel()
            connection.close()

    def _body(self, response: http.client.HTTPResponse, deadline: float) -> bytes:
        parts: list[bytes] = []
        total = 0
        while part := response.read1(_CHUNK_BYTES):
            parts.append(part)
            total += len(part)
            if total > self._settings.max_image_bytes:
                break
            if time.monotonic() > deadline:
                raise ReferenceUnavailableError("the reference came too slowly: ask again")
        return self._bounded(b"".join(parts))

    def _bounded(self, content: bytes) -> bytes:
        if len(content) > self._settings.max_image_bytes:
            raise ImageTooLargeError(
                f"what the reference points to has more than {self._settings.max_image_bytes} bytes: scale it down"
            )
        return content

    def _connect(self, url: _Url) -> http.client.HTTPConnection:
        try:
            addresses = self._resolve(url.host, url.port)
        except OSError as error:
            raise ReferenceUnavailableError("the reference's host is not known") from error
        for address in addresses:
            if not self._settings.evidence_private_addresses and not _is_public(address):
                raise ReferenceRefusedError("the reference's host has a private address")
        if not addresses:
            raise ReferenceUnavailableError("the reference's host has no address")
        timeout = self._settings.fetch_timeout_seconds
        if url.scheme == "https":
            return _PinnedHttpsConnection(url, addresses[0], timeout)
        return _PinnedConnection(url, addresses[0], timeout)


class _PinnedConnection(http.client.HTTPConnection):
    """A connection to an address that was checked; the host's name goes into the request only."""

    def __init__(self, url: _Url, address: str, timeout: float) -> None:
        super().__init__(url.host, url.port, timeout=timeout)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)


class _PinnedHttpsConnection(_PinnedConnection):
    """The same with TLS; the certificate must be the host's."""

    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        super().connect()
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _cut_off(connection: http.client.HTTPConnection) -> None:
    """End a connection that another thread reads from: its read fails at once."""
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def _path(text: str) -> str:
    """The path that a file URI or a plain path names.

    >>> _path("file:///evidence/a%20b.png"), _path("/evidence/c.png")
    ('/evidence/a b.png', '/evidence/c.png')
    """
    if not text.lower().startswith("file:"):
        if "://" in text:
            raise ReferenceRefusedError("a reference begins with file:///, https:// or http://")
        return text
    try:
        parts = urllib.parse.urlsplit(text)
    except ValueError:
        raise ReferenceRefusedError("the URI cannot be read") from None
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise ReferenceRefusedError("a file is named as file:///folder/name, without host, query and fragment")
    return urllib.parse.unquote(parts.path)


def _url(text: str) -> _Url:
    """Take a URL apart; refuse what programs read in different ways."""
    if any(ord(character) <= 0x20 or character in "\\\x7f" for character in text) or not text.isascii():
        raise ReferenceRefusedError("the URL holds characters that must be percent-encoded")
    try:
        parts = urllib.parse.urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ReferenceRefusedError("the URL cannot be read") from error
    if parts.username is not None or parts.password is not None or not parts.hostname:
        raise ReferenceRefusedError("the URL must name a host, and neither user nor password")
    path = parts.path or "/"
    decoded = urllib.parse.unquote(path)
    if ".." in decoded.replace("\\", "/").split("/") or "%2f" in path.lower() or "%5c" in path.lower():
        raise ReferenceRefusedError("the URL's path must not hold '..' or an encoded slash")
    scheme = parts.scheme.lower()
    return _Url(scheme, parts.hostname.lower().rstrip("."), port or _PORTS[scheme], path, parts.query)


def _is_below(url: _Url, root: _Url) -> bool:
    if (url.scheme, url.host, url.port) != (root.scheme, root.host, root.port):
        return False
    return url.path == root.path or url.path.startswith(posixpath.join(root.path, ""))


def _is_public(address: str) -> bool:
    """Whether an address is one of the open Internet.

    >>> [_is_public(a) for a in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::a00:1")]
    [False, False, False, False, False]
    >>> _is_public("93.184.215.14")
    True
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        embedded = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in ipaddress.ip_network("64:ff9b::/96"):  # NAT64: the last 32 bits are an IPv4 address
            embedded = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if embedded is not None:
            return _is_public(str(embedded))
    return parsed.is_global and not parsed.is_multicast
