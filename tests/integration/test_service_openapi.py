"""schemathesis against a service's own description.

Here a model without weights stands behind the interface; `make fuzz-services` looks longer, and at the services that
are shipped too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service_process import running_service

pytestmark = pytest.mark.integration

EXAMPLES = os.environ.get("WEIR_TEST_SCHEMA_EXAMPLES", "10")
SERVICES = os.environ.get("WEIR_TEST_SCHEMA_SERVICES", "toy").split()
# A description cannot say which base64 is an image, that shapes fit data, or that a model will not use an instance:
# such requests fit the description and are refused all the same.
EXCLUDED = "positive_data_acceptance"

# Its own list of refusals lacks 413, which is what too long a text gets.
SETTINGS = "[checks]\nnegative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 429, 503]\n"


@pytest.mark.parametrize("name", SERVICES)
def test_schemathesis_finds_nothing(name: str, tmp_path: Path) -> None:
    command = ["tests.toy_service"] if name == "toy" else ["models.services", name]
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    with running_service(*command, log=tmp_path / "log", answer_timeout_seconds=2) as service:
        found = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"http://{service.address}/openapi.json"),
                *("--max-examples", EXAMPLES, "--checks", "all", "--exclude-checks", EXCLUDED),
                *("--request-timeout", "20", "--seed", "1", "--no-color", "--workers", "1"),
                *("--phases", "examples,coverage,fuzzing"),
            ],
            capture_output=True,
            text=True,
            timeout=280 if EXAMPLES == "10" else 3600,
            cwd=tmp_path,
        )
        assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
        assert service.ask("GET", "/v2/health/ready")[0] == 200
    assert "Traceback" not in (tmp_path / "log").read_text()
