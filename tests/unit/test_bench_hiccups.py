"""The watch on the machine: which stalls count, and that it sees one."""

import json
import signal
import subprocess
import sys
import time

from tests.bench.hiccups import summary


def test_only_stalls_of_the_span_count_and_one_that_reaches_into_it() -> None:
    stalls = [(990.0, 50.0), (1_500.0, 20.0), (2_040.0, 90.0), (2_500.0, 300.0)]
    assert summary(stalls, 1_000, 2_000) == {"stalls": 2, "longest_stall_ms": 90.0}
    assert summary([], 0, 1) == {"stalls": 0, "longest_stall_ms": 0.0}


def test_a_watch_that_could_not_run_for_a_while_says_so() -> None:
    watch = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.hiccups"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert watch.stdin is not None
        assert watch.stdout is not None

        def ask(*lines: str) -> dict:
            watch.stdin.write("".join(f"{line}\n" for line in lines))
            watch.stdin.flush()
            return json.loads(watch.stdout.readline())

        ask("{}", "{}")  # it answers, so it is at work
        watch.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        watch.send_signal(signal.SIGCONT)
        time.sleep(0.1)
        seen = ask("{}")
        assert max(late for _, late in seen["stalls"]) >= 200
        assert seen["stolen_seconds"] >= 0
    finally:
        watch.kill()
        watch.wait(10)
