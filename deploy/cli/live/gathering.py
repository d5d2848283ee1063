"""What the demo runs beside the stream to gather evidence: an archive of documents, side services, and their job."""

from __future__ import annotations

import importlib.util
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.archive.process import ArchiveProcess
from deploy.load.plan import LoadPlan
from deploy.local.errors import StackError
from deploy.local.jars import fetch_jars
from deploy.local.processes import free_ports
from deploy.local.stack import LocalStack
from deploy.local.submit import FINAL_STATES, FlinkRest, submit_job
from jobs.settings import Settings
from models.services.base.settings import ServiceSettings

JOB = "jobs.gather_evidence"
SERVICES = ("vision", "multimodal", "text")
NEEDED = (
    *("PIL", "matplotlib", "font_roboto", "font_caladea", "font_source_sans_pro", "font_source_serif_pro"),
    *("starlette", "uvicorn", "httptools", "uvloop", "orjson", "prometheus_client", "magika", "tokenizers"),
)
"""Of the extras `documents` and `evidence`."""
UNREAD = "-unread"
"""End of the multimodal model's version where it has no OCR."""
SETTINGS = {
    # Two services are shown at work and do not move the score. Payments name their beneficiary by an account number,
    # which multimodal takes for a name that the document lacks; memos are single words, of which text can say little.
    "evidence_multimodal_weight": 0.0,
    "evidence_text_weight": 0.0,
    # Reading a document takes a second of a core, and on two cores that the stream has first, many: the usual 10 s
    # would have most of them time out.
    "evidence_budget_seconds": 20.0,
    "evidence_attempt_seconds": 15.0,
    # A machine that is short of processors is no broken service. One left alone is tried by a call of at most 2 s,
    # which reading a document would then never meet.
    "evidence_breaker_failures": 50,
}
ANSWER_SECONDS, FETCH_SECONDS = 15, 10
"""The services' own limits: no call waits longer."""


def missing_packages() -> list[str]:
    """Packages that drawing and serving need and that are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


@dataclass
class Gathering:
    """The parts of one run.

    Attributes
    ----------
    archive
        Draws the documents that the stream refers to.
    notes
        What is missing, in words.
    """

    archive: ArchiveProcess
    notes: list[str] = field(default_factory=list)
    job_id: str | None = None

    @classmethod
    def under(cls, home: Path) -> Gathering:
        """Choose places under the demo's folder."""
        (port,) = free_ports(1)
        return cls(ArchiveProcess(port, home / "data" / "documents", home / "logs"))

    @property
    def service_settings(self) -> dict[str, str]:
        """What the services are told: references point into the archive, and nowhere else."""
        return {
            "WEIR_SERVICE_EVIDENCE_ROOTS": self.archive.root,
            "WEIR_SERVICE_EVIDENCE_PRIVATE_ADDRESSES": "true",
            "WEIR_SERVICE_ANSWER_TIMEOUT_SECONDS": str(ANSWER_SECONDS),
            "WEIR_SERVICE_FETCH_TIMEOUT_SECONDS": str(FETCH_SECONDS),
        }

    @property
    def document_settings(self) -> ServiceSettings:
        """By what rules the page's documents are fetched: those of the services."""
        given: dict[str, object] = {"evidence_roots": (self.archive.root,), "evidence_private_addresses": True}
        return ServiceSettings(**given)  # type: ignore[arg-type]

    def settings(self, stack: LocalStack) -> dict[str, object]:
        """Settings of the jobs: who is asked, and how much it counts."""
        addresses = {f"evidence_{name}_url": stack.service_url(name) for name in SERVICES}
        # Of whatever services a settings file speaks: those run here answer with the shipped versions
        return {**SETTINGS, **addresses, **{f"evidence_{name}_version": "" for name in SERVICES}}

    @property
    def is_running(self) -> bool:
        """Whether anybody answers: the job was submitted and has not ended."""
        return self.job_id is not None

    def start_archive(self, stack: LocalStack, plan: LoadPlan) -> None:
        """Start the archive of a load's documents; where that fails, the demo goes on and says so."""
        try:
            stack.adopt(self.archive.start(plan))
        except StackError as error:
            self.notes.append(f"no documents: {str(error).splitlines()[0]}")

    def submit(self, stack: LocalStack, settings: Settings) -> None:
        """Submit the gathering job; where that fails, the demo goes on and says so."""
        try:
            self.job_id = submit_job(
                settings.flink_rest_url,
                JOB,
                jars=fetch_jars(stack.jars_folder),
                work_folder=stack.logs / "gather",
                options=stack.flink.job_options(),
                environment=settings.as_environment(),
            )
        except StackError as error:
            self.notes.append(f"no evidence is gathered: {str(error).splitlines()[0]}")

    def wait_until_running(self, rest: FlinkRest, timeout_seconds: float) -> None:
        """Wait for the job's tasks."""
        if self.job_id is None:
            return
        try:
            rest.wait_until_running(self.job_id, timeout_seconds)
        except StackError as error:
            self.notes.append(f"no evidence is gathered: {str(error).splitlines()[0]}")
            self.job_id = None

    def check(self, rest: FlinkRest) -> None:
        """Note it where the job has ended."""
        if self.job_id is not None and rest.state(self.job_id) in FINAL_STATES:
            self.notes.append(f"no evidence is gathered any more: {rest.failure(self.job_id)[:200]}")
            self.job_id = None

    def look_at_services(self, urls: Mapping[str, str]) -> None:
        """Note what a service works without."""
        if any(version.endswith(UNREAD) for version in _versions(urls["multimodal"], "multimodal")):
            self.notes.append("multimodal reads no documents (degraded: ocr): OCR cannot be loaded here")


def _versions(url: str, model: str) -> list[str]:
    try:
        with urllib.request.urlopen(f"{url}/v2/models/{model}", timeout=5.0) as answer:
            return [str(version) for version in json.load(answer).get("versions", [])]
    except (urllib.error.URLError, OSError, ValueError):
        return []
