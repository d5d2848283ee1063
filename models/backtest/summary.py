"""What a back-test says: by day, and by rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.backtest.evaluation import Evaluated
from models.backtest.rule_change import REMOVED, RuleChange
from models.scoring.rules import Rule
from models.scoring.typologies import APPROVE, Typologies
from schemas.columns import I64, Bool

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Day:
    """One day, UTC, by event time."""

    start_ms: int
    transactions: int
    before: int  # alerts by the rules in force
    after: int  # alerts by the proposed rules
    new: int
    lost: int


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule of either set.

    Attributes
    ----------
    rule, state
        The rule as proposed (as in force where it is removed), and what the change does to it.
    hits_before, hits
        Transactions that it hits as in force and as proposed.
    alerts
        Those of its hits that are alerts under the proposed rules.
    alone
        Alerts under the proposed rules that would be none without this rule.
    labelled, frauds
        Of its hits as proposed: how many have a label, and how many of those are fraud.
    precision
        frauds / labelled; NaN without labelled hits.
    recall
        frauds / all labelled frauds; NaN where there are none.
    """

    rule: Rule
    state: str
    hits_before: int
    hits: int
    alerts: int
    alone: int
    labelled: int
    frauds: int
    precision: float
    recall: float


def first_day_ms(newest_ms: int, days: int) -> int:
    """Return where the last `days` days begin, UTC, of which the newest transaction's is the last."""
    return (newest_ms // DAY_MS - days + 1) * DAY_MS


def days_of(evaluated: Evaluated) -> tuple[Day, ...]:
    """Return every day from the first transaction's to the last one's."""
    if not len(evaluated):
        return ()
    day = evaluated.event_time_ms // DAY_MS
    first = int(day.min())
    at: I64 = day - first
    count = int(at.max()) + 1

    def by_day(chosen: Bool) -> list[int]:
        found: list[int] = np.bincount(at[chosen], minlength=count).tolist()
        return found

    columns = zip(
        by_day(np.ones(len(evaluated), np.bool_)), by_day(evaluated.before != APPROVE),
        by_day(evaluated.after != APPROVE), by_day(evaluated.new), by_day(evaluated.lost), strict=True,
    )  # fmt: skip
    return tuple(Day((first + i) * DAY_MS, *counts) for i, counts in enumerate(columns))


def rules_of(
    evaluated: Evaluated, change: RuleChange, is_labelled: Bool | None = None, is_fraud: Bool | None = None
) -> tuple[RuleResult, ...]:
    """Return what each rule did, by rule id.

    Parameters
    ----------
    evaluated, change
        The back-test.
    is_labelled, is_fraud
        (n,) which transactions have a label, and which of those are fraud; None without labels.
    """
    labelled = np.zeros(len(evaluated), np.bool_) if is_labelled is None else is_labelled
    fraud = np.zeros(len(evaluated), np.bool_) if is_fraud is None else is_fraud & labelled
    frauds = int(fraud.sum())
    rows = evaluated.hit_rows
    is_alert = evaluated.after[rows] != APPROVE
    before = {rule.rule_id: place for rule, place in zip(change.current.rules, change.in_current, strict=True)}
    after = {rule.rule_id: place for rule, place in zip(change.proposed.rules, change.in_proposed, strict=True)}
    alone = _alone(evaluated, change)
    none = np.zeros(len(rows), np.bool_)
    results = []
    for rule_id in sorted({*before, *after}):
        state = change.state(rule_id)
        hits = none if state == REMOVED else evaluated.hits[:, after[rule_id]]
        hits_before = evaluated.hits[:, before[rule_id]] if rule_id in before else none
        known, caught = int((hits & labelled[rows]).sum()), int((hits & fraud[rows]).sum())
        results.append(
            RuleResult(
                change.rules[after[rule_id] if rule_id in after else before[rule_id]], state, int(hits_before.sum()),
                int(hits.sum()), int((hits & is_alert).sum()), alone.get(rule_id, 0), known, caught,
                caught / known if known else float("nan"), caught / frauds if frauds else float("nan"),
            )
        )  # fmt: skip
    return tuple(results)


def _alone(evaluated: Evaluated, change: RuleChange) -> dict[str, int]:
    """Count the alerts that each proposed rule causes alone: those that would not be there without it.

    Such an alert is one that neither the score nor any other typology asks for. Without the rule its typology has
    neither its weight nor its thresholds.
    """
    rules = change.proposed.rules
    typologies = change.proposed_typologies
    rows = evaluated.asked[evaluated.hit_rows] == APPROVE
    hits = evaluated.hits[rows][:, change.in_proposed]
    asks = typologies.score(hits).outcomes != APPROVE  # (m, T)
    is_single = asks.sum(axis=1) == 1
    of_rule = np.array(typologies.of_rule, np.intp)
    found = {}
    for r, rule in enumerate(rules):
        held = hits[is_single & asks[:, of_rule[r]]]
        others = [other for other in np.flatnonzero(of_rule == of_rule[r]).tolist() if other != r]
        left = Typologies([rules[other] for other in others]).score(held[:, others]).outcome
        found[rule.rule_id] = int((left == APPROVE).sum())
    return found
