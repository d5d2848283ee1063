"""One ZooKeeper server, which Flink's wheel carries: a JobManager that starts again finds there what ran before."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from deploy.local import processes
from deploy.local.processes import OwnedProcess
from deploy.local.tools import find_java, quick_compiler

READY_SECONDS = 60.0
SESSION_SECONDS = 4  # after which a dead JobManager is no leader any more; 60 s by default
_MAIN = "org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.server.ZooKeeperServerMain"
CONTAINERS_KEPT_MS = 7 * 24 * 3_600_000
"""How often ZooKeeper removes empty containers (a minute is its default). The latch of Flink's leader election stands
in one. When the session of the only JobManager expires its latch goes, and if the container goes with it before the
JobManager is back, the Curator that Flink brings does nothing at all: there is no leader until the JobManager starts
anew (CURATOR-724, mended in Curator 5.8)."""


class ZooKeeper:
    """The server of one folder.

    Parameters
    ----------
    folder
        Its data; emptied at each start, since ports of the stack change with it.
    logs
        Where its output goes.
    port
        Loopback port of its clients.
    libraries
        Folder of Flink's jars.
    """

    def __init__(self, folder: Path, logs: Path, port: int, libraries: Path) -> None:
        self._folder, self._logs, self._port, self._libraries = folder, logs, port, libraries

    @property
    def quorum(self) -> str:
        """Address for `high-availability.zookeeper.quorum`."""
        return f"127.0.0.1:{self._port}"

    def start(self, java_options: Sequence[str] = ()) -> OwnedProcess:
        """Start it and wait until it answers."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        configuration = self._folder / "zoo.cfg"
        lines = {
            "dataDir": self._folder / "data",
            "clientPort": self._port,
            "clientPortAddress": "127.0.0.1",
            "tickTime": SESSION_SECONDS * 1000 // 4,  # sessions last 2 to 20 ticks
            "admin.enableServer": "false",
        }
        configuration.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        command = [str(find_java()), "-Xmx128m", "-XX:+UseSerialGC", *quick_compiler(), *java_options]
        command.append(f"-Dznode.container.checkIntervalMs={CONTAINERS_KEPT_MS}")
        process = processes.start(
            "zookeeper",
            [*command, "-cp", f"{self._libraries}/*", _MAIN, str(configuration)],
            self._logs / "zookeeper.out",
        )
        processes.wait_until_ready(process, lambda: processes.answers(self._port), READY_SECONDS)
        return process
