"""Threads that write checkpoints or compile get a lower priority, others keep theirs."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from jobs.stream.background_threads import BackgroundThreads


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of single threads are Linux's")
def test_only_threads_that_write_checkpoints_or_compile_stand_back() -> None:
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    names = {
        "AsyncOperations-thread-1": 15,
        "ChangelogBlockingExecutor": 15,
        "C2 CompilerThread0": 5,
        "decide (1/1)": usual,
        "C1 CompilerThread0": usual,
    }
    named, done = threading.Barrier(1 + len(names)), threading.Event()
    ids: dict[str, int] = {}

    def work(name: str) -> None:
        ids[name] = threading.get_native_id()
        Path(f"/proc/self/task/{ids[name]}/comm").write_text(name[:15])
        named.wait()
        done.wait()

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    try:
        named.wait()
        BackgroundThreads().stand_back()
        assert {name: os.getpriority(os.PRIO_PROCESS, ids[name]) for name in names} == names
    finally:
        done.set()
        for thread in threads:
            thread.join()
