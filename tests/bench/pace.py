"""How fast the machine is at the moment: a virtual one has neighbours, and memory that its host has taken back."""

from __future__ import annotations

import mmap
import statistics
import time

import numpy as np

_ADDITIONS = 1_000_000
_NEW_BYTES = 256 << 20


def _additions_ms() -> float:
    start, total = time.perf_counter(), 0
    for number in range(_ADDITIONS):
        total += number
    return 1_000 * (time.perf_counter() - start)


def _new_memory() -> float:
    """Return the GB/s at which memory comes when it is first written, in large pages where there are any."""
    memory = mmap.mmap(-1, _NEW_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    words = np.frombuffer(memory, np.int64)
    start = time.perf_counter()
    words[::512] = 1  # a word of each small page
    return _NEW_BYTES / (time.perf_counter() - start) / 1e9


def pace() -> dict[str, float]:
    """Measure for some seconds: ms for a million additions in Python (the median of nine), and GB/s of new memory."""
    additions = statistics.median(_additions_ms() for _ in range(9))
    return {"additions_ms": round(additions, 1), "new_memory_gb_s": round(_new_memory(), 2)}
