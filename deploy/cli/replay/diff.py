"""``weir replay diff``: what differs between two runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from deploy.cli.context import CommandContext, fail, pass_context, say

LIVE = "live"


@click.command("diff")
@click.argument("run_a")
@click.argument("run_b")
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of labels (transaction_id, label_time_ms, is_fraud, pattern).  [default: the topic labels]",
)
@click.option("--without-labels", is_flag=True, help="Compare the runs alone.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for difference.parquet, report.html."
)
@click.option("--top", type=click.IntRange(0), default=5, show_default=True, help="Examples of each kind to show.")
@click.option("--exit-code", is_flag=True, help="End with status 1 where anything differs.")
@pass_context
def command(
    context: CommandContext,
    run_a: str,
    run_b: str,
    labels: Path | None,
    without_labels: bool,
    out: Path | None,
    top: int,
    exit_code: bool,
) -> None:
    """Compare RUN_A with RUN_B, transaction by transaction.

    A run is 'live', the id of a replay, or an Avro file of decisions. The live ledger holds more than what was
    replayed: of it, only the transactions of the other run count.

    \b
      weir replay diff live tighter --out difference
      weir replay diff before after --labels labels.parquet
    """
    from deploy.cli.kafka import plain_errors
    from deploy.cli.replay.judged import judge
    from deploy.cli.replay.tables import print_tables, tables_of
    from models.replay.compare import compare

    settings = context.settings()
    with plain_errors():
        a, b = _read(settings, run_a), _read(settings, run_b)
        if run_a == LIVE and run_b != LIVE:
            a = _within(a, b)
        if run_b == LIVE and run_a != LIVE:
            b = _within(b, a)
        known = None if without_labels else _labels(settings, labels)
    difference = compare(a, b)
    verdicts = None if known is None or not len(known) else (judge(difference.a, known), judge(difference.b, known))
    names = (run_a, run_b)
    shown = list(tables_of(difference, names, verdicts, top))
    print_tables(shown)
    if out is not None:
        _write(out, difference, names, shown)
    if exit_code and not difference.is_same:
        raise SystemExit(1)


def _within(run: Any, other: Any) -> Any:
    import numpy as np

    return run.take(np.isin(run.place, other.place))


def _read(settings: Any, name: str) -> Any:
    from models.features.catalogue import FEATURE_NAMES
    from models.replay.compare import RunBuilder
    from schemas.ledger_reader import LedgerReader

    reader, builder = LedgerReader(len(FEATURE_NAMES)), RunBuilder()
    for values in _values(settings, name):
        builder.add(reader.decode(values))
    run = builder.build()
    if builder.unread:
        say(f"{name}: {builder.unread:,} decisions of another schema version or feature set were left out")
    if not len(run):
        fail(f"run {name} has no decisions: 'weir replay list' shows the runs of this machine")
    return run


def _values(settings: Any, name: str) -> Iterator[Sequence[bytes | None]]:
    from deploy.cli.kafka import client_properties
    from jobs.replay import output_settings
    from jobs.stream.topic_reader import TopicReader

    if Path(name).suffix == ".avro" and Path(name).exists():
        from schemas.container import decisions_in

        yield from decisions_in(Path(name))
        return
    topics = settings.topics if name == LIVE else output_settings(settings, name).topics
    from rich.console import Console
    from rich.progress import Progress

    with (
        TopicReader(client_properties(settings), [topics.decisions]) as reader,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task(f"reading {name}", total=reader.total)
        for batch in reader.until_end():
            yield [message.value() for message in batch]
            progress.advance(task, len(batch))


def _labels(settings: Any, path: Path | None) -> Any:
    from deploy.cli.replay.judged import labels_in, labels_of_topic
    from jobs.stream.topic_reader import ReadError

    if path is not None:
        return labels_in(path)
    try:
        return labels_of_topic(settings)
    except ReadError as error:
        say(f"without labels: {error}")
        return None


def _write(out: Path, difference: Any, names: tuple[str, str], shown: list[Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from deploy.cli.replay.report import page, plots_of
    from online_learning.evaluate.plots import MissingPlotLibraryError

    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pydict(_columns(difference)), out / "difference.parquet", compression="zstd")
    plots, note = [], ""
    try:
        plots = plots_of(difference, names)
    except MissingPlotLibraryError as error:
        note = str(error)
    (out / "report.html").write_text(page(names, shown, plots, note))
    say(f"wrote {out / 'report.html'} and {out / 'difference.parquet'}")


def _columns(difference: Any) -> dict[str, Any]:
    """Return a row for each transaction that was decided differently."""
    import numpy as np

    from schemas.decisions import OUTCOMES

    rows = np.flatnonzero(~difference.is_equal)
    kinds = np.full(len(difference.a), "moved", object)
    for name in ("new", "lost", "changed"):
        kinds[getattr(difference, name)] = name
    a, b = difference.a, difference.b
    columns: dict[str, Any] = {
        "source_partition": (a.place[rows] >> 48).astype(np.int32),
        "source_offset": a.place[rows] & ((1 << 48) - 1),
        "kind": kinds[rows].tolist(),
        "event_time_ms": a.event_time_ms[rows],
        "amount_minor_reference": a.amount[rows],
    }
    for side, run in (("a", a), ("b", b)):
        columns[f"outcome_{side}"] = [OUTCOMES[i] for i in run.outcome[rows]]
        columns[f"score_{side}"] = run.score[rows]
        alerts = [run.alerts.get(int(place)) for place in run.place[rows]]
        columns[f"reasons_{side}"] = [list(alert.reasons) if alert else [] for alert in alerts]
    texts = [b.alerts.get(int(place)) or a.alerts.get(int(place)) for place in a.place[rows]]
    columns["transaction_id"] = [text.transaction_id if text else None for text in texts]
    columns["account_id"] = [text.account_id if text else None for text in texts]
    return columns
