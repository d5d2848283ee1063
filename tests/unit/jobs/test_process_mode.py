"""The functions of process mode can be imported where PyFlink has put its own `print` in the place of Python's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
WORKER = """
import builtins

class CustomPrint:  # as pyflink.fn_execution.beam.beam_sdk_worker_main has it
    def print(self, *args):
        pass

builtins.print = CustomPrint().print
import jobs.stream.evidence_function
"""


def test_the_evidence_functions_can_be_imported_in_a_worker_of_flink() -> None:
    done = subprocess.run([sys.executable, "-c", WORKER], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
