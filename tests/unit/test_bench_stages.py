"""Stages of the bench: names of threads as Linux shows them, CPU time that was really spent."""

from __future__ import annotations

import os
import sys
import time

import pytest

from tests.bench.stages import OTHERS, StageMeter, stage_of


def test_threads_of_a_taskmanager_are_told_apart_by_their_names() -> None:
    assert stage_of("taskmanager-0", "touch entities ") == "features"
    assert stage_of("taskmanager-1", "C2 CompilerThre") == "compilers"
    assert stage_of("taskmanager-1", "flink-metrics-1") == OTHERS
    assert stage_of("broker", "touch entities ") == "broker"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_cpu_time_is_counted_per_event() -> None:
    meter = StageMeter({"broker": os.getpid()})
    begun = time.process_time()
    while time.process_time() - begun < 0.2:
        pass
    spent = time.process_time() - begun
    assert meter.microseconds(1000)["broker"] == pytest.approx(1e6 * spent / 1000, rel=0.3)
    assert meter.microseconds(2000)["broker"] < meter.microseconds(1000)["broker"]
