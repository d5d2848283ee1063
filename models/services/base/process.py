"""A service as a process: listen, load, say that it is ready, answer until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import uvicorn

from models.services.base.dataplane.dataplane import Dataplane
from models.services.base.model import ServedModel
from models.services.base.protocol.app import Protocols
from models.services.base.protocol.connections import ConnectionGuard
from models.services.base.settings import ServiceSettings

logger = logging.getLogger(__name__)

JOIN_SECONDS = 1.0  # idle threads end within milliseconds


def run_service(name: str, models: Sequence[ServedModel], settings: ServiceSettings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status.

    Prints one line of JSON on standard output once every model is ready: ``{"service": ..., "url": ...}``. Live is
    answered before that, so that a long load does not look like a dead process.
    """
    allow_files(settings.max_connections + 256)
    listener = listen(settings.host, settings.port)
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def announce() -> None:
        sys.stdout.write(json.dumps({"service": name, "url": url}) + "\n")
        sys.stdout.flush()

    with listener:
        uvicorn_loop = uvicorn.Config("", loop="uvloop", log_config=None).get_loop_factory()
        with asyncio.Runner(loop_factory=uvicorn_loop) as runner:
            status = runner.run(serve(models, settings, listener, announce))
    leave_hanging_threads(status)
    return status


async def serve(
    models: Sequence[ServedModel], settings: ServiceSettings, listener: socket.socket, on_ready: Callable[[], None]
) -> int:
    """Serve models on a socket that listens, in the running loop; returns 1 if a model cannot be loaded."""
    dataplane = Dataplane(models, settings)
    guard = ConnectionGuard(settings, dataplane.metrics)
    server = _Server(
        uvicorn.Config(
            Protocols(dataplane).app(),
            http=guard.protocol_class(),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # nothing here asks who the client is
            backlog=1024,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=settings.shutdown_seconds,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.end)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    loading = asyncio.create_task(dataplane.load())
    await asyncio.wait([serving, loading], return_when=asyncio.FIRST_COMPLETED)
    failed = loading.done() and loading.exception() is not None
    if failed:
        logger.error("a model cannot be loaded", exc_info=loading.exception())
        server.should_exit = True
    elif loading.done():
        on_ready()
    try:
        await serving
    finally:
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await loading
        await dataplane.close()
    return 1 if failed else 0


def leave_hanging_threads(status: int) -> None:
    """End the process at once if a thread does not come back: Python would wait for it for ever."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    deadline = time.monotonic() + JOIN_SECONDS
    for thread in others:
        thread.join(max(0.0, deadline - time.monotonic()))
    if hanging := [thread.name for thread in others if thread.is_alive()]:
        logger.warning("ending without the threads %s", ", ".join(hanging))
        logging.shutdown()
        os._exit(status)


class _Server(uvicorn.Server):
    """uvicorn's server, without its own handling of signals: that one ends the process before models are closed."""

    def end(self) -> None:
        """End in good order; told twice, at once."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.setblocking(False)
    return listener


def allow_files(count: int) -> None:
    """Raise this process's limit on open files, as far as the system lets it: every connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
