"""``weir evaluate``: how good learners and the batch model would have been on a file, labels arriving in their time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy.cli.context import CommandContext, fail, pass_context, say
from deploy.cli.row_file_options import row_file_options

if TYPE_CHECKING:
    from rich.progress import Progress

    from deploy.cli.stream_file import Stream
    from online_learning.evaluate.contestant import Clocked
    from online_learning.evaluate.measures import Judged
    from online_learning.evaluate.numeric_table import NumericTable
    from online_learning.evaluate.report import Row
    from schemas.columns import F64

BATCH_MODEL = "batch model"


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--labels", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="File of labels.")
@click.option("--delay", metavar="TIME", help="From transaction to label: 7d, 36h, 90m, 30s.  [default: 7d]")
@click.option("--fraud-column", default="is_fraud", show_default=True, help="Column of FILE that says what is fraud.")
@click.option("--pattern-column", default="pattern", show_default=True, help="Column that names the fraud's pattern.")
@click.option("--label-column", metavar="COLUMN", help="FILE is a table of numbers, and this its label.")
@click.option("--learner", "learners", metavar="NAME", multiple=True, help="Repeatable.  [default: all of them]")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the learners.")
@click.option("--by", default="week,pattern", show_default=True, help="Groups to measure besides: week, pattern.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for measures.parquet and plots.")
@click.option("--throughput", is_flag=True, help="Of a table: labels/s of the linear learner and of River.")
@row_file_options()
@click.option("--block-rows", type=click.IntRange(1), help="Most rows scored at once.  [default: 1000; 100 of a table]")
@click.option(
    "--block-seconds", type=click.IntRange(1), default=60, show_default=True, help="Most event time scored at once."
)
@pass_context
def command(
    context: CommandContext,
    file: Path,
    labels: Path | None,
    delay: str | None,
    fraud_column: str,
    pattern_column: str,
    label_column: str | None,
    learners: tuple[str, ...],
    seed: int,
    by: str,
    out: Path | None,
    throughput: bool,
    maps: tuple[str, ...],
    defaults: tuple[str, ...],
    kind: str | None,
    block_rows: int | None,
    block_seconds: int,
) -> None:
    """Evaluate learners beside the batch model on the transactions of FILE: predict, wait for the label, learn.

    Features are computed as the scoring job does, in order of event time; a label reaches the features and the learners
    when it would have been known: --delay after its transaction, or when the file of --labels says so
    (transaction_id, label_time_ms, is_fraud, pattern; the first label of a transaction counts, one without any is not
    measured). Columns are named as for 'weir produce'.

    With --label-column FILE is a table of numbers in the order of its rows: the other columns of numbers are the
    features, and each block is learned once it was scored.

    \b
      weir evaluate payments.parquet --delay 7d --out evaluation
      weir evaluate creditcard.csv --label-column Class --throughput
    """
    from rich.console import Console
    from rich.progress import Progress

    from deploy.cli.evaluation import measure_tables, throughput_table, unknown_learner
    from deploy.cli.mapping import MappingError
    from deploy.cli.progress import progress_columns
    from deploy.cli.row_files import FileError
    from online_learning.evaluate.report import GROUPINGS, rows_of

    groupings = tuple(name.strip() for name in by.split(",") if name.strip())
    if unknown := set(groupings) - set(GROUPINGS):
        raise click.UsageError(f"--by {sorted(unknown)[0]}: expected some of {', '.join(GROUPINGS)}")
    if label_column is None and throughput:
        raise click.UsageError("--throughput is measured on a table: name its label by --label-column")
    if label_column is not None and (labels or delay or maps or defaults):
        raise click.UsageError("a table of numbers (--label-column) takes no --labels, --delay, --map or --default")
    if message := unknown_learner(learners):
        raise click.UsageError(message)
    if labels is not None and delay is not None:
        raise click.UsageError("give --delay or --labels, not both")
    results = Console()
    with Progress(*progress_columns(), console=Console(stderr=True)) as progress:
        try:
            if label_column is not None:
                table = _read_table(progress, file, kind, label_column)
                judged, scores, clocked = _evaluate_table(progress, table, learners, seed, block_rows or 100)
                groupings = ()
            else:
                stream = _read_stream(progress, file, kind, maps, defaults, labels, delay, fraud_column, pattern_column)
                judged, scores, clocked = _evaluate_stream(
                    progress, context, stream, learners, seed, block_rows or 1_000, block_seconds * 1_000
                )
        except MappingError as error:
            raise click.UsageError(str(error)) from error
        except FileError as error:
            fail(str(error))
        rows = list(rows_of(judged, scores, groupings))
    for shown in measure_tables(rows, clocked):
        results.print(shown)
    if throughput:
        from online_learning.evaluate.numeric_table import linear_throughput

        results.print(throughput_table(linear_throughput(table, time.perf_counter)))
    if out is not None:
        _write(out, rows, judged, scores, "week" in groupings)


def _read_table(progress: Progress, file: Path, kind: str | None, label_column: str) -> NumericTable:
    from deploy.cli.row_files import format_of, size_of
    from deploy.cli.stream_file import read_table

    kind = format_of(file, kind)
    task = progress.add_task("reading", total=size_of(file, kind), rate="")
    return read_table(file, kind, label_column, lambda done: progress.update(task, completed=done))


def _read_stream(
    progress: Progress,
    file: Path,
    kind: str | None,
    maps: tuple[str, ...],
    defaults: tuple[str, ...],
    labels: Path | None,
    delay: str | None,
    fraud_column: str,
    pattern_column: str,
) -> Stream:
    from deploy.cli.mapping import RowMapping
    from deploy.cli.row_files import columns_of, format_of, size_of
    from deploy.cli.stream_file import Truth, parse_delay, read_labels, read_stream

    try:
        delay_ms = parse_delay(delay or "7d")
    except ValueError as error:
        raise click.UsageError(f"--delay: {error}") from error
    mapping = RowMapping.parse(maps, defaults)
    kind = format_of(file, kind)
    columns = columns_of(file, kind)
    if columns is not None:
        mapping.check_columns(columns)
    truth = Truth(fraud_column, pattern_column, delay_ms, read_labels(labels) if labels else None)
    task = progress.add_task("reading", total=size_of(file, kind), rate="")
    stream = read_stream(file, kind, mapping, truth, lambda done: progress.update(task, completed=done))
    for reason, count in stream.problems.most_common():
        progress.console.print(f"left out: {count:,} rows, {reason}", highlight=False)
    if not stream.has_truth.any():
        fail(f"no transaction of {file} has a label: there is nothing to measure")
    return stream


def _contestants(names: tuple[str, ...], features: tuple[str, ...], seed: int) -> dict[str, Clocked]:
    from deploy.cli.evaluation import contestants_of, missing_library

    if message := missing_library(names):
        say(message)
    return contestants_of(names, features, seed, time.process_time)


def _evaluate_table(
    progress: Progress, table: NumericTable, names: tuple[str, ...], seed: int, block_rows: int
) -> tuple[Judged, dict[str, F64], Mapping[str, Clocked]]:
    from deploy.cli.progress import count_rows
    from online_learning.evaluate.numeric_table import table_scores

    contestants = _contestants(names, table.names, seed)
    advance = count_rows(progress, "evaluating", len(table.X))
    return table.judged(), table_scores(table, contestants, block_rows, advance), contestants


def _evaluate_stream(
    progress: Progress,
    context: CommandContext,
    stream: Stream,
    names: tuple[str, ...],
    seed: int,
    block_rows: int,
    block_ms: int,
) -> tuple[Judged, dict[str, F64], Mapping[str, Clocked]]:
    from deploy.cli.progress import count_rows
    from models.features.catalogue import FEATURES
    from models.scoring.errors import ModelError
    from models.scoring.model import ScoringModel
    from online_learning.evaluate.contestant import Clocked, Frozen
    from online_learning.evaluate.engine import EngineFeatures
    from online_learning.evaluate.prequential import prequential_scores

    try:
        model = ScoringModel.load(context.settings().models_dir)
    except ModelError as error:
        fail(str(error))
    features = tuple(feature.name for feature in FEATURES)
    if model.feature_names != features:
        fail(f"the model {model.name} {model.version} has other features than this engine: name another by models_dir")
    contestants = {BATCH_MODEL: Clocked(Frozen(model.predict), time.process_time)}
    contestants |= _contestants(names, features, seed)
    scores = prequential_scores(
        EngineFeatures(stream, stream.is_fraud, stream.label_time_ms), contestants,
        stream.event_time_ms, stream.label_time_ms, stream.is_fraud, block_rows, block_ms,
        count_rows(progress, "evaluating", len(stream)),
    )  # fmt: skip
    return stream.judged(), {name: score[stream.has_truth] for name, score in scores.items()}, contestants


def _write(out: Path, rows: list[Row], judged: Judged, scores: Mapping[str, F64], by_weeks: bool) -> None:
    from online_learning.evaluate.plots import MissingPlotLibraryError, write_plots
    from online_learning.evaluate.report import FILE, write_rows

    out.mkdir(parents=True, exist_ok=True)
    write_rows(rows, out / FILE)
    say(f"wrote {out / FILE}")
    try:
        for path in write_plots(judged, scores, out, by_weeks):
            say(f"wrote {path}")
    except MissingPlotLibraryError as error:
        say(str(error))
