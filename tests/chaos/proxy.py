"""A TCP proxy on the loopback interface that misbehaves on demand: it delays, drops, cuts, and flips bits.

One bit at a time is flipped, in that part of a Kafka record batch that its checksum covers: TCP's own checksum misses
such a fault about once in 65,000, and this is what the batch's is for. Bits outside of a batch have no protection but
TLS, so nothing is claimed about them.

What is drawn comes from a seeded generator; how the bytes were cut into pieces, and so what is drawn for which of them,
does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

CHUNK = 256 << 10
_HEADER = 61  # of a record batch, version 2; the checksum at 17 covers what follows it
_CHECKED_FROM = 21
_CRC32C = 0x82F63B78


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ _CRC32C if value & 1 else value >> 1
        table.append(value)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """Return the Castagnoli checksum that Kafka's record batches carry.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def find_batch(data: bytes, largest: int = 64 << 10) -> tuple[int, int] | None:
    """Return start and end of the first whole record batch in `data` whose checksum is right; None if there is none."""
    at = data.find(b"\x02", 16)
    while at != -1:
        start = at - 16
        (length,) = struct.unpack_from(">i", data, start + 8)
        end = start + 12 + length
        if _HEADER - 12 < length <= largest and end <= len(data):
            (claimed,) = struct.unpack_from(">I", data, start + 17)
            if crc32c(data[start + _CHECKED_FROM : end]) == claimed:
                return start, end
        at = data.find(b"\x02", at + 1)
    return None


class Proxy:
    """Listens on a port and passes on to another; one thread serves all connections.

    Parameters
    ----------
    seed
        Of what is drawn.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._target = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_cut = False
        self._delay_seconds = 0.0
        self._flips_left = 0
        self.flipped = 0

    def start(self, target: int) -> Self:
        """Begin to pass connections on to a loopback port."""
        self._target = target
        self._thread.start()
        self._call(self._listen())
        return self

    def close(self) -> None:
        """Cut every connection and end."""
        if self._thread.is_alive():
            self._call(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
        self._listener.close()

    def drop(self) -> None:
        """Let nothing through until `heal`: connections stay open, and what is sent waits, as behind a dead link."""
        self._soon(self._flows.clear)

    def cut(self) -> None:
        """Reset every connection, and every new one until `heal`."""

        def do() -> None:
            self._is_cut = True
            self._reset_all()

        self._soon(do)

    def delay(self, seconds: float) -> None:
        """Hold every piece back for up to twice so long until `heal`."""
        self._soon(lambda: setattr(self, "_delay_seconds", seconds))

    def flip(self, batches: int) -> None:
        """Flip a bit in so many record batches, one in about three of those that come by."""
        self._soon(lambda: setattr(self, "_flips_left", batches))

    def heal(self) -> None:
        """Pass everything on again."""

        def do() -> None:
            self._is_cut, self._delay_seconds, self._flips_left = False, 0.0, 0
            self._flows.set()

        self._soon(do)

    # -- inside the loop --------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._listener, limit=CHUNK)

    async def _stop(self) -> None:
        if self._server:
            self._server.close()
        self._reset_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            _reset(writer)
            return
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target, limit=CHUNK)
        except OSError:
            self._writers.discard(writer)
            _reset(writer)
            return
        self._writers.add(back)
        pumps = [asyncio.ensure_future(self._pump(reader, back)), asyncio.ensure_future(self._pump(there, writer))]
        self._tasks.update(pumps)
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._tasks.difference_update(pumps)
            for end in (writer, back):
                self._writers.discard(end)
                _reset(end)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await self._flows.wait()
                if self._delay_seconds:
                    await asyncio.sleep(self._random.uniform(0, 2 * self._delay_seconds))
                if self._flips_left and self._random.random() < 1 / 3:
                    data = self._flipped(data)
                sink.write(data)
                await sink.drain()

    def _flipped(self, data: bytes) -> bytes:
        found = find_batch(data)
        if found is None:
            return data
        start, end = found
        at, bit = self._random.randrange(start + _CHECKED_FROM, end), self._random.randrange(8)
        self._flips_left -= 1
        self.flipped += 1
        return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]

    def _reset_all(self) -> None:
        for writer in list(self._writers):
            _reset(writer)
        self._writers.clear()

    def _soon(self, action: Callable[[], None]) -> None:
        done = threading.Event()

        def do() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(do)
        if not done.wait(10):
            raise TimeoutError("the proxy's thread does not answer")

    def _call(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a cut does: the other side gets a reset and no goodbye."""
    found = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(RuntimeError):
        writer.transport.abort()
