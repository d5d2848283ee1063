"""What a run does to the machine: a clock of its own for some processes, and disks that are full. Skipped elsewhere."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos import clock, disks

TELL_TIME = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"


@pytest.mark.skipif(clock.why_not() is not None, reason=str(clock.why_not()))
def test_a_step_changes_the_wall_clock_of_the_processes_started_under_it_and_no_other(tmp_path: Path) -> None:
    own = clock.Clock(tmp_path)
    own.come_into_force()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", TELL_TIME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    finally:
        own.remove()
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        for step, shift in ((0, 0), (100, 100), (-250, -150)):
            own.step(step)
            process.stdin.write("\n")
            process.stdin.flush()
            wall, monotonic = map(float, process.stdout.readline().split())
            assert wall - time.time() == pytest.approx(shift, abs=20)
            assert monotonic == pytest.approx(time.monotonic(), abs=20)
        process.stdin.close()


@pytest.mark.skipif(disks.why_not() is not None, reason=str(disks.why_not()))
def test_a_full_disk_takes_nothing_more_until_it_is_freed(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    made = disks.Disks({"logs": folder})
    made.mount()
    try:
        (folder / "before").write_text("kept")
        made.fill("logs")
        with pytest.raises(OSError, match="space") as refused:
            (folder / "more").write_bytes(bytes(1 << 16))
        assert refused.value.errno == errno.ENOSPC
        made.free("logs")
        (folder / "more").write_bytes(bytes(1 << 16))
        assert (folder / "before").read_text() == "kept"
    finally:
        disks.unmount_below(tmp_path)
    assert not list(folder.iterdir())
