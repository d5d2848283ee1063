"""What a run of the demo stands on: a folder of its own, a stack of its own, and an end in good order."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deploy.cli.live.gathering import SERVICES, Gathering
from deploy.local.errors import StackError
from deploy.local.stack import LocalStack, StackOptions
from jobs.settings import Settings

MICROBATCH_MS = 30
"""Longer than usual, unless the environment says otherwise: everything shares the cores here, and half as many
micro-batches cost half as much."""


@contextlib.contextmanager
def own_stack(
    make_settings: Callable[..., Settings], home: Path, gathering: Gathering | None, say: Callable[[str], None]
) -> Iterator[tuple[LocalStack, Settings]]:
    """Start a stack on an empty folder, and stop it whatever happens."""
    wanted = make_settings(home_dir=home)
    stack_options = StackOptions(
        taskmanagers=wanted.parallelism + (gathering is not None),
        topic_prefix=wanted.topic_prefix,
        checkpoint_interval_seconds=wanted.checkpoint_interval_seconds,
        buffer_timeout_ms=wanted.buffer_timeout_ms,
        quick_start=True,
        services=() if gathering is None else SERVICES,
        service_settings={} if gathering is None else gathering.service_settings,
        keeper=True,
    )
    stack = LocalStack(home, stack_options, progress=say)
    stack.down(delete_data=True)  # of a demo that was killed
    if wanted.risk_labels == "matured":
        say("the demo runs no learner job, so no label would mature: the risk features count raw labels")
    say(f"starting Kafka, Flink and Redis{'' if gathering is None else ', and ' + ', '.join(SERVICES)} ...")
    try:
        stack.up()
        # Its own addresses, whatever the environment or a settings file says of others
        settings = make_settings(
            home_dir=home,
            bootstrap_servers=stack.bootstrap_servers,
            flink_rest_url=stack.flink_rest_url,
            redis_url=stack.redis_url,
            kafka_security_protocol="PLAINTEXT",
            kafka_sasl_mechanism=None,
            risk_labels="raw",  # no learner job runs, so no label would mature
            microbatch_ms=wanted.microbatch_ms if "microbatch_ms" in wanted.model_fields_set else MICROBATCH_MS,
            **({f"evidence_{name}_url": "" for name in SERVICES} if gathering is None else gathering.settings(stack)),
        )
        yield stack, settings
    finally:
        with _deaf_to_ctrl_c():
            stack.down()


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the demo's folder; a lock goes with its process, so a killed demo leaves none."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StackError(f"a demo runs already in {home}: stop it first") from error
        yield


@contextlib.contextmanager
def _handlers(handler: Any) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def orderly_ctrl_c(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) ends the run in order, the second one cuts it off."""

    def handle(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    with _handlers(handle):
        yield


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """While everything is stopped: an impatient second Ctrl-C must leave no process behind."""
    with _handlers(signal.SIG_IGN):
        yield
