"""Flink's configuration as the embedded cluster writes it."""

import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from deploy.local.errors import StackError, SubmissionError
from deploy.local.flink import FlinkCluster, FlinkMemory, flink_environment
from deploy.local.jars import Jars
from deploy.local.stack import LocalStack
from deploy.local.submit import FlinkRest
from deploy.local.topics import create_topics


def cluster(folder: Path, **changes: object) -> FlinkCluster:
    return FlinkCluster(folder, folder / "logs", 1, 2, 3, cache=folder / "cache", **changes)  # type: ignore[arg-type]


def jars_in(folder: Path) -> Jars:
    jars = Jars(folder)
    jars.flink.mkdir(parents=True)
    (jars.flink / "flink-sql-connector-kafka-5.0.0-2.2.jar").touch()
    return jars


def test_the_library_folder_holds_flink_its_python_and_the_connector(tmp_path: Path) -> None:
    made = cluster(tmp_path)
    made.prepare(jars_in(tmp_path / "jars"))
    names = {path.name for path in (tmp_path / "lib").iterdir()}
    assert any(name.startswith("flink-dist-") for name in names)
    assert any(name.startswith("flink-python-") for name in names)
    assert "flink-sql-connector-kafka-5.0.0-2.2.jar" in names
    made.prepare(Jars(tmp_path / "jars"))  # preparing again finds the same


def test_python_runs_in_threads_with_this_interpreter(tmp_path: Path) -> None:
    options = cluster(tmp_path).flink_options()
    assert options["python.execution-mode"] == "thread"
    assert options["python.executable"] == sys.executable
    assert options["taskmanager.numberOfTaskSlots"] == "1"
    assert "--add-opens=java.base/java.nio=ALL-UNNAMED" in options["env.java.opts.all"]


def test_jobs_get_the_checkpoint_settings_from_the_client(tmp_path: Path) -> None:
    options = cluster(tmp_path, checkpoint_interval_seconds=0.5).job_options()
    assert options["execution.checkpointing.interval"] == "500 ms"
    assert options["execution.checkpointing.dir"].startswith("file:///")
    assert options["execution.checkpointing.storage"] == "filesystem"


def test_a_given_option_wins_over_ours(tmp_path: Path) -> None:
    assert cluster(tmp_path, options={"heartbeat.timeout": "9 s"}).flink_options()["heartbeat.timeout"] == "9 s"


def test_every_path_and_value_survives_the_yaml_file(tmp_path: Path) -> None:
    yaml = YAML(typ="safe")
    folder = tmp_path / "a: strange #folder 'name'"
    made = cluster(folder)
    made.prepare(jars_in(tmp_path / "jars"))
    assert yaml.load((made.conf / "config.yaml").read_text()) == made.flink_options()


def test_the_heap_on_the_command_line_is_what_the_configuration_says() -> None:
    memory = FlinkMemory(task_heap=1000, framework_heap=128, task_off_heap=1, framework_off_heap=2, network=4)
    assert memory.taskmanager_heap == 1128
    assert memory.taskmanager_direct == 7


def test_libraries_use_one_thread_each_and_find_the_environment(tmp_path: Path) -> None:
    made = flink_environment(tmp_path, tmp_path, tmp_path, tmp_path)
    assert {made[name] for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")} == {"1"}
    assert made["PATH"].startswith(str(Path(sys.executable).parent))
    assert "site-packages" in made["PYTHONPATH"]


def test_an_address_where_nothing_answers_is_told_with_what_to_do() -> None:
    with pytest.raises(SubmissionError, match=r"does not answer .* is it up"):
        FlinkRest("http://127.0.0.1:1").overview()


def test_a_stack_that_is_not_up_says_how_to_start_it(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path)
    assert not stack.status()["is_up"]
    with pytest.raises(StackError, match="weir up"):
        _ = stack.bootstrap_servers
    assert stack.down() == []


def test_partitions_for_a_topic_that_does_not_exist_are_refused() -> None:
    with pytest.raises(StackError, match="no such topic: transaction"):
        create_topics({"bootstrap.servers": "127.0.0.1:1"}, partitions={"transaction": 3})


def test_micro_batches_do_not_queue_between_stages(tmp_path: Path) -> None:
    options = cluster(tmp_path).flink_options()
    assert options["taskmanager.network.memory.buffer-debloat.enabled"] == "true"
    assert options["taskmanager.network.memory.buffer-debloat.target"] == "50 ms"


@pytest.mark.parametrize("quick_start", [True, False])
def test_a_cluster_of_minutes_leaves_out_the_second_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_start: bool
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("deploy.local.processes.start", lambda name, command, *rest: started.append(command))
    cluster(tmp_path, quick_start=quick_start).launch_taskmanager("taskmanager-0", "id")
    assert ("-XX:TieredStopAtLevel=1" in started[0]) is quick_start


def test_a_full_heap_ends_a_taskmanager_and_a_crash_is_reported_among_the_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("deploy.local.processes.start", lambda name, command, *rest: started.append(command))
    cluster(tmp_path).launch_taskmanager("taskmanager-0", "id")
    assert "-XX:+ExitOnOutOfMemoryError" in started[0]
    assert f"-XX:ErrorFile={tmp_path / 'logs' / 'taskmanager-0.crash-%p.log'}" in started[0]
