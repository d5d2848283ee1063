"""One run of the demo: a stack of its own, the job, the load, the view, and an orderly end."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from deploy.cli.live.evidence import EvidenceTally
from deploy.cli.live.evidence_panels import revision_line
from deploy.cli.live.gathering import SERVICES, Gathering, missing_packages
from deploy.cli.live.model import LiveModel, Snapshot
from deploy.cli.live.own_stack import only_one, orderly_ctrl_c, own_stack
from deploy.cli.live.panels import Accounts, LiveView, alert_line, line, summary
from deploy.cli.live.revised_page import write_page
from deploy.cli.live.watcher import Watcher, wait_for_accounts
from deploy.load.plan import LoadPlan
from deploy.load.process import GeneratorProcess
from deploy.local.errors import StackError
from deploy.local.jars import fetch_jars
from deploy.local.stack import LocalStack
from deploy.local.submit import FINAL_STATES, FlinkRest, submit_job
from jobs.settings import Settings, kafka_properties
from jobs.stream.topic_reader import ReadError

JOB = "jobs.score_transactions"
PHASE = "simulating and scoring"
REFRESH_SECONDS = 0.5
LINE_SECONDS = 5.0
JOB_CHECK_SECONDS = 2.0
READY_SECONDS = 180.0  # the job loads its compiled code and the model; from an empty cache that takes about a minute
GATHERED_SECONDS = 15.0  # the warm-up's few memos are answered, and committed, in 3-5 s
WARM_UP_RATE = 1_500.0
WARM_UP_RECORDS = 15_000
"""Ten seconds, in which the JVM compiles what it meets often, bad records and duplicates among it; with a fifteenth of
that the median alert of the demo's first minute was three seconds late."""
QUIET_SECONDS = 20.0  # longer than a restart of the job takes: after it, nothing more will come
PICTURE_SIZE = (132, 36)


@dataclass(frozen=True)
class DemoOptions:
    """What to show, and how.

    Attributes
    ----------
    rate
        Records a second.
    duration_seconds
        None until Ctrl-C.
    accounts, merchants
        Population: small, so that a minute of the demo is days of event time and the long windows fill.
    poison_rate, duplicate_rate
        So that dead letters and duplicates show.
    evidence_share, evidence_from_eur
        Share of the transfers from that amount on that come with a document: an alert in three seconds has one, which
        is what reading them can follow on two cores that the stream has first. 0: no evidence at all.
    picture
        File for an SVG of the last view.
    """

    rate: float = 2_000.0
    duration_seconds: float | None = None
    seed: int = 1
    accounts: int = 5_000
    merchants: int = 1_000
    poison_rate: float = 0.005
    duplicate_rate: float = 0.005
    evidence_share: float = 0.04
    evidence_from_eur: float = 1_000.0
    picture: Path | None = None

    def plans(self, now_ms: int, evidence_root: str | None = None) -> tuple[LoadPlan, LoadPlan]:
        """Return the warm-up, and the load that is measured, whose event times follow on the warm-up's.

        Payments of the load refer to documents below `evidence_root`; to none without it.
        """
        load = LoadPlan(
            rate=self.rate,
            count=None if self.duration_seconds is None else max(1, round(self.rate * self.duration_seconds)),
            end_ms=now_ms,
            seed=self.seed,
            accounts=self.accounts,
            merchants=self.merchants,
            poison_rate=self.poison_rate,
            duplicate_rate=self.duplicate_rate,
            evidence_share=0.0 if evidence_root is None else self.evidence_share,
            evidence_root=evidence_root or "",
            evidence_from_eur=self.evidence_from_eur,
        )
        warm_up = replace(
            load,
            rate=WARM_UP_RATE,
            count=WARM_UP_RECORDS,
            end_ms=load.simulator.start_ms,
            seed=self.seed + 1,
            evidence_share=0.0,
        )
        return warm_up, load


class Demo:
    """Runs the demo in the foreground.

    Parameters
    ----------
    make_settings
        Gives the effective settings for overrides.
    home
        Folder of the demo's own stack: whatever runs beside it is not touched. Emptied at the start, kept at the end.
    options
        What to show.
    console
        Where to.
    """

    def __init__(
        self, make_settings: Callable[..., Settings], home: Path, options: DemoOptions, console: Console
    ) -> None:
        self._make_settings = make_settings
        self._home = home
        self._options = options
        self._console = console
        self._gathering = self._prepare_gathering()
        self._model = LiveModel(None if self._gathering is None else EvidenceTally(self._gathering.notes))
        self._pictured = self._model.snapshot()
        self._stop = threading.Event()
        self._before = 0  # records of the warm-up
        self._printed_at = 0.0
        self._printed_alerts = 0
        self._printed_revision: Mapping[str, Any] | None = None

    def run(self) -> bool:
        """Run it to the end; returns whether every record was accounted for."""
        with (
            only_one(self._home),
            own_stack(self._make_settings, self._home, self._gathering, self._say) as (stack, settings),
        ):
            root = None if self._gathering is None else self._gathering.archive.root
            plans = self._options.plans(int(time.time() * 1_000), root)
            job_id = self._start_jobs(stack, settings, plans[1])
            accounts = self._show(settings, FlinkRest(settings.flink_rest_url), job_id, plans)
            snapshot = self._model.snapshot()
            self._write_picture()
            self._console.print(summary(snapshot, accounts))
            self._write_page(settings)
            self._say("stopping everything ...")
        self._say(f"stopped; logs are in {self._home / 'logs'}")
        return accounts.is_even

    # -- the start --------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._console.print(f"· {text}", style="dim", highlight=False)

    def _prepare_gathering(self) -> Gathering | None:
        if not self._options.evidence_share:
            return None
        if missing := missing_packages():
            self._say(f"no evidence: {', '.join(missing)} not installed (pip install 'weir[evidence,documents,ocr]')")
            return None
        return Gathering.under(self._home)

    def _start_jobs(self, stack: LocalStack, settings: Settings, load: LoadPlan) -> str:
        gathering = self._gathering
        self._say("submitting the scoring job ..." if gathering is None else "submitting the jobs: score, gather ...")
        with self._console.status("the client starts, and sends the job"), ThreadPoolExecutor() as pool:
            scoring = pool.submit(self._submit_scoring, stack, settings)
            if gathering is not None:
                beside = [
                    pool.submit(gathering.start_archive, stack, load),
                    pool.submit(gathering.submit, stack, settings),
                ]
                for waiting in beside:
                    waiting.result()
                gathering.look_at_services({name: stack.service_url(name) for name in SERVICES})
            job_id = scoring.result()
        self._say("warming up: the job loads the model and its compiled code, and scores a few ...")
        with self._console.status("warming up"):
            rest = FlinkRest(settings.flink_rest_url)
            rest.wait_until_running(job_id, READY_SECONDS)
            if gathering is not None:
                gathering.wait_until_running(rest, READY_SECONDS)
        return job_id

    def _submit_scoring(self, stack: LocalStack, settings: Settings) -> str:
        return submit_job(
            settings.flink_rest_url,
            JOB,
            jars=fetch_jars(stack.jars_folder),
            work_folder=stack.logs,
            options=stack.flink.job_options(),
            environment=settings.as_environment(),
        )

    # -- the view ---------------------------------------------------------------------------------------------------

    def _show(self, settings: Settings, rest: FlinkRest, job_id: str, plans: tuple[LoadPlan, LoadPlan]) -> Accounts:
        properties, topics = kafka_properties(settings), settings.topics
        options, model = self._options, self._model
        warm_up, load = (GeneratorProcess(plan, properties, topics.transactions, topics.labels) for plan in plans)
        hint = "Ctrl-C ends" if options.duration_seconds is None else f"of {options.duration_seconds:.0f} s"
        with Watcher(model, properties, topics) as watcher, orderly_ctrl_c(self._stop):
            self._warm_up(warm_up, watcher)
            self._say(f"the job is warm; simulating {options.rate:,.0f} transactions a second ...")
            model.start_measuring()
            with load, self._view() as draw:
                model.phase = PHASE
                job_seen = 0.0
                while load.is_running and not self._stop.is_set():
                    if time.monotonic() - job_seen > JOB_CHECK_SECONDS:
                        model.phase = _phase_of(rest, job_id)
                        if self._gathering is not None:
                            self._gathering.check(rest)
                        job_seen = time.monotonic()
                    self._tick(load, watcher, draw, hint)
                    self._pictured = model.snapshot()
                model.phase = "draining: no more is sent"
                load.stop()
                self._drain(load, watcher, draw)
                self._drain_evidence(load, watcher, draw, settings)
                model.phase = "waiting for the last checkpoint, which commits the ledger"
                self._tick(load, watcher, draw, "")
                wait_seconds = 10.0 + 5 * settings.checkpoint_interval_seconds
                return wait_for_accounts(self._before + load.report.sent, properties, topics, wait_seconds)

    def _warm_up(self, warm_up: GeneratorProcess, watcher: Watcher) -> None:
        """Send a little, and wait for the answers: the first ones wait for code that is loaded when it is needed."""
        deadline = time.monotonic() + READY_SECONDS
        with warm_up, self._console.status("warming up: the first transactions are scored"):
            while warm_up.is_running or self._model.answered < warm_up.report.sent:
                if watcher.error is not None:
                    raise watcher.error
                if self._stop.is_set() or time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            self._before = warm_up.stop().sent
            evidence, gathering = self._model.evidence, self._gathering
            if evidence is None or gathering is None or not gathering.is_running:
                return
            # The gathering job's Python starts with its first requests: on two cores, the stream would feel that.
            until = time.monotonic() + GATHERED_SECONDS
            while evidence.snapshot().total.waiting and not self._stop.is_set() and time.monotonic() < until:
                time.sleep(0.05)

    def _tick(
        self, generator: GeneratorProcess, watcher: Watcher, draw: Callable[[Snapshot, str], None], hint: str
    ) -> None:
        if watcher.error is not None:
            raise watcher.error
        self._model.set_sent(self._before + generator.report.sent)
        self._model.tick(time.monotonic())
        draw(self._model.snapshot(), hint)
        time.sleep(REFRESH_SECONDS)

    def _drain(self, generator: GeneratorProcess, watcher: Watcher, draw: Callable[[Snapshot, str], None]) -> None:
        answered, since = -1, time.monotonic()
        while True:
            snapshot = self._model.snapshot()
            if snapshot.waiting <= 0 or time.monotonic() - since > QUIET_SECONDS:
                return
            if snapshot.answered != answered:
                answered, since = snapshot.answered, time.monotonic()
            self._tick(generator, watcher, draw, f"{snapshot.waiting:,} waiting")

    def _drain_evidence(
        self,
        generator: GeneratorProcess,
        watcher: Watcher,
        draw: Callable[[Snapshot, str], None],
        settings: Settings,
    ) -> None:
        """Wait for what was asked for: each piece ends within its budget, and shows when it is committed."""
        if self._model.evidence is None or self._gathering is None or not self._gathering.is_running:
            return
        self._model.phase = "waiting for the last evidence"
        deadline = time.monotonic() + settings.evidence_budget_seconds + 3 * settings.checkpoint_interval_seconds + 10
        while (waiting := self._model.evidence.snapshot().total.waiting) and time.monotonic() < deadline:
            self._tick(generator, watcher, draw, f"{waiting:,} waiting")

    @contextlib.contextmanager
    def _view(self) -> Iterator[Callable[[Snapshot, str], None]]:
        if not self._console.is_terminal:
            yield self._print_lines
            return
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            yield lambda snapshot, hint: live.update(LiveView(snapshot, hint), refresh=True)

    def _print_lines(self, snapshot: Snapshot, hint: str) -> None:
        """Without a terminal: a line every few seconds, and with it the newest alert."""
        del hint
        if not snapshot.sent_rate or time.monotonic() - self._printed_at < LINE_SECONDS:
            return
        self._printed_at = time.monotonic()
        self._console.print(line(snapshot), highlight=False, soft_wrap=True)
        if snapshot.alerts > self._printed_alerts:
            self._printed_alerts = snapshot.alerts
            self._console.print(alert_line(snapshot.newest_alerts[0]), highlight=False, soft_wrap=True)
        evidence = snapshot.evidence
        newest = evidence.newest[0] if evidence is not None and evidence.newest else None
        if newest is not None and newest is not self._printed_revision:
            self._printed_revision = newest
            self._console.print(revision_line(newest), highlight=False, soft_wrap=True)

    def _write_picture(self) -> None:
        """Picture the view as it was while transactions were still sent."""
        if self._options.picture is None:
            return
        width, height = PICTURE_SIZE
        with Path("/dev/null").open("w") as nowhere:
            canvas = Console(
                record=True, width=width, height=height, file=nowhere, force_terminal=True, color_system="truecolor"
            )
            canvas.print(LiveView(self._pictured), height=height)
            # Without the fonts that rich would fetch from a public server: any monospaced one will do
            drawn = re.sub(r"@font-face \{.*?\}", "", canvas.export_svg(title="weir demo"), flags=re.DOTALL)
            self._options.picture.parent.mkdir(parents=True, exist_ok=True)
            self._options.picture.write_text(drawn)
        self._say(f"wrote {self._options.picture}")

    def _write_page(self, settings: Settings) -> None:
        """Write the page of the alert that evidence changed most."""
        if self._gathering is None or self._model.evidence is None or (alert := self._model.evidence.telling) is None:
            return
        path = self._home / "alert.html"
        try:
            write_page(settings, self._gathering, alert["transaction_id"], path)
        except (ReadError, OSError, ValueError) as error:
            self._say(f"no page was written: {error}")
        else:
            self._say(f"wrote {path}: an alert that evidence revised, as a page for a browser")


def _phase_of(rest: FlinkRest, job_id: str) -> str:
    """Tell the job's state in the words of the view.

    Raises
    ------
    StackError
        If the job has ended.
    """
    state = rest.state(job_id)
    if state in FINAL_STATES:
        raise StackError(f"the scoring job is {state}:\n{rest.failure(job_id)[:3_000]}")
    return PHASE if state == "RUNNING" else f"the job is {state.lower()}"
