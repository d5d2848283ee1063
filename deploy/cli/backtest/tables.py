"""A back-test as tables of text: for the terminal and for the page alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np

from deploy.cli.replay.judged import Verdict
from deploy.cli.replay.tables import Table, judged_tables
from deploy.cli.show import number
from models.backtest.evaluation import Evaluated
from models.backtest.rule_change import REMOVED, RuleChange
from models.backtest.summary import Day, RuleResult
from models.scoring.typologies import APPROVE
from schemas.decisions import OUTCOMES

NAMES = ("now", "proposed")
"""What the two rule sets are called."""


def date_of(time_ms: int) -> str:
    """Show a day."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat()


def overview_of(evaluated: Evaluated, days: Sequence[Day]) -> Table:
    """Return the sums."""
    before, after = int((evaluated.before != APPROVE).sum()), int((evaluated.after != APPROVE).sum())
    other = (evaluated.before != APPROVE) & (evaluated.after != APPROVE) & (evaluated.before != evaluated.after)
    span = f", {date_of(days[0].start_ms)} to {date_of(days[-1].start_ms)}" if days else ""
    rows = [
        ("transactions", f"{len(evaluated):,}"),
        ("alerts by the rules in force", f"{before:,}"),
        ("alerts by the proposed rules", f"{after:,}"),
        ("new alerts", f"{int(evaluated.new.sum()):,}"),
        ("lost alerts", f"{int(evaluated.lost.sum()):,}"),
        ("alerts with another outcome", f"{int(other.sum()):,}"),
    ]
    if evaluated.recorded is not None:
        rows.append(("alerts on record", f"{int((evaluated.recorded != APPROVE).sum()):,}"))
    return Table(f"Back-test{span}", ("", ""), tuple(rows))


def tables_of(
    evaluated: Evaluated,
    change: RuleChange,
    days: Sequence[Day],
    rules: Sequence[RuleResult],
    verdicts: tuple[Verdict, Verdict] | None,
    examples: int,
) -> Iterator[Table]:
    """Yield the tables that there is something to say in."""
    yield overview_of(evaluated, days)
    if days:
        yield Table(
            "By day",
            ("day", "transactions", *NAMES, "new", "lost"),
            tuple((date_of(day.start_ms), *(f"{n:,}" for n in (day.transactions, day.before, day.after, day.new,
                                                               day.lost))) for day in days),
        )  # fmt: skip
    ordered = sorted(rules, key=lambda result: (result.state == "kept", result.rule.rule_id))
    yield Table(
        "By rule",
        ("rule", "", "hits now", "hits", "alerts", "alone"),
        tuple(
            (r.rule.rule_id, r.state, *(f"{n:,}" for n in (r.hits_before, r.hits, r.alerts, r.alone))) for r in ordered
        ),
    )
    if verdicts is not None:
        yield Table(
            "By rule, against the labels",
            ("rule", "labelled hits", "frauds", "precision", "recall"),
            tuple(
                (r.rule.rule_id, f"{r.labelled:,}", f"{r.frauds:,}", number(r.precision), number(r.recall))
                for r in ordered
                if r.labelled
            ),
        )
    if verdicts is not None:
        yield from judged_tables(NAMES, verdicts)
    rows = tuple(_example(evaluated, change, row) for row in example_rows(evaluated, examples))
    if rows:
        yield Table("Some that are decided otherwise", ("transaction", "account", *NAMES, "score", "rules"), rows)


def example_rows(evaluated: Evaluated, count: int) -> list[int]:
    """Return rows of new and of lost alerts, at most `count` of each, the highest scores first."""
    found: list[int] = []
    for chosen in (evaluated.new, evaluated.lost):
        rows = np.flatnonzero(chosen)
        found += rows[np.argsort(-evaluated.score[rows], kind="stable")][:count].tolist()
    return found


def rules_at(evaluated: Evaluated, change: RuleChange, row: int) -> list[str]:
    """Return the ids of the rules of either set that hit a transaction, the proposed ones without mark."""
    at = int(np.searchsorted(evaluated.hit_rows, row))
    if at == len(evaluated.hit_rows) or int(evaluated.hit_rows[at]) != row:
        return []
    proposed = set(change.in_proposed.tolist())
    return [
        change.rules[place].rule_id + ("" if place in proposed else f" ({_gone(change, place)})")
        for place in np.flatnonzero(evaluated.hits[at]).tolist()
    ]


def _gone(change: RuleChange, place: int) -> str:
    return REMOVED if change.state(change.rules[place].rule_id) == REMOVED else "as in force"


def _example(evaluated: Evaluated, change: RuleChange, row: int) -> tuple[str, ...]:
    transaction, account = evaluated.ids[row]
    return (
        transaction, account, OUTCOMES[evaluated.before[row]], OUTCOMES[evaluated.after[row]],
        f"{evaluated.score[row]:.3f}", ", ".join(rules_at(evaluated, change, row)),
    )  # fmt: skip
