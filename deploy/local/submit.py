"""Submit Python jobs to a Flink cluster and follow them, by the client's command line and the REST interface."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local import flink
from deploy.local.errors import SubmissionError
from deploy.local.flink import JAVA_OPENS, LOG4J, REPOSITORY, flink_environment, link_libraries
from deploy.local.jars import Jars
from deploy.local.tools import find_java, quick_compiler

ENTRY = Path(__file__).with_name("job_entry.py")
_JOB_ID = re.compile(r"JobID ([0-9a-f]{32})")

FINAL_STATES = frozenset({"FAILED", "CANCELED", "FINISHED"})


@dataclass(frozen=True)
class FlinkRest:
    """The few calls of Flink's REST interface that we need.

    Attributes
    ----------
    url
        Address, for example ``http://127.0.0.1:8081``.
    timeout_seconds
        For each call.
    """

    url: str
    timeout_seconds: float = 10.0

    def get(self, path: str) -> Any:
        """Answer of a GET as parsed JSON."""
        return self._call("GET", path, None)

    def patch(self, path: str) -> Any:
        """Answer of a PATCH without a body."""
        return self._call("PATCH", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Answer of a POST."""
        return self._call("POST", path, body)

    def overview(self) -> dict[str, Any]:
        """Slots, TaskManagers and numbers of jobs."""
        return dict(self.get("/overview"))

    def jobs(self) -> list[dict[str, Any]]:
        """Every job that the cluster remembers, newest first."""
        jobs: list[dict[str, Any]] = self.get("/jobs/overview")["jobs"]
        return sorted(jobs, key=lambda job: -int(job["start-time"]))

    def running_jobs(self, name: str | None = None) -> list[dict[str, Any]]:
        """Jobs that have not ended, newest first, with that name if one is given."""
        return [job for job in self.jobs() if job["state"] not in FINAL_STATES and name in (None, job["name"])]

    def job(self, job_id: str) -> dict[str, Any]:
        """Details of one job, with its vertices."""
        return dict(self.get(f"/jobs/{job_id}"))

    def state(self, job_id: str) -> str:
        """``CREATED``, ``RUNNING``, ``RESTARTING``, ``FAILED`` ..."""
        return str(self.job(job_id)["state"])

    def checkpoints(self, job_id: str) -> dict[str, Any]:
        """Counts, sizes and times of a job's checkpoints."""
        return dict(self.get(f"/jobs/{job_id}/checkpoints"))

    def failure(self, job_id: str) -> str:
        """Root cause of the job's newest failure; empty if it never failed."""
        history = self.get(f"/jobs/{job_id}/exceptions").get("exceptionHistory", {}).get("entries", [])
        return str(history[0]["stacktrace"]) if history else ""

    def wait_until_running(self, job_id: str, timeout_seconds: float = 120.0) -> None:
        """Wait until every task of the job runs (the job's own state says so before any of them does)."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            job = self.job(job_id)
            if job["state"] in FINAL_STATES - {"FINISHED"}:
                raise SubmissionError(f"job {job_id} is {job['state']}:\n{self.failure(job_id)[:4000]}")
            states = {vertex["status"] for vertex in job["vertices"]}
            if job["state"] == "FINISHED" or (job["state"] == "RUNNING" and states <= {"RUNNING", "FINISHED"}):
                return
            if time.monotonic() > deadline:
                raise SubmissionError(
                    f"job {job_id} is {job['state']} with tasks {sorted(states)} after {timeout_seconds:.0f} s; "
                    f"newest failure:\n{self.failure(job_id)[:4000]}"
                )
            time.sleep(0.2)

    def wait_until_ended(self, job_id: str, timeout_seconds: float) -> str:
        """Wait for the end and return the final state."""
        deadline = time.monotonic() + timeout_seconds
        while (state := self.state(job_id)) not in FINAL_STATES:
            if time.monotonic() > deadline:
                raise SubmissionError(f"job {job_id} is still {state} after {timeout_seconds:.0f} s")
            time.sleep(0.2)
        return state

    def cancel(self, job_id: str, timeout_seconds: float = 60.0) -> None:
        """Cancel the job and wait until it is gone; what its transactions hold open is aborted."""
        if self.state(job_id) not in FINAL_STATES:
            self.patch(f"/jobs/{job_id}?mode=cancel")
            self.wait_until_ended(job_id, timeout_seconds)

    def parameters(self, job_id: str) -> dict[str, str]:
        """What the job told of itself when it was submitted."""
        config = self.get(f"/jobs/{job_id}/config")
        return dict(config.get("execution-config", {}).get("user-config", {}))

    def stop_with_savepoint(self, job_id: str, folder: Path | str | None = None, timeout_seconds: float = 120.0) -> str:
        """Stop the job after a savepoint, whose transactions are committed; returns the savepoint's address.

        Without a folder the savepoint goes where Flink is configured to put it.
        """
        body: dict[str, Any] = {"drain": False}
        if folder is not None:
            body["targetDirectory"] = folder.as_uri() if isinstance(folder, Path) else folder
        request = self.post(f"/jobs/{job_id}/stop", body)["request-id"]
        deadline = time.monotonic() + timeout_seconds
        while True:
            answer = self.get(f"/jobs/{job_id}/savepoints/{request}")
            if answer["status"]["id"] == "COMPLETED":
                operation = answer["operation"]
                if "location" not in operation:
                    raise SubmissionError(f"savepoint of job {job_id} failed: {json.dumps(operation)[:2000]}")
                return str(operation["location"])
            if time.monotonic() > deadline:
                raise SubmissionError(f"savepoint of job {job_id} did not complete within {timeout_seconds:.0f} s")
            time.sleep(0.2)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            self.url.rstrip("/") + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            detail = error.read().decode(errors="replace")[:1000]
            raise SubmissionError(f"Flink at {self.url} answered {error.code} to {method} {path}: {detail}") from error
        except (urllib.error.URLError, TimeoutError, OSError) as error:
            raise SubmissionError(
                f"Flink at {self.url} does not answer ({error}): is it up ('weir status'), and is the address right?"
            ) from error


def submit_job(
    rest_url: str,
    module: str,
    arguments: Sequence[str] = (),
    *,
    jars: Jars,
    work_folder: Path,
    options: Mapping[str, str] | None = None,
    savepoint: str | None = None,
    takes_over: bool = False,
    ship_connector: bool = False,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = 180.0,
) -> str:
    """Submit a Python job and return its id; it may not run yet (see `FlinkRest.wait_until_running`).

    Parameters
    ----------
    rest_url
        Of the cluster.
    module
        Module with a ``main(arguments) -> int`` that ends with ``execute_async`` or ``execute``, say
        ``jobs.score_transactions``.
    arguments
        Passed to that ``main``.
    jars
        Where the connector lies.
    work_folder
        Folder for the client's libraries, cache and log.
    options
        Further Flink options of this job.
    savepoint
        Address of a savepoint or retained checkpoint to start from.
    takes_over
        It is the job's own from then on, and removed when it needs it no more: with a log of state changes it must be.
    ship_connector
        Send the connector along. The embedded cluster has it on its class path; somebody else's may not.
    environment
        Further environment variables of the job's ``main``.
    timeout_seconds
        For the whole submission, which is a JVM and a Python start: 6 s on an idle 2-core machine.
    """
    target = urllib.parse.urlparse(rest_url)
    if not target.hostname:
        raise SubmissionError(f"{rest_url!r} is not an address such as http://127.0.0.1:8081")
    FlinkRest(rest_url).overview()  # a wrong address should not cost a JVM's start to find out
    work_folder.mkdir(parents=True, exist_ok=True)
    conf = Path(tempfile.mkdtemp(prefix="client-", dir=work_folder))
    try:
        settings = {
            "execution.target": "remote",
            "execution.attached": "false",
            "rest.address": target.hostname,
            "rest.port": str(target.port or 8081),
            "python.execution-mode": "thread",
            "python.client.executable": sys.executable,
            "python.executable": sys.executable,
            "env.java.opts.all": " ".join(JAVA_OPENS),
            **({"pipeline.jars": jars.connector.as_uri()} if ship_connector else {}),
            **(options or {}),
        }
        (conf / "config.yaml").write_text("".join(f"{key}: {json.dumps(settings[key])}\n" for key in sorted(settings)))
        link_libraries(conf / "lib", jars)
        command = [
            str(find_java()),
            "-Xmx512m",
            "-XX:+UseSerialGC",
            # The client lives for seconds: compiling its code well would cost more than it gains.
            *quick_compiler(),
            *JAVA_OPENS,
            f"-Dlog4j2.configurationFile={LOG4J}",
            f"-Dweir.log.file={work_folder / 'submit.log'}",
            "-cp",
            f"{conf / 'lib'}/*",
            "org.apache.flink.client.cli.CliFrontend",
            "run",
            "--detached",
            # As options they would be overruled by the command line's defaults.
            *(
                ["--fromSavepoint", savepoint, "--claimMode", "claim" if takes_over else "no_claim"]
                if savepoint
                else []
            ),
            "--python",
            str(ENTRY),
            module,
            *arguments,
        ]
        made = flink_environment(conf, conf / "lib", flink.REPOSITORY / ".weir" / "cache", work_folder)
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_seconds,
                cwd=REPOSITORY,
                env={**made, **(environment or {})},
            )
        except subprocess.TimeoutExpired as error:
            raise SubmissionError(f"submitting {module} took longer than {timeout_seconds:.0f} s") from error
    finally:
        shutil.rmtree(conf, ignore_errors=True)
    found = _JOB_ID.search(done.stdout)
    if done.returncode or not found:
        (work_folder / "submit.out").write_text(done.stdout + done.stderr)
        raise SubmissionError(
            f"{module} was not submitted (status {done.returncode}); all output is in {work_folder / 'submit.out'}:\n"
            f"{_essence(done.stdout + done.stderr)}"
        )
    return found.group(1)


def _essence(output: str, lines: int = 40) -> str:
    """Keep the Python traceback of the job's main if there is one, else the end of the output."""
    rows = output.splitlines()
    starts = [index for index, row in enumerate(rows) if row.startswith(("Traceback", "usage:", "Usage:", "Error:"))]
    return "\n".join(rows[starts[0] : starts[0] + lines] if starts else rows[-lines:])
