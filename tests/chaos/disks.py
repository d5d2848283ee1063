"""File systems of a limited size under folders of the stack, which a run can fill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SIZES_MIB = {"broker": 1024, "checkpoints": 384, "logs": 128}
"""Room under each: some times what a long run takes."""
BALLAST = "ballast"
DEVICE = "weir-chaos"


def why_not() -> str | None:
    """Say what is missing for file systems of our own; None if nothing is."""
    if sys.platform != "linux":
        return "a full disk is a tmpfs of limited size, which needs Linux"
    if os.geteuid() != 0:
        return "a full disk is a tmpfs of limited size, and only root can mount one"
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    return None if probe.returncode == 0 else f"mounting a tmpfs is refused: {probe.stderr.decode().strip()}"


def unmount_below(folder: Path) -> None:
    """Unmount what a run that was killed left under a folder."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return
    for line in mounts.read_text().splitlines():
        device, place = line.split()[:2]
        if device == DEVICE and Path(place).is_relative_to(folder.resolve()):
            subprocess.run(["umount", "-l", place], check=True, timeout=30)


class Disks:
    """A tmpfs under each of the folders.

    Parameters
    ----------
    folders
        By name in `SIZES_MIB`.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = dict(folders)
        self._mounted: list[Path] = []

    def mount(self) -> None:
        """Mount all; the folders have to be empty."""
        for name, folder in self._folders.items():
            folder.mkdir(parents=True, exist_ok=True)
            size = f"size={SIZES_MIB[name]}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, DEVICE, str(folder)], check=True, timeout=30)
            self._mounted.append(folder)

    def keep(self, name: str, target: Path) -> None:
        """Copy what lies on one of them elsewhere, before it goes."""
        shutil.copytree(self._folders[name], target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(BALLAST))

    def unmount(self) -> None:
        """Unmount all; what was on them is gone."""
        while self._mounted:
            subprocess.run(["umount", "-l", str(self._mounted.pop())], check=True, timeout=30)

    def fill(self, name: str) -> None:
        """Write until nothing more fits."""
        block = bytes(1 << 20)
        with (self._folders[name] / BALLAST).open("ab", buffering=0) as file:
            try:
                while file.write(block) == len(block):
                    pass
            except OSError:
                return

    def free(self, name: str) -> None:
        """Give the room back."""
        (self._folders[name] / BALLAST).unlink(missing_ok=True)
