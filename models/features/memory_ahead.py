"""Memory that is there before it is written: a page that is new costs more than all that is done to it."""

from __future__ import annotations

import ctypes
import queue
import sys
import threading
import time
import weakref
from dataclasses import dataclass

from schemas.columns import I64

_POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE of Linux 5.14: make pages present and writable, and leave what they hold as it is."""
_CHUNK_BYTES = 2 << 20  # one large page: the thread ends soon after its owner has gone
_ALIGNMENT = 4096
_REST = 4
"""Times as long as a chunk took, the thread rests after it: what a table asks for when it will grow soon is a second
or more of a core, and is not needed for many seconds. Waiting requests are served smallest first, so that what the next
blocks of tracks need does not wait for a table."""
_LONGEST_REST_SECONDS = 0.05


class MemoryAhead:
    """Has the system hand out memory by a thread of its own; whoever writes later does not wait.

    Parameters
    ----------
    owner
        The thread ends when this object is gone.

    Notes
    -----
    Contents are never touched, so the owner may write to the same words meanwhile. Where the system does not know how
    (before Linux 5.14, other systems), nothing happens, and memory comes when it is first written.
    """

    def __init__(self, owner: object) -> None:
        self._asked: queue.SimpleQueue[tuple[I64, int, int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        weakref.finalize(owner, self._asked.put, None).atexit = False

    def ask(self, words: I64, start: int, end: int) -> None:
        """Ask for the memory of `words[start:end]`; returns at once."""
        if sys.platform != "linux" or end <= start:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=_serve, args=(self._asked,), name="memory-ahead", daemon=True)
            self._thread.start()
        self._asked.put((words, start, end))


@dataclass(slots=True, eq=False)
class _Wanted:
    """Memory that was asked for and is not all there."""

    words: I64  # keeps the mapping
    address: int
    until: int

    def next_chunk(self) -> tuple[int, int]:
        """Return address and length of the next chunk, and leave it out from now on."""
        address = self.address
        self.address = min(self.until, address - address % _CHUNK_BYTES + _CHUNK_BYTES)
        return address, self.address - address


def _smallest(waiting: list[_Wanted]) -> _Wanted:
    return min(waiting, key=lambda wanted: wanted.until - wanted.address)


def _serve(asked: queue.SimpleQueue[tuple[I64, int, int] | None]) -> None:
    madvise = ctypes.CDLL(None, use_errno=True).madvise  # a call by ctypes leaves the interpreter to others meanwhile
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    waiting: list[_Wanted] = []
    while True:
        while not waiting or not asked.empty():
            request = asked.get()
            if request is None:
                return
            words, start, end = request
            address = words.ctypes.data + 8 * start
            waiting.append(_Wanted(words, address - address % _ALIGNMENT, words.ctypes.data + 8 * end))
            del words, request  # hold no memory while waiting
        wanted = _smallest(waiting)
        began = time.monotonic()
        if madvise(*wanted.next_chunk(), _POPULATE_WRITE) != 0 or wanted.address == wanted.until:
            waiting.remove(wanted)
        del wanted
        time.sleep(min(_REST * (time.monotonic() - began), _LONGEST_REST_SECONDS))
