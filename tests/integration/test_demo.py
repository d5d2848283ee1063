"""The demo, whole: it counts every record, revises alerts by evidence, writes a page, and leaves no process behind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

SECONDS = 240  # 60 s on two idle cores, of which 8 of payments; the rest is for a machine with every core taken


def processes_of(folder: Path) -> list[str]:
    """Command lines that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found


@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are found by /proc")
def test_alerts_are_revised_every_record_counts_and_nothing_is_left(tmp_path: Path) -> None:
    home = tmp_path / "demo-home"
    size = ("--duration-seconds", "8", "--rate", "1000", "--evidence-share", "0.25")
    command = [sys.executable, "-m", "deploy.cli.main", "--home-dir", str(home), "demo", *size]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    # The console breaks lines where a terminal would end
    told = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert "every record is accounted for" in told
    counts = re.search(r"evidence: ([\d,]+) asked = .*? alerts revised: ([\d,]+)", told)
    assert counts, told[-3_000:]
    assert all(int(count.replace(",", "")) > 0 for count in counts.groups())
    assert "no evidence is gathered" not in told
    page = home / "demo" / "alert.html"
    assert page.read_text().startswith("<!doctype html>")
    assert list((home / "demo" / "data" / "documents").glob("*.jpg"))
    assert processes_of(home) == []
