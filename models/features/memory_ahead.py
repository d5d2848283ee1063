"""Memory that is there before it is written: a page that is new costs more than all that is done to it."""

from __future__ import annotations

import ctypes
import queue
import sys
import threading
import weakref

from schemas.columns import I64

_POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE of Linux 5.14: make pages present and writable, and leave what they hold as it is."""
_CHUNK_BYTES = 2 << 20  # one large page: the thread ends soon after its owner has gone
_ALIGNMENT = 4096


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


def _serve(asked: queue.SimpleQueue[tuple[I64, int, int] | None]) -> None:
    madvise = ctypes.CDLL(None, use_errno=True).madvise  # a call by ctypes leaves the interpreter to others meanwhile
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    while (request := asked.get()) is not None:
        words, start, end = request
        address = words.ctypes.data + 8 * start
        until = words.ctypes.data + 8 * end
        address -= address % _ALIGNMENT
        while address < until:
            length = min(_CHUNK_BYTES - address % _CHUNK_BYTES, until - address)
            if madvise(address, length, _POPULATE_WRITE) != 0:
                break
            address += length
        del words, request  # hold no memory while waiting
