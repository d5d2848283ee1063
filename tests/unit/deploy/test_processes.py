"""Owning processes: exactly these, and never a later one of the same pid."""

import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local import processes
from deploy.local.errors import ServiceNotReadyError
from tests.waiting import wait_until

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]


@pytest.fixture
def sleeper(tmp_path: Path):
    process = processes.start("sleeper", SLEEPER, tmp_path / "sleeper.out")
    yield process
    process.kill()


def test_a_started_process_is_alive_until_it_is_killed(sleeper: processes.OwnedProcess) -> None:
    assert sleeper.is_alive()
    sleeper.kill()
    assert not sleeper.is_alive()


def test_a_pid_of_another_start_time_is_never_signalled(sleeper: processes.OwnedProcess) -> None:
    imposter = replace(sleeper, started="1")
    assert not imposter.is_alive()
    imposter.kill()
    assert processes.stop_all([imposter], timeout_seconds=1) == []
    assert sleeper.is_alive()


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "stubborn.out"
    process = processes.start("stubborn", STUBBORN, log)
    wait_until(lambda: "deaf" in log.read_text(), 10, "the process ignores SIGTERM")
    assert processes.stop_all([process], timeout_seconds=0.3) == ["stubborn"]
    assert not process.is_alive()


def test_a_service_that_dies_while_starting_is_reported_with_its_output(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; print('no room', flush=True); time.sleep(0.3); raise SystemExit(3)"]
    process = processes.start("service", command, tmp_path / "service.out")
    with pytest.raises(ServiceNotReadyError, match=r"service died while starting[\s\S]*no room"):
        processes.wait_until_ready(process, lambda: False, timeout_seconds=10)


def test_a_service_that_never_answers_is_reported_and_stopped(sleeper: processes.OwnedProcess) -> None:
    with pytest.raises(ServiceNotReadyError, match="did not answer within"):
        processes.wait_until_ready(sleeper, lambda: False, timeout_seconds=0.2)
    assert not sleeper.is_alive()


def test_ctrl_c_at_the_terminal_does_not_reach_a_service(sleeper: processes.OwnedProcess) -> None:
    import os

    assert os.getpgid(sleeper.pid) != os.getpgid(0)
    sleeper.send(signal.SIGCONT)
    assert sleeper.is_alive()


def test_free_ports_differ() -> None:
    ports = processes.free_ports(20)
    assert len(set(ports)) == 20


def test_a_process_comes_back_from_its_record(sleeper: processes.OwnedProcess) -> None:
    assert processes.OwnedProcess(**sleeper.as_record()) == sleeper  # type: ignore[arg-type]
