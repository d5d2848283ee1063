"""What a back-test leaves behind: Parquet to work with, and a page to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deploy.cli.backtest.tables import NAMES, date_of, rules_at
from deploy.cli.replay.judged import Labels, Verdict, judge
from deploy.cli.replay.report import document, svg
from deploy.cli.replay.tables import Table
from models.backtest.evaluation import Evaluated
from models.backtest.rule_change import RuleChange
from models.backtest.summary import Day, RuleResult
from models.replay.compare import RunColumns
from online_learning.evaluate.plots import MissingPlotLibraryError, check_library
from schemas.columns import U8, Bool
from schemas.decisions import OUTCOMES

DAYS, RULES, ALERTS, PAGE = "days.parquet", "rules.parquet", "alerts.parquet", "report.html"
_COLOURS = ("#4c78a8", "#e45756")
_MOST_RULES = 25


def labelled(evaluated: Evaluated, labels: Labels) -> tuple[Bool, Bool]:
    """Return which transactions have a label, and which are fraud.  # each (n,)."""
    at, is_known = labels.rows(evaluated.transaction)
    is_fraud: Bool = np.zeros(len(evaluated), np.bool_)
    is_fraud[is_known] = labels.is_fraud[at[is_known]]
    return is_known, is_fraud


def verdicts_of(evaluated: Evaluated, labels: Labels) -> tuple[Verdict, Verdict]:
    """Judge the rules in force and the proposed ones."""
    return judge(_run(evaluated, evaluated.before), labels), judge(_run(evaluated, evaluated.after), labels)


def _run(evaluated: Evaluated, outcome: U8) -> RunColumns:
    n = len(evaluated)
    return RunColumns(
        np.arange(n), np.zeros(n, np.uint64), evaluated.transaction, evaluated.account, evaluated.event_time_ms,
        evaluated.amount, outcome, evaluated.score, np.zeros((n, 0), np.float32), {},
    )  # fmt: skip


def write(
    out: Path,
    title: str,
    evaluated: Evaluated,
    change: RuleChange,
    days: Sequence[Day],
    rules: Sequence[RuleResult],
    tables: Sequence[Table],
) -> None:
    """Write days, rules and the transactions that are decided otherwise as Parquet, and the page."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out.mkdir(parents=True, exist_ok=True)
    contents = {DAYS: _day_columns(days), RULES: _rule_columns(rules), ALERTS: _alert_columns(evaluated, change)}
    for name, columns in contents.items():
        pq.write_table(pa.table(columns), out / name, compression="zstd")
    plots, note = [], ""
    try:
        check_library()
        plots = [svg(lambda axes: _plot_days(axes, days)), svg(lambda axes: _plot_change(axes, days)),
                 svg(lambda axes: _plot_rules(axes, rules))]  # fmt: skip
    except MissingPlotLibraryError as error:
        note = str(error)
    (out / PAGE).write_text(document(title, tables, plots, note), encoding="utf-8")


def _day_columns(days: Sequence[Day]) -> dict[str, Any]:
    names = ("start_ms", "transactions", "before", "after", "new", "lost")
    return {name: np.array([getattr(day, name) for day in days], np.int64) for name in names}


def _rule_columns(rules: Sequence[RuleResult]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "rule_id": [r.rule.rule_id for r in rules],
        "version": [r.rule.version for r in rules],
        "typology": [r.rule.typology for r in rules],
        "state": [r.state for r in rules],
    }
    for name in ("hits_before", "hits", "alerts", "alone", "labelled", "frauds"):
        columns[name] = np.array([getattr(r, name) for r in rules], np.int64)
    for name in ("precision", "recall"):
        columns[name] = np.array([getattr(r, name) for r in rules], np.float64)
    return columns


def _alert_columns(evaluated: Evaluated, change: RuleChange) -> dict[str, Any]:
    import pyarrow as pa

    rows = np.array(sorted(evaluated.ids), np.int64)
    return {
        "transaction_id": pa.array([evaluated.ids[row][0] for row in rows.tolist()], pa.string()),
        "account_id": pa.array([evaluated.ids[row][1] for row in rows.tolist()], pa.string()),
        "event_time_ms": evaluated.event_time_ms[rows],
        "amount_minor_reference": evaluated.amount[rows],
        "score": evaluated.score[rows],
        "outcome_now": pa.array([OUTCOMES[i] for i in evaluated.before[rows]], pa.string()),
        "outcome_proposed": pa.array([OUTCOMES[i] for i in evaluated.after[rows]], pa.string()),
        "rules": pa.array([rules_at(evaluated, change, row) for row in rows.tolist()], pa.list_(pa.string())),
    }


def _plot_days(axes: Any, days: Sequence[Day]) -> None:
    places = np.arange(len(days))
    for name, values, colour in zip(NAMES, ([d.before for d in days], [d.after for d in days]), _COLOURS, strict=True):
        axes.plot(places, values, marker="o", markersize=3, label=name, color=colour)
    axes.set(title="alerts by day", ylabel="alerts", ylim=(0, None))
    _date_axis(axes, days)
    axes.legend()


def _plot_change(axes: Any, days: Sequence[Day]) -> None:
    places = np.arange(len(days))
    axes.bar(places, [d.new for d in days], color=_COLOURS[1], label="new")
    axes.bar(places, [-d.lost for d in days], color=_COLOURS[0], label="lost")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(title="new and lost alerts by day", ylabel="alerts")
    _date_axis(axes, days)
    axes.legend()


def _date_axis(axes: Any, days: Sequence[Day]) -> None:
    shown = range(0, len(days), max(1, len(days) // 5))
    axes.set_xticks(list(shown), [date_of(days[i].start_ms) for i in shown], fontsize="small")


def _plot_rules(axes: Any, rules: Sequence[RuleResult]) -> None:
    chosen = sorted((r for r in rules if r.hits), key=lambda r: -r.hits)[:_MOST_RULES][::-1]
    places = np.arange(len(chosen))
    axes.barh(places, [r.hits for r in chosen], color="#c9d4e0", label="hits")
    axes.barh(places, [r.alerts for r in chosen], color=_COLOURS[0], label="that are alerts")
    axes.barh(places, [r.alone for r in chosen], color=_COLOURS[1], label="alerts by it alone")
    axes.set_yticks(places, [r.rule.rule_id for r in chosen], fontsize="x-small")
    axes.set(title="hits of the proposed rules", xlabel="transactions")
    if chosen:
        axes.set_xscale("symlog")
        axes.legend(fontsize="small")
