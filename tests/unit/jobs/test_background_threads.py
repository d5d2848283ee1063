"""Threads that write checkpoints get a lower priority, others keep theirs."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from jobs.stream.background_threads import NICE, BackgroundThreads


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of single threads are Linux's")
def test_only_threads_that_write_checkpoints_stand_back() -> None:
    names = {"AsyncOperations-thread-1": NICE, "decide (1/1)": os.getpriority(os.PRIO_PROCESS, 0)}
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
