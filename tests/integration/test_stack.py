"""The embedded stack with real processes: what it promises to the tests and to the user."""

import json
import sys
from pathlib import Path
from uuid import UUID

import pytest
import redis
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, ConfigResource

from deploy.cli.main import weir
from deploy.local import processes
from deploy.local.processes import start_token
from deploy.local.stack import LocalStack, StackOptions
from deploy.local.topics import TOPICS, create_topics
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

# The client is told to be silent: a broker that goes away is what these tests do to it.
QUIET = {"log_level": 0}


def produce(bootstrap_servers: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "message.max.bytes": 16_000_000, **QUIET})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def consume(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    """Read `count` records; 30 s is ten times what a group's first join takes on a busy machine."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": f"read-{topic}", "auto.offset.reset": "earliest", **QUIET}
    )
    consumer.subscribe([topic])
    values: list[bytes] = []

    def enough() -> bool:
        values.extend(m.value() for m in consumer.consume(count, timeout=0.5) if m.error() is None)
        return len(values) >= count

    wait_until(enough, 30, f"{count} records in {topic}")
    consumer.close()
    return values


def test_a_record_comes_back_from_the_broker(broker: str, topic: str) -> None:
    produce(broker, topic, [b"one", b"two"])
    assert consume(broker, topic, 2) == [b"one", b"two"]


def test_topics_exist_with_room_for_records_of_ten_megabytes(stack: LocalStack) -> None:
    produce(stack.bootstrap_servers, "weir.dead-letters", [b"x" * 10_000_000])
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers, **QUIET})
    known = admin.list_topics(timeout=10).topics
    assert {f"weir.{topic.name}" for topic in TOPICS} <= known.keys()
    assert len(known["weir.transactions"].partitions) == 4
    resource = ConfigResource(ConfigResource.Type.TOPIC, "weir.control")
    configuration = admin.describe_configs([resource])[resource].result(10)
    assert configuration["cleanup.policy"].value == "compact"


def test_making_the_topics_again_changes_nothing(stack: LocalStack) -> None:
    assert create_topics({"bootstrap.servers": stack.bootstrap_servers}) == []


def test_redis_answers_and_writes_nothing_to_disk(stack: LocalStack) -> None:
    client = redis.Redis.from_url(stack.redis_url)
    assert client.set("weir:test", 1)
    assert client.config_get("save") == {"save": ""}
    assert client.config_get("appendonly") == {"appendonly": "no"}


def test_flink_has_one_slot_for_each_taskmanager(stack: LocalStack) -> None:
    overview = stack.rest.overview()
    assert overview["taskmanagers"] == 2
    assert overview["slots-total"] == 2


def test_up_on_a_running_stack_leaves_it_as_it_is(stack: LocalStack) -> None:
    before = stack.processes()
    LocalStack(stack.home, stack.options).up()
    assert stack.processes() == before


def test_a_killed_taskmanager_is_replaced(stack: LocalStack) -> None:
    def registered() -> set[str]:
        return {found["id"] for found in stack.rest.get("/taskmanagers")["taskmanagers"]}

    killed = stack.process("taskmanager-1")
    before = registered()
    stack.kill_taskmanager(1)
    assert not killed.is_alive()
    started = stack.start_taskmanager(1)
    assert started.is_alive()
    assert started != killed
    assert len(registered() - before) == 1
    # The dead one goes after the heartbeat timeout of 5 s; 30 s leaves room for a busy machine.
    wait_until(lambda: len(registered()) == 2, 30, "two TaskManagers are registered, none of them the dead one")


def test_a_taskmanager_that_ends_by_itself_is_started_again_by_the_keeper(stack: LocalStack) -> None:
    before = stack.process("taskmanager-0")
    keeper = processes.start(
        "keeper", [sys.executable, "-m", "deploy.local.keeper", str(stack.home)], stack.logs / "keeper.out"
    )
    try:
        before.kill()
        wait_until(lambda: stack.process("taskmanager-0") != before, 60, "another process is the TaskManager")
    finally:
        processes.stop_all([keeper], 60)
    assert stack.process("taskmanager-0").is_alive()
    assert "has ended by itself" in (stack.logs / "keeper.out").read_text()


def test_weir_status_tells_of_every_service_as_json(stack: LocalStack) -> None:
    result = CliRunner().invoke(weir, ["--home-dir", str(stack.home), "status", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["kafka"]["answers"]
    assert found["flink"]["slots"] >= 2
    assert found["redis"]["answers"]
    assert [row["partition"] for row in found["kafka"]["partitions"]] == [0, 1, 2, 3]


def test_a_broker_killed_and_restarted_keeps_its_records(tmp_path: Path) -> None:
    with LocalStack(tmp_path, StackOptions(with_flink=False, with_redis=False)) as alone:
        address = alone.bootstrap_servers
        produce(address, "weir.transactions", [b"before"])
        alone.kill_broker()
        assert not alone.status()["is_up"]
        alone.restart_broker()
        assert alone.bootstrap_servers == address
        produce(address, "weir.transactions", [b"after"])
        assert sorted(consume(address, "weir.transactions", 2)) == [b"after", b"before"]


def test_down_leaves_no_process_and_up_again_keeps_the_records(tmp_path: Path) -> None:
    options = StackOptions(with_flink=False)
    stack = LocalStack(tmp_path, options)
    stack.up()
    produce(stack.bootstrap_servers, "weir.transactions", [b"kept"])
    owned = stack.processes()
    assert sorted(process.name for process in owned) == ["broker", "redis"]

    # Another object, as another run of the command line would make it
    assert sorted(LocalStack(tmp_path).down()) == ["broker", "redis"]
    assert all(start_token(process.pid) != process.started for process in owned)
    assert not stack.state_file.exists()
    assert LocalStack(tmp_path).down() == []

    stack.up()
    try:
        assert consume(stack.bootstrap_servers, "weir.transactions", 1) == [b"kept"]
    finally:
        stack.down(delete_data=True)
    assert not (tmp_path / "data").exists()


def test_a_cluster_id_may_begin_with_a_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One id in 64 does: the broker's folder must be formatted with it all the same."""
    monkeypatch.setattr("deploy.local.broker.uuid.uuid4", lambda: UUID(bytes=b"\xf8" + bytes(15)))
    alone = LocalStack(tmp_path, StackOptions(with_flink=False, with_redis=False))
    try:
        alone.up()
    finally:
        alone.down(delete_data=True)


def test_down_leaves_no_process_while_the_keeper_starts_one(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path, StackOptions(taskmanagers=1, with_kafka=False, with_redis=False, keeper=True))
    stack.up()
    owned = stack.processes()
    killed = stack.process("taskmanager-0")
    killed.kill()
    wait_until(lambda: stack.process("taskmanager-0") != killed, 60, "the keeper has launched another")
    owned += stack.processes()
    assert stack.down()[0] == "keeper"
    assert not [process.name for process in owned if process.is_alive()]
    assert not stack.state_file.exists()
