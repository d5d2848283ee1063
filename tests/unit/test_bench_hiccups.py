"""The watch on the machine: a core that is kept busy is no stall, a thread that cannot run is one."""

import os
import time

from tests.bench.hiccups import NOTED_MS, Probe, summary


def test_only_stalls_of_the_span_count_and_one_that_reaches_into_it() -> None:
    stalls = [(990.0, 50.0), (1_500.0, 20.0), (2_040.0, 90.0), (2_500.0, 300.0)]
    assert summary(stalls, 1_000, 2_000) == {"stalls": 2, "longest_stall_ms": 90.0}
    assert summary([], 0, 1) == {"stalls": 0, "longest_stall_ms": 0.0}


def test_a_core_that_a_busy_process_shares_does_not_look_stalled_to_real_time() -> None:
    probe = Probe(min(os.sched_getaffinity(0)))
    probe.start()
    until = time.perf_counter() + 0.3
    while time.perf_counter() < until:
        sum(range(1_000))
    assert probe.is_alive()
    # The host may stand still at any moment, so nothing is said of what was seen, but for its shape.
    assert all(late > NOTED_MS for _, late in probe.stalls)
