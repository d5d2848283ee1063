"""A side service that behaves, or does not: `python -m tests.side_service --port 0`.

Answers KServe's V1 protocol over plain sockets, so that it can also do what no HTTP library lets one do. How it behaves
is set by `PUT /mode` with one of `MODES` as body, and per request by a reference that ends in `?mode=MODE`. The
probability it answers is a function of the reference. `GET /calls` counts calls by request id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Self

REPOSITORY = Path(__file__).resolve().parents[1]
MODES = ("fast", "slow", "hang", "error", "reset", "lie", "refuse", "drip", "flood")
SLOW_SECONDS = 5.0
VERSION = "1"


def probability_of(reference: str) -> float:
    """Return what the service says of a document: anything in [0, 1), the same every time."""
    return int.from_bytes(sha256(reference.encode()).digest()[:2], "big") / 65_536


class Behaviour:
    """One server's mode and memory."""

    def __init__(self, mode: str, slow_seconds: float) -> None:
        self.mode = mode
        self.slow_seconds = slow_seconds
        self.calls: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests of one connection until it ends."""
        try:
            while line := await reader.readline():
                method, path, _ = line.decode().split(" ", 2)
                headers = {}
                while (header := await reader.readline()) not in (b"\r\n", b""):
                    name, _, value = header.decode().partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                await self._answer(writer, method, path, headers, body)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, writer: asyncio.StreamWriter, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> None:
        if path == "/mode":
            self.mode = body.decode()
            await _send(writer, 200, {"mode": self.mode})
            return
        if path == "/calls":
            await _send(writer, 200, dict(self.calls))
            return
        instance = json.loads(body)["instances"][0]
        reference = instance.get("image", {}).get("uri", "memo:")
        request_id = headers.get("x-request-id", "")
        self.calls[request_id] += 1
        mode = reference.rpartition("?mode=")[2] if "?mode=" in reference else self.mode
        answer = {
            "model_name": path.split("/")[3].removesuffix(":predict"),
            "model_version": VERSION,
            "id": request_id,
            "predictions": [{"probability": probability_of(reference), "kind": "splice"}],
        }
        if mode == "slow":
            await asyncio.sleep(self.slow_seconds)
        if mode == "hang":
            await asyncio.sleep(3_600)
        elif mode == "error":
            await _send(writer, 500, {"error": "out of order", "code": "model_failed", "retryable": True})
        elif mode == "refuse":
            await _send(writer, 415, {"error": "an SVG", "code": "unsupported_content", "retryable": False})
        elif mode == "reset":
            writer.transport.abort()
        elif mode == "lie":
            await _send(writer, 200, {**answer, "predictions": [{"probability": "very high"}]})
        elif mode == "drip":  # one byte a second, for ever
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(1)
        elif mode == "flood":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            while True:
                writer.write(b" " * 65_536)
                await writer.drain()
        else:
            await _send(writer, 200, answer)


async def _send(writer: asyncio.StreamWriter, status: int, answer: object) -> None:
    body = json.dumps(answer).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


class SideService:
    """The service as a process that can be killed, and started again at the same address."""

    def __init__(self, mode: str = "fast", slow_seconds: float = SLOW_SECONDS) -> None:
        self._arguments = ["--mode", mode, "--slow-seconds", str(slow_seconds)]
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it; wait until it listens."""
        command = [sys.executable, "-m", "tests.side_service", "--port", str(self.port), *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    @property
    def url(self) -> str:
        """Address."""
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """SIGKILL it."""
        self._process.kill()
        self._process.wait(10)

    def set_mode(self, mode: str) -> None:
        """Let it behave otherwise from now on."""
        request = urllib.request.Request(f"{self.url}/mode", mode.encode(), method="PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def calls(self) -> Counter[str]:
        """Count calls by request id."""
        with urllib.request.urlopen(f"{self.url}/calls", timeout=10) as answer:
            return Counter(json.loads(answer.read()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._process.poll() is None:
            self.kill()


async def main(port: int, mode: str, slow_seconds: float) -> None:
    """Serve until killed."""
    behaviour = Behaviour(mode, slow_seconds)
    server = await asyncio.start_server(behaviour.serve, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", choices=MODES, default="fast")
    parser.add_argument("--slow-seconds", type=float, default=SLOW_SECONDS)
    given = parser.parse_args()
    asyncio.run(main(given.port, given.mode, given.slow_seconds))
