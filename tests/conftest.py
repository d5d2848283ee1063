"""Fixtures for every test: nothing outside may change a test's settings; real services, started once a run.

``WEIR_TEST_BOOTSTRAP`` names a broker to use instead of our own, and ``WEIR_TEST_STACK`` the home folder of a whole
stack that runs already (its TaskManagers keep the code that they were started with). Each test makes topics of its own,
named after it.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # unit tests should not wait for the import of what they do not use
    from deploy.local.stack import LocalStack
    from tests.chaos.proxy import Proxy

TEST_VARIABLES = ("WEIR_TEST_", "WEIR_HANDBOOK_DIR", "WEIR_JVM_LOG_LEVEL", "WEIR_ACCOUNTING_")


@pytest.fixture(autouse=True, scope="session")
def no_settings_from_outside() -> Iterator[None]:
    """A developer's own WEIR_ variables are taken away for the run."""
    taken = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith("WEIR_") and not name.startswith(TEST_VARIABLES)
    }
    yield
    os.environ.update(taken)


@pytest.fixture(scope="session")
def proxy() -> Iterator[Proxy]:
    """What a test can start between the stack's broker and those of its clients that ask for it."""
    from tests.chaos.proxy import Proxy

    proxy = Proxy(seed=1)
    yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, proxy: Proxy) -> Iterator[LocalStack]:
    """Kafka, Flink with two TaskManagers, and Redis, for the whole run."""
    from deploy.local.stack import LocalStack, StackOptions

    if given := os.environ.get("WEIR_TEST_STACK"):
        yield LocalStack(Path(given))
        return
    options = StackOptions(taskmanagers=2, quick_start=True, high_availability=True, detour_port=proxy.port)
    stack = LocalStack(tmp_path_factory.mktemp("stack"), options)
    try:
        stack.up()
        yield stack
    finally:
        stack.down(delete_data=True)


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Kafka broker: a given one, that of the full stack if it is used anyway, else one of its own."""
    from deploy.local.stack import LocalStack, StackOptions

    if given := os.environ.get("WEIR_TEST_BOOTSTRAP"):
        yield given
        return
    if any("stack" in item.fixturenames for item in request.session.items if hasattr(item, "fixturenames")):
        yield request.getfixturevalue("stack").bootstrap_servers
        return
    options = StackOptions(with_flink=False, with_redis=False, quick_start=True)
    alone = LocalStack(tmp_path_factory.mktemp("broker"), options)
    try:
        alone.up()
        yield alone.bootstrap_servers
    finally:
        alone.down(delete_data=True)


@pytest.fixture
def topic(request: pytest.FixtureRequest, broker: str) -> str:
    """A new topic of one partition, named after the test."""
    return make_topic(broker, request.node.name)


@pytest.fixture
def new_topic(request: pytest.FixtureRequest, broker: str) -> Callable[..., str]:
    """Make further topics named after the test: ``new_topic("alerts", partitions=4)``."""
    return lambda suffix, partitions=1: make_topic(broker, f"{request.node.name}-{suffix}", partitions)


def make_topic(bootstrap_servers: str, name: str, partitions: int = 1) -> str:
    """Make a topic whose name no earlier run has used."""
    from confluent_kafka.admin import AdminClient, NewTopic

    unique = re.sub(r"[^A-Za-z0-9._-]", "-", name)[:180] + "-" + uuid.uuid4().hex[:8]
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    for future in admin.create_topics([NewTopic(unique, partitions, 1)]).values():
        future.result(timeout=30)
    return unique
