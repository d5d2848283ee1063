"""Recompute one recorded decision from the log, in this process, and compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from deploy.cli.replay.planning import MARGIN_MS, longest_window_ms
from jobs.settings import Settings, kafka_properties
from jobs.stream.replay.batch_source import Tell
from jobs.stream.replay.range import Range, RangeError, moment, resolve_place
from jobs.stream.replay.spec import RECORDED, ReplaySpec
from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from models.replay.audit import Circumstances, DecidersAtHand, Verification, verify_values
from models.replay.recorded_order import OrderError
from schemas.columns import RawRecords, Rejected
from schemas.ledger_reader import LedgerReader
from schemas.registry import RegistrySchemas

RUN_ID = "verify"
BATCH_ROWS = 4_000
HOUR_MS = 3_600_000


def verify(settings: Settings, value: bytes, record: Mapping[str, Any], tell: Tell) -> Verification:
    """Recompute a decision and compare it with the recorded one.

    Parameters
    ----------
    settings
        Of the scoring job.
    value, record
        The decision as it stands in the ledger, and its fields.
    tell
        Hears how far the work is.

    Raises
    ------
    ReadError
        If Kafka does not deliver.
    ModelError, RuleError
        If the model or the rules of the settings cannot be used.
    """
    if not LedgerReader(len(FEATURE_NAMES)).decode([value]).is_read[0]:
        return Verification(
            obstacle="the decision is written in an older version of its schema, or with another number of features "
            f"({record['feature_set']}; this version of Weir computes {FEATURE_SET}): verify it with the version of "
            "Weir that made it"
        )
    warm_ms = max(0, record["source_time_ms"] - longest_window_ms())
    topics = settings.topics
    try:
        found = resolve_place(
            kafka_properties(settings), topics.transactions, settings.risk_labels_topic, record["source_partition"],
            record["source_offset"], record["source_time_ms"], warm_ms, MARGIN_MS,
        )  # fmt: skip
        return _recompute(settings, value, _spec(settings, found, warm_ms), found.cut_ms, tell)
    except (RangeError, OrderError) as error:
        return Verification(obstacle=str(error))


def _spec(settings: Settings, found: Range, warm_ms: int) -> ReplaySpec:
    return ReplaySpec(
        run_id=RUN_ID,
        from_ms=found.first_ms,
        to_ms=found.last_ms + 1,
        first_ms=found.first_ms,
        last_ms=found.last_ms,
        order=RECORDED,
        transactions=found.transactions,
        labels=found.labels,
        ledger_topic=settings.topics.decisions,
        # A decision is written after its transaction; a clock that runs behind by an hour does no harm.
        ledger_since_ms=max(0, warm_ms - HOUR_MS),
        is_from_beginning=found.is_from_beginning,
        batch_rows=BATCH_ROWS,
        risk_labels=settings.risk_labels,
    )


def _recompute(settings: Settings, value: bytes, spec: ReplaySpec, cut_ms: int | None, tell: Tell) -> Verification:
    from jobs.replay import core_of, open_deciders, open_source
    from models.replay.core import ReplayCore
    from models.scoring.decide_batch import Run

    registry = RegistrySchemas(settings.schema_registry_url) if settings.schema_registry_url else None
    source = open_source(settings, spec, None, tell)
    try:
        deciders = DecidersAtHand(open_deciders(settings, spec))
        core = ReplayCore(core_of(settings, spec), deciders, Run("replay", RUN_ID), registry=registry)
        decisions: list[bytes] = []
        rejected: list[tuple[RawRecords, Rejected]] = []
        while parts := source.next_batch():
            result = core.add(parts)
            decisions += result.decisions
            rejected += result.rejected
            tell("recomputing", source.rows_done, source.rows)
        records, unexplained = source.rows_done, source.unexplained
    finally:
        source.close()
    if not decisions:
        why = next((f"{r.error}: {r.message}" for _, r in rejected), "there is no record any more")
        return Verification(obstacle=f"no decision is made on what the log holds in its place ({why})", records=records)
    circumstances = Circumstances("" if cut_ms is None else moment(cut_ms), unexplained)
    obstacle = "" if deciders.missing is None else str(deciders.missing)
    return verify_values(value, decisions[0], circumstances, obstacle, records)


@contextmanager
def shown_progress() -> Iterator[Tell]:
    """Show a bar for each thing that is being read, with rate and time left, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Records in a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} records/s")

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), Rate(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what)
            progress.update(tasks[what], completed=done, total=max(1, total))

        yield tell
