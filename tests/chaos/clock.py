"""The wall clock of the stack's processes, which a run can set: see clock_shift.c."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shift.c")


def why_not() -> str | None:
    """Say what is missing for a clock of our own; None if nothing is."""
    if sys.platform != "linux":
        return "a clock is set by LD_PRELOAD, which needs Linux"
    if shutil.which("cc") is None:
        return "no C compiler 'cc' to build the library that shifts a process's clock (Debian: apt install gcc)"
    return None


class Clock:
    """One clock for every process that is started while it is in force; ours keeps the system's.

    Parameters
    ----------
    folder
        For the library and the file that says how far the clock is off.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file, library = folder / "clock", folder / "clock_shift.so"
        self._file.write_bytes(struct.pack("<q", 0))
        command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        self._variables = {"LD_PRELOAD": str(library), "CHAOS_CLOCK_FILE": str(self._file)}
        self.seconds = 0.0

    def come_into_force(self) -> None:
        """Give the clock to every process that is started from now on."""
        os.environ.update(self._variables)

    def remove(self) -> None:
        """Give processes that are started from now on the system's clock."""
        for name in self._variables:
            os.environ.pop(name, None)

    def step(self, seconds: float) -> None:
        """Set the clock forwards, or backwards, by some seconds."""
        self.seconds += seconds
        with self._file.open("r+b") as file:
            file.write(struct.pack("<q", round(self.seconds * 1e9)))
