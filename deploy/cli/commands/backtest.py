"""``weir backtest``: what rules would have done over the last days, before anyone turns them on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.context import CommandContext, fail, pass_context, say
from deploy.cli.row_file_options import row_file_options

if TYPE_CHECKING:
    from rich.progress import Progress

    from deploy.cli.replay.judged import Labels
    from jobs.settings import Settings
    from models.backtest.evaluation import Evaluated
    from models.backtest.rule_change import RuleChange
    from models.scoring.rules import Rule


@click.command()
@click.argument("rule_file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--days", type=click.IntRange(1), default=30, show_default=True, help="Days of event time, UTC, up to the newest."
)
@click.option(
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Transactions (Parquet, CSV, JSON lines, Avro) instead of the ledger: their features are computed.",
)
@click.option(
    "--decisions",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Avro file of decisions instead of the ledger in Kafka, as of 'weir replay --file'.",
)
@click.option("--only", is_flag=True, help="Decide by the rules of RULE_FILE alone, not with those in force.")
@click.option(
    "--rules",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Rules in force.  [default: of the control topic; of a file: those that the job starts with]",
)
@click.option("--model", metavar="NAME@VERSION", help="Score with this model; or its folder.  [default: as recorded]")
@click.option(
    "--labels",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of labels (transaction_id, label_time_ms, is_fraud, pattern).  [default: none]",
)
@click.option("--topic-labels", is_flag=True, help="Take the labels from the topic labels.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for Parquet files and report.html."
)
@click.option("--top", type=click.IntRange(0), default=5, show_default=True, help="New and lost alerts to show.")
@click.option("--order", type=click.Choice(["file", "time"]), default="file", show_default=True, help="Of --file.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the features of --file are kept.  [default: FILE.features]",
)
@click.option("--no-cache", is_flag=True, help="Keep no features.")
@row_file_options("--file")
@pass_context
def command(
    context: CommandContext,
    rule_file: Path,
    days: int,
    file: Path | None,
    decisions: Path | None,
    only: bool,
    rules: Path | None,
    model: str | None,
    labels: Path | None,
    topic_labels: bool,
    out: Path | None,
    top: int,
    order: str,
    cache: Path | None,
    no_cache: bool,
    maps: tuple[str, ...],
    defaults: tuple[str, ...],
    kind: str | None,
) -> None:
    """Say what the rules of RULE_FILE would have done, beside the rules in force.

    RULE_FILE is as for 'weir rules add': one rule or a list; a rule takes the place of the one of its id, and one with
    "is_enabled": false takes it out.

    The transactions are those of the ledger, with features and scores as they were recorded: only the rules are asked
    anew. With --file features and scores are computed by the core first, and kept, so that the next rule takes a
    fraction of the time.

    \b
      weir backtest night-wire.json --days 30 --out night-wire
      weir backtest night-wire.json --file payments.parquet --labels labels.parquet
    """
    from rich.console import Console
    from rich.progress import Progress

    from deploy.cli.kafka import plain_errors
    from deploy.cli.progress import progress_columns
    from models.replay.deciders import VersionError

    _check_options(file, decisions, labels, topic_labels, cache or no_cache or maps or defaults or kind)
    settings = context.settings()
    begun, cpu = time.monotonic(), time.process_time()
    with plain_errors(), Progress(*progress_columns(), console=Console(stderr=True), transient=True) as progress:
        change = _change(settings, rule_file, rules, only, is_kafka=file is None and decisions is None)
        try:
            if file is not None:
                evaluated = _of_file(
                    progress, settings, change, file, days, model, order, cache, no_cache, maps, defaults, kind
                )
            else:
                evaluated = _of_ledger(progress, settings, change, decisions, days, model)
        except VersionError as error:
            fail(str(error))
        known = _labels(settings, labels, topic_labels)
    if not len(evaluated):
        fail("there are no transactions to test the rules on")
    seconds = time.monotonic() - begun
    say(f"{len(evaluated):,} transactions in {seconds:.1f} s ({time.process_time() - cpu:.1f} s of CPU time)")
    if evaluated.failed:
        say(f"could not be evaluated on some transactions, and did not hit there: {', '.join(evaluated.failed)}")
    _show(rule_file, evaluated, change, known, top, out)


def _check_options(
    file: Path | None, decisions: Path | None, labels: Path | None, topic_labels: bool, of_file: object
) -> None:
    if file is not None and decisions is not None:
        raise click.UsageError("give --file or --decisions, not both")
    if labels is not None and topic_labels:
        raise click.UsageError("give --labels or --topic-labels, not both")
    if file is None and of_file:
        raise click.UsageError("--cache, --no-cache, --map, --default and --format are of --file")


def _change(settings: Settings, rule_file: Path, rules: Path | None, only: bool, is_kafka: bool) -> RuleChange:
    from deploy.cli.commands.rules import in_force, initial_rules, read_changes, read_rules
    from deploy.cli.deciding import rules_at_start
    from models.backtest.rule_change import RuleChange, proposed_rules
    from models.scoring.decider import rule_columns
    from models.scoring.errors import RuleError

    current: tuple[Rule, ...]
    if is_kafka and rules is None:
        current = tuple(in_force(initial_rules(settings), read_changes(settings)).values())
    else:
        current = rules_at_start(settings, rules)
    given = read_rules(rule_file, {rule.rule_id: rule for rule in current})
    try:
        return RuleChange(current, proposed_rules(current, given, only), rule_columns())
    except RuleError as error:
        fail(str(error))


def _of_ledger(
    progress: Progress, settings: Settings, change: RuleChange, path: Path | None, days: int, model: str | None
) -> Evaluated:
    from deploy.cli.backtest.sources import KafkaLedger, evaluate_decisions, known_thresholds
    from deploy.cli.deciding import load_model
    from deploy.cli.progress import count_rows
    from models.backtest.evaluation import Backtest
    from models.backtest.ledger import LedgerBlocks, unreadable
    from schemas.container import decisions_in

    missing = {**unreadable(change.current), **unreadable(change.proposed)}
    if missing:
        rule_id, names = next(iter(missing.items()))
        fail(
            f"rule {rule_id} reads {', '.join(names)}, which decisions do not hold: test it on the transactions "
            "themselves with --file"
        )
    blocks = LedgerBlocks(known_thresholds(settings), load_model(settings, model) if model else None)
    backtest = Backtest(change)
    if path is not None:
        found = evaluate_decisions(
            decisions_in(path), blocks, backtest, days, count_rows(progress, f"deciding on {path.name}", None)
        )
    else:
        ledger = KafkaLedger(settings, days, blocks)
        with ledger.open() as reader:
            advance = count_rows(progress, "deciding on the ledger", reader.total)
            found = evaluate_decisions(ledger.values(reader), blocks, backtest, days, advance)
    if found.unread:
        say(f"{found.unread:,} decisions of another schema version or feature set were left out")
    return found.evaluated


def _of_file(
    progress: Progress,
    settings: Settings,
    change: RuleChange,
    path: Path,
    days: int,
    model_name: str | None,
    order: str,
    cache: Path | None,
    no_cache: bool,
    maps: tuple[str, ...],
    defaults: tuple[str, ...],
    kind: str | None,
) -> Evaluated:
    import tempfile

    from deploy.cli.backtest.feature_cache import FeatureCache, cache_key
    from deploy.cli.deciding import load_model
    from deploy.cli.mapping import MappingError
    from deploy.cli.row_files import FileError
    from deploy.cli.transaction_file import file_of
    from jobs.core_settings import core_settings

    model, core = load_model(settings, model_name), core_settings(settings)
    try:
        file = file_of(path, kind, maps, defaults)
        if no_cache:
            with tempfile.TemporaryDirectory() as temporary:
                kept = FeatureCache(Path(temporary) / "features")
                return _decided(progress, kept, file, order, core, model, change, days)
        folder = cache or path.with_name(f"{path.name}.features")
        kept = FeatureCache(folder / cache_key(file, order, core))
        if kept.is_complete and kept.has_scores(model):
            say(f"features and scores are as kept in {kept.folder}")
        elif kept.is_complete:
            say(f"features are as kept in {kept.folder}; the scores of {model.name} {model.version} are new")
        evaluated = _decided(progress, kept, file, order, core, model, change, days)
        say(f"features are kept in {kept.folder} ({kept.size / 2**20:,.0f} MiB)")
        return evaluated
    except MappingError as error:
        raise click.UsageError(str(error)) from error
    except FileError as error:
        fail(str(error))
    except OSError as error:
        fail(f"the features cannot be kept ({error}): name another folder by --cache, or give --no-cache")


def _decided(
    progress: Progress, kept: Any, file: Any, order: str, core: Any, model: Any, change: RuleChange, days: int
) -> Evaluated:
    from deploy.cli.backtest.feature_cache import evaluate_kept
    from deploy.cli.progress import rate_of
    from deploy.cli.transaction_file import BLOCK_ROWS

    def bar(text: str) -> Callable[[int, float], None]:
        task = progress.add_task(text, total=1.0, rate="")
        begun = time.monotonic()

        def advance(rows: int, share: float) -> None:
            progress.update(task, completed=share, rate=rate_of(rows, begun))

        return advance

    if not kept.is_complete:
        kept.fill(file, order, core, BLOCK_ROWS, bar("computing features"))
    found = kept.contents()
    say(
        f"{found.file_rows:,} rows = {found.rows:,} transactions + {found.dead_letters:,} dead letters + "
        f"{found.duplicates:,} duplicates"
    )
    score = kept.scores(model, BLOCK_ROWS, bar("scoring"))
    return evaluate_kept(kept, score, model, change, days)


def _labels(settings: Settings, path: Path | None, topic_labels: bool) -> Labels | None:
    from deploy.cli.replay.judged import labels_in, labels_of_topic
    from deploy.cli.row_files import FileError

    if path is not None:
        try:
            return labels_in(path)
        except FileError as error:
            fail(str(error))
    return labels_of_topic(settings) if topic_labels else None


def _show(
    rule_file: Path, evaluated: Evaluated, change: RuleChange, known: Labels | None, top: int, out: Path | None
) -> None:
    from deploy.cli.backtest.results import labelled, verdicts_of, write
    from deploy.cli.backtest.tables import tables_of
    from deploy.cli.replay.tables import print_tables
    from models.backtest.summary import days_of, rules_of

    is_labelled, is_fraud = labelled(evaluated, known) if known is not None else (None, None)
    days = days_of(evaluated)
    rules = rules_of(evaluated, change, is_labelled, is_fraud)
    verdicts = None if known is None or is_labelled is None or not is_labelled.any() else verdicts_of(evaluated, known)
    if known is not None and verdicts is None:
        say("none of the transactions has a label")
    tables = list(tables_of(evaluated, change, days, rules, verdicts, top))
    print_tables(tables)
    if out is not None:
        write(out, f"Back-test of {rule_file.name}", evaluated, change, days, rules, tables)
        say(f"wrote {out}/report.html, days.parquet, rules.parquet and alerts.parquet")
