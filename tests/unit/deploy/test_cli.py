"""The command line's frame: help, exit status, where commands come from, and where output goes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.cli.commands import status
from deploy.cli.documents import with_current_table
from deploy.cli.main import weir
from jobs.settings import REPOSITORY


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(weir, ["--home-dir", str(tmp_path), *arguments])


def test_every_command_explains_itself(run) -> None:
    top = run("--help")
    assert top.exit_code == 0
    for name in ("up", "down", "status", "score", "settings"):
        assert f"  {name}" in top.output
        shown = run(name, "--help")
        assert shown.exit_code == 0
        assert "Usage:" in shown.output


def test_wrong_usage_ends_with_status_2(run) -> None:
    assert run("no-such-command").exit_code == 2
    assert run("up", "--taskmanagers", "-1").exit_code == 2
    assert run("--topic-prefix", "a b", "settings").exit_code == 2


def test_settings_show_the_options_given_and_go_to_standard_output(run) -> None:
    result = run("--bootstrap-servers", "k:1", "settings", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["bootstrap_servers"] == "k:1"


def test_a_named_settings_file_is_read_and_a_missing_one_is_wrong_usage(run, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("shards = 8\n")
    assert json.loads(run("--config", str(path), "settings", "--json").stdout)["shards"] == 8
    missing = run("--config", str(tmp_path / "none.toml"), "settings")
    assert missing.exit_code == 2
    assert "cannot be read" in missing.stderr


def test_status_of_nothing_says_so_and_ends_with_status_1(run, monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 1 is privileged and closed: the answer is a refusal, at once, and the client asks again until its time is up
    monkeypatch.setattr(status, "METADATA_SECONDS", 0.2)
    result = run("--bootstrap-servers", "127.0.0.1:1", "--flink-rest-url", "http://127.0.0.1:1", "status", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert not found["kafka"]["answers"]
    assert "does not answer" in found["flink"]["problem"]


def test_down_without_a_stack_does_nothing(run) -> None:
    result = run("down")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "nothing was running" in result.stderr


def test_the_documented_settings_are_current() -> None:
    text = (REPOSITORY / "docs" / "operating.md").read_text()
    assert text == with_current_table(text), "run 'make docs'"
