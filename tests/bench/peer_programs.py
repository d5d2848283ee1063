"""The programs that Weir is measured beside: what each does, and how it is started."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.processes import free_ports
from deploy.local.stack import HOME
from tests.bench.measures import REPOSITORY, BenchError

PEERS_FOLDER = Path(__file__).parent / "peers"

SAME_WORK = "98 of 102 features, model, all rules, duplicates; no alerts, labels or reference data"
ORIGINATOR_ONLY = "46 features of the originator, model, 5 rules; no duplicates, alerts, labels or reference data"


@dataclass(frozen=True, slots=True)
class Peer:
    """One program.

    Attributes
    ----------
    script
        Module in `tests/bench/peers/`.
    system, work
        What the tables call it, and what it does.
    in_flink
        It is a job of the stack's Flink; else as many processes as that has slots, in an environment of their own.
    first_topic
        Where its first step writes, with {source} for the topic it reads. Given for a program that hops through topics
        of its own: it reads ahead of what it gives, so it is timed over a shorter topic as a whole.
    """

    script: str
    system: str
    work: str
    in_flink: bool = False
    first_topic: str = ""


PEERS = {
    "pyflink-same-work": Peer("flink_same_work_job", "PyFlink, per event, same work", SAME_WORK, in_flink=True),
    "quix-same-work": Peer(
        "quix_same_work_job",
        "quix-streams 3.28.1, same work",
        SAME_WORK,
        first_topic="repartition__bench-quix-same-work--{source}--entity",
    ),
    "pyflink": Peer("flink_job", "PyFlink, per event, originator only", ORIGINATOR_ONLY, in_flink=True),
    "quix": Peer("quix_job", "quix-streams 3.28.1, originator only", ORIGINATOR_ONLY),
    "bytewax": Peer("bytewax_job", "bytewax 0.21.1, originator only", f"{ORIGINATOR_ONLY}; at least once"),
    "river": Peer(
        "river_loop",
        "River 0.23.0 in a loop, originator only",
        f"{ORIGINATOR_ONLY}; River's regression as the model, state in memory alone",
    ),
}
"""By name, in the order of the tables."""


@contextmanager
def peer_processes(
    python: Path, peer: Peer, count: int, arguments: list[str]
) -> Iterator[tuple[Callable[[], None], dict[str, int]]]:
    """Run a peer's processes; give a check that they live, and their ids by name."""
    folder = Path(tempfile.mkdtemp(prefix="weir-bench-"))
    script = peer.script
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONWARNINGS"] = "ignore"
    if script == "bytewax_job":
        subprocess.run([str(python), "-m", "bytewax.recovery", str(folder), str(count)], check=True)
    addresses = ";".join(f"127.0.0.1:{port}" for port in free_ports(count))
    own: dict[str, Callable[[int], list[str]]] = {
        "quix_job": lambda i: [str(folder / f"state-{i}")],
        "quix_same_work_job": lambda i: [str(folder / f"state-{i}")],
        "bytewax_job": lambda i: [str(folder), str(i), addresses],
        "river_loop": lambda i: [str(i)],
    }
    started = [
        subprocess.Popen(
            [str(python), "-m", f"tests.bench.peers.{script}", *arguments, *own[script](i)],
            env=environment,
            cwd=REPOSITORY,
        )
        for i in range(count)
    ]

    def check() -> None:
        if any(process.poll() is not None for process in started):
            raise BenchError(f"a process of {script} ended; see its messages above")

    try:
        yield check, {f"{script}-{i}": process.pid for i, process in enumerate(started)}
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def peers_python(say: Callable[[str], None]) -> Path:
    """Return the Python of the peers' own environment, and make it if it is not there."""
    folder = HOME / "peers"
    python, stamp = folder / "bin" / "python", folder / "installed"
    requirements = PEERS_FOLDER / "requirements.txt"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    say("installing the peers' packages into their own environment (once)")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
    install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(requirements)]
    for command in ([sys.executable, "-m", "venv", str(folder)], [str(python), *install]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{' '.join(command[:4])} failed:\n{done.stderr[-2000:]}\nuse --no-peers to go without")
    stamp.write_text(wanted)
    return python
