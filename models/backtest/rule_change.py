"""Two rule sets asked at once: the rules in force, and those that somebody would like to see in force."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.scoring.rule_columns import RuleColumns
from models.scoring.rules import Rule, RuleSet
from models.scoring.typologies import Typologies
from schemas.columns import F32, I64, Bool, TransactionColumns

KEPT, ADDED, REPLACED, REMOVED = "kept", "added", "replaced", "removed"
"""What the change does to a rule."""

_Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class AskedHits:
    """Hits of n transactions."""

    hits: Bool  # (n, U) in the order of RuleChange.rules
    failed: tuple[str, ...]  # ids of rules that could not be evaluated


class RuleChange:
    """The rules in force and the proposed ones. A rule that both have is asked once.

    Parameters
    ----------
    current, proposed
        The rules; disabled ones are in neither set.
    columns
        What rules may read.

    Raises
    ------
    RuleError
        If a rule is refused.
    """

    def __init__(self, current: Iterable[Rule], proposed: Iterable[Rule], columns: RuleColumns) -> None:
        self.current = RuleSet.compile(current, columns)
        self.proposed = RuleSet.compile(proposed, columns)
        known = set(self.current.rules)
        self._added = RuleSet.compile([rule for rule in self.proposed.rules if rule not in known], columns)
        self.rules: tuple[Rule, ...] = (*self.current.rules, *self._added.rules)
        places = {rule: place for place, rule in enumerate(self.rules)}
        self.in_current: _Rows = np.array([places[rule] for rule in self.current.rules], np.intp)
        self.in_proposed: _Rows = np.array([places[rule] for rule in self.proposed.rules], np.intp)
        self.current_typologies = Typologies(self.current.rules)
        self.proposed_typologies = Typologies(self.proposed.rules)

    def evaluate(self, columns: TransactionColumns, X: F32, history_ms: I64 | int) -> AskedHits:
        """Ask every rule of either set; parameters as of `RuleSet.evaluate`."""
        now = self.current.evaluate(columns, X, history_ms)
        new = self._added.evaluate(columns, X, history_ms)
        return AskedHits(np.hstack([now.hits, new.hits]), tuple(dict.fromkeys((*now.failed, *new.failed))))

    def state(self, rule_id: str) -> str:
        """Return what the change does to a rule."""
        before = {rule.rule_id: rule for rule in self.current.rules}.get(rule_id)
        after = {rule.rule_id: rule for rule in self.proposed.rules}.get(rule_id)
        if before is None or after is None:
            return ADDED if before is None else REMOVED
        return KEPT if before == after else REPLACED


def proposed_rules(current: Iterable[Rule], given: Iterable[Rule], only: bool) -> tuple[Rule, ...]:
    """Return the rules in force after `given` ones are added, in the place of those of the same ids; or they alone."""
    if only:
        return tuple(given)
    merged = {rule.rule_id: rule for rule in current}
    merged |= {rule.rule_id: rule for rule in given}
    return tuple(merged.values())
