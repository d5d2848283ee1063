"""Memory is there before it is written, contents stay, and the thread goes with its owner."""

from __future__ import annotations

import gc
import mmap
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.features.memory_ahead import MemoryAhead, _smallest, _Wanted


def is_known() -> bool:
    """Whether this system can be asked for memory: a probe of its own, so that the test below can fail."""
    if sys.platform != "linux":
        return False
    with mmap.mmap(-1, mmap.PAGESIZE) as memory_map:
        try:
            memory_map.madvise(23)  # MADV_POPULATE_WRITE
        except OSError:
            return False
    return True


pytestmark = pytest.mark.skipif(not is_known(), reason="memory can be asked for on Linux 5.14 and later")

WORDS = 1 << 21  # 16 MiB


class Owner:
    """Asks for memory."""

    def __init__(self) -> None:
        self.ahead = MemoryAhead(self)


def resident_kib(address: int) -> int:
    """Return how much of the mapping at an address has memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        first = line.split()[0]
        if "-" in first and not first.endswith(":"):
            start, end = (int(part, 16) for part in first.split("-"))
            if start <= address < end:
                return next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))
    raise AssertionError("no such mapping")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_memory_comes_and_what_it_holds_stays() -> None:
    memory_map = mmap.mmap(-1, 8 * WORDS)
    words = np.frombuffer(memory_map, np.int64)
    words[5], words[WORDS // 2] = 7, 9
    address = words.ctypes.data
    owner = Owner()
    owner.ahead.ask(words, 3, WORDS // 2 + 1)
    half = 8 * WORDS // 2 // 1024
    wait_until(lambda: resident_kib(address) >= half)
    assert (words[5], words[WORDS // 2], int(np.count_nonzero(words[: WORDS // 2 + 1]))) == (7, 9, 2)
    thread = owner.ahead._thread
    assert thread is not None
    assert thread.is_alive()
    del owner
    gc.collect()
    wait_until(lambda: not thread.is_alive())


@given(st.integers(0, 1 << 24), st.integers(1, 1 << 24))
def test_chunks_are_all_that_was_asked_for_and_end_with_large_pages(address: int, length: int) -> None:
    wanted, chunks = _Wanted(np.zeros(0, np.int64), address, address + length), []
    while wanted.address < wanted.until:
        chunks.append(wanted.next_chunk())
    ends = [start + size for start, size in chunks]
    assert [start for start, _ in chunks] == [address, *ends[:-1]]
    assert ends[-1] == address + length
    assert all(end % (2 << 20) == 0 for end in ends[:-1])
    assert max(size for _, size in chunks) <= 2 << 20


def test_what_the_next_blocks_need_does_not_wait_for_a_table() -> None:
    words = np.zeros(0, np.int64)
    table, blocks = _Wanted(words, 0, 64 << 20), _Wanted(words, 0, 4 << 20)
    assert _smallest([table, blocks]) is blocks
    while table.until - table.address >= blocks.until - blocks.address:
        table.next_chunk()
    assert _smallest([table, blocks]) is table  # it is nearly there
