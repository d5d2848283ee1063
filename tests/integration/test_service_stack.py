"""Side services started by the embedded stack and by the command line, with the shipped text model."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from deploy.local.errors import StackError
from deploy.local.stack import LocalStack, StackOptions
from tests.service_process import running_service

pytestmark = pytest.mark.integration


def predict(url: str, text: str) -> Any:
    body = json.dumps({"instances": [{"text": text}], "parameters": {"outputs": ["risk", "tags"]}}).encode()
    with urllib.request.urlopen(f"{url}/v1/models/text:predict", body, timeout=60) as answer:
        return json.load(answer)["predictions"][0]


def test_the_stack_starts_a_service_kills_it_starts_it_again_and_leaves_nothing(tmp_path: Path) -> None:
    options = StackOptions(with_kafka=False, with_flink=False, with_redis=False, services=("text",))
    with LocalStack(tmp_path, options) as stack:
        url = stack.service_url("text")
        first = predict(url, "send the gift card codes")
        assert "gift_card" in [tag["tag"] for tag in first["tags"]]
        assert stack.status()["services"] == {"text": url}

        stack.kill_service("text")
        with pytest.raises(OSError, match=r"refused|reset"):
            predict(url, "anything")
        stack.start_service("text")
        assert stack.service_url("text") == url
        assert predict(url, "send the gift card codes") == first

        with pytest.raises(StackError, match="running already"):
            stack.start_service("text")
        with pytest.raises(StackError, match="no service 'vision'"):
            stack.service_url("vision")
        process = stack.process("service-text")
    assert not process.is_alive()


def test_the_command_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    arguments = ("serve", "text", "--max-batch-size", "4")
    with running_service("deploy.cli.main", *arguments, log=tmp_path / "log") as service:
        status, answer = service.predict("text", {"text": "rent March"})
        assert (status, answer["model_name"]) == (200, "text")
        assert len(answer["predictions"][0]["embedding"]) == 384
