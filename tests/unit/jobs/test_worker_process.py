"""A Python process of Flink stands back, and ends with its TaskManager, here a process that is called the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.stream.worker_process import NICE

ROOT = Path(__file__).parents[3]
# As pyflink-udf-runner.sh starts a worker: from a shell that outlives the TaskManager.
WORKER = """
import os, sys, threading, types, time
sys.modules["__main__"].__spec__ = types.SimpleNamespace(name="pyflink.fn_execution.beam.beam_boot")
from jobs.stream.worker_process import serve_taskmanager
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
serve_taskmanager()
serve_taskmanager()
threads = [int(thread) for thread in os.listdir("/proc/self/task")]
assert len(threads) == 3
print("watching at", min(os.getpriority(os.PRIO_PROCESS, thread) for thread in threads), flush=True)
time.sleep(600)
"""
TASKMANAGER = """
import subprocess, sys, time
subprocess.Popen(["sh", "-c", '"$0" -c "$1"; echo ended $?', sys.argv[1], sys.argv[2]])
time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="without /proc nothing is watched")
def test_a_worker_ends_when_its_taskmanager_is_killed(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.symlink_to(sys.executable)
    taskmanager = subprocess.Popen(
        [str(java), "-c", TASKMANAGER, sys.executable, WORKER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert taskmanager.stdout is not None
    with taskmanager.stdout as lines:
        assert int(lines.readline().removeprefix("watching at ")) >= NICE
        taskmanager.kill()
        taskmanager.wait(10)
        assert lines.readline() == "ended 1\n"


def test_a_process_that_is_no_worker_watches_nothing() -> None:
    code = "import threading; from jobs.stream.worker_process import serve_taskmanager; serve_taskmanager()"
    code += "; print(threading.active_count())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "1\n", done.stderr
