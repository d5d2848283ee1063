"""One Redis server on a loopback port, without persistence: no decision rests on what it holds."""

from dataclasses import dataclass
from pathlib import Path

from deploy.local import processes
from deploy.local.processes import OwnedProcess
from deploy.local.tools import find_redis_server

READY_SECONDS = 15.0  # it answers in 50 ms; the rest is for a machine with both cores taken


@dataclass(frozen=True)
class RedisServer:
    """Where the server lives.

    Attributes
    ----------
    folder
        Working folder, empty unless `append_only`.
    logs
        Folder of its output.
    port
        Loopback port.
    append_only
        Whether it keeps a log of its data, for a stack whose watch-lists should outlive it.
    """

    folder: Path
    logs: Path
    port: int
    append_only: bool = False

    @property
    def url(self) -> str:
        """Address for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> OwnedProcess:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if self.append_only else "no",
            "daemonize": "no",
            "maxmemory": "512mb",
            "maxmemory-policy": "noeviction",
        }
        arguments = [word for key, value in settings.items() for word in (f"--{key}", value)]
        process = processes.start("redis", [str(find_redis_server()), *arguments], self.logs / "redis.log")
        processes.wait_until_ready(process, lambda: processes.answers(self.port), READY_SECONDS)
        return process
