"""A missing or unfit tool gets one clear sentence."""

from pathlib import Path

import pytest

from deploy.local import jars, tools
from deploy.local.errors import JarsNotFetchedError, ToolMissingError


def fake_program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin-none")
    return tmp_path


@pytest.mark.parametrize(
    ("shown", "fits"),
    [
        ('openjdk version "17.0.15" 2025-04-15', True),
        ('openjdk version "21" 2023-09-19', True),
        ('openjdk version "11.0.2" 2019-01-15', False),
        ('java version "1.8.0_291"', False),
        ('openjdk version "25" 2025-09-16', False),
        ("nothing of the kind", False),
    ],
)
def test_only_the_javas_that_kafka_and_flink_run_on_are_taken(only: Path, shown: str, fits: bool) -> None:
    java = fake_program(only, "java", f"echo '{shown}' >&2")
    if fits:
        assert tools.find_java() == java
    else:
        with pytest.raises(ToolMissingError, match="Java 17 to 21 is needed"):
            tools.find_java()


def test_java_home_wins_over_path(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_program(only, "java", "echo 'version \"11\"' >&2")
    home = only / "jdk"
    java = fake_program(home / "bin", "java", "echo 'version \"17.0.1\"' >&2")
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert tools.find_java() == java


@pytest.mark.usefixtures("only")
def test_a_missing_java_or_maven_is_told_in_one_sentence() -> None:
    with pytest.raises(ToolMissingError, match="no 'java' was found: install it"):
        tools.find_java()
    with pytest.raises(ToolMissingError, match="no 'mvn' was found: install it"):
        tools.find_maven()


def test_redis_server_comes_with_the_packages() -> None:
    assert tools.find_redis_server().name == "redis-server"


def test_jars_are_fetched_once_and_again_for_another_pom(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_program(only, "java", "echo 'version \"17\"' >&2")
    runs = only / "runs"
    folder = only / "jars"
    made = f"{folder}/kafka/kafka_2.13-4.2.0.jar {folder}/flink/flink-sql-connector-kafka-5.0.0-2.2.jar"
    arrival = "[INFO] Downloaded from central: https://host/$f (1 MB at 2 MB/s)"
    fake_program(only, "mvn", f'echo run >> {runs}; for f in {made}; do echo > $f; echo "{arrival}"; done')
    monkeypatch.setenv("PATH", f"{only}:/bin:/usr/bin")
    lines: list[str] = []
    found = jars.fetch_jars(folder, lines.append)
    assert found.connector.name == "flink-sql-connector-kafka-5.0.0-2.2.jar"
    assert lines[-1] == "jar 2: flink-sql-connector-kafka-5.0.0-2.2.jar"
    jars.fetch_jars(folder)
    assert runs.read_text().count("run") == 1
    (folder / "complete").write_text("checksum of another pom")
    jars.fetch_jars(folder)
    assert runs.read_text().count("run") == 2


def test_a_failure_of_maven_is_told_with_its_errors(only: Path) -> None:
    fake_program(only, "java", "echo 'version \"17\"' >&2")
    fake_program(only, "mvn", "echo '[ERROR] no route to repository'; exit 1")
    with pytest.raises(JarsNotFetchedError, match=r"check the network[\s\S]*no route to repository"):
        jars.fetch_jars(only / "jars")
