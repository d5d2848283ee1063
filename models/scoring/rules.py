"""Analysts' rules: conditions over a transaction and its features, evaluated on whole batches."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib import resources
from typing import Any

import numpy as np
import polars as pl

from models.scoring.errors import RuleError
from models.scoring.rule_columns import RuleColumns
from models.scoring.rule_program import Instructions, RuleProgram, compile_rule
from models.scoring.rule_syntax import parse_expression
from schemas.columns import F32, I64, Bool, TransactionColumns

MAX_RULES = 500
"""Rules in one set: each is evaluated on every batch."""

MAX_DESCRIPTION_CHARACTERS = 500

LIVE, SHADOW = "live", "shadow"
"""A rule's mode: it decides, or it is only tried out. Symbols of the schema's enum `RuleMode`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One analysts' condition; fields as in `rule.avsc`."""

    rule_id: str
    version: int
    description: str
    expression: str
    typology: str
    weight: float
    review_threshold: float = 0.5
    decline_threshold: float = 1.0
    is_enabled: bool = True
    mode: str = LIVE

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Rule:
        """Make a rule of a decoded record or of JSON, and check all but the expression.

        Raises
        ------
        RuleError
            Where a field is missing, unknown, of the wrong type, or out of its range.
        """
        known = {field.name: field.type for field in fields(cls)}
        unknown = sorted(set(record) - set(known))
        if unknown:
            raise RuleError(f"unknown field {unknown[0]!r}; a rule has {', '.join(known)}")
        try:
            rule = cls(**record)
        except TypeError as error:
            raise RuleError(f"a field of the rule is missing: {error}") from error
        rule._check()
        return rule

    def _check(self) -> None:
        name = self.rule_id if isinstance(self.rule_id, str) else repr(self.rule_id)
        kinds: dict[type, tuple[str, ...]] = {
            str: ("rule_id", "description", "expression", "typology", "mode"),
            bool: ("is_enabled",),
        }
        for kind, names in kinds.items():
            for field in names:
                if not isinstance(getattr(self, field), kind):
                    raise RuleError(
                        f"rule {name[:64]}: {field} must be {kind.__name__}, found {getattr(self, field)!r}"
                    )
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", name):
            raise RuleError(f"rule id {name[:64]!r}: use 1 to 64 lower-case letters, digits and hyphens")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", self.typology):
            raise RuleError(f"rule {name}: typology {self.typology[:64]!r} must be 1 to 64 of a-z, 0-9, - and _")
        if self.mode not in (LIVE, SHADOW):
            raise RuleError(f"rule {name}: mode must be {LIVE} or {SHADOW}, found {self.mode[:64]!r}")
        if len(self.description) > MAX_DESCRIPTION_CHARACTERS:
            raise RuleError(f"rule {name}: the description is longer than {MAX_DESCRIPTION_CHARACTERS} characters")
        if isinstance(self.version, bool) or not isinstance(self.version, int) or not 0 < self.version < 2**31:
            raise RuleError(f"rule {name}: version must be a whole number from 1, found {self.version!r}")
        if not _is_number(self.weight) or not 0 < self.weight <= 1:
            raise RuleError(f"rule {name}: weight must be above 0 and at most 1, found {self.weight!r}")
        for field in ("review_threshold", "decline_threshold"):
            value = getattr(self, field)
            if not _is_number(value) or not 0 < value <= 2:
                raise RuleError(f"rule {name}: {field} must be above 0 and at most 2 (never), found {value!r}")


@dataclass(frozen=True, slots=True)
class RuleHits:
    """What the rules said of n transactions."""

    hits: Bool  # (n, R), R rules in the order of RuleSet.rules
    warming: Bool  # (n, R): the rule needs more history than the stream had; such a rule never hits
    failed: tuple[str, ...]  # ids of rules that could not be evaluated on this batch


class RuleSet:
    """Rules in force, compiled. Immutable: `with_rule` and `without` return the next set.

    `rules` are the enabled ones of the set's modes, in order of their ids; `version` names them in decisions. A set of
    live rules keeps the shadow rules in `all_rules` and does not evaluate them; `in_modes` returns a set that does.
    """

    def __init__(
        self,
        all_rules: Mapping[str, Rule],
        columns: RuleColumns,
        compiled: Mapping[Rule, _Compiled],
        modes: tuple[str, ...] = (LIVE,),
    ) -> None:
        self.all_rules = dict(sorted(all_rules.items()))
        self.modes = modes
        self.rules: tuple[Rule, ...] = tuple(
            rule for rule in self.all_rules.values() if rule.is_enabled and rule.mode in modes
        )
        self.version = rules_version(self.rules)
        self._columns = columns
        self._compiled = dict(compiled)
        self._expressions = [compiled[rule].expression.fill_null(False).alias(rule.rule_id) for rule in self.rules]
        self._reads = [compiled[rule].columns for rule in self.rules]
        programs = [compiled[rule].program for rule in self.rules]
        self._program = RuleProgram(program for program in programs if program is not None)
        self._in_program = np.array([r for r, program in enumerate(programs) if program is not None], np.intp)
        self._in_polars = [r for r, program in enumerate(programs) if program is None]
        windows = [compiled[rule].window_ms for rule in self.rules]
        self._windows_ms: I64 = np.array(windows, np.int64)
        self._longest_ms = max(windows, default=0)

    @classmethod
    def compile(cls, rules: Iterable[Rule], columns: RuleColumns) -> RuleSet:
        """Compile rules for the given columns.

        Raises
        ------
        RuleError
            Where an expression is refused or an id occurs twice; the message names the rule.
        """
        compiled: dict[Rule, _Compiled] = {}
        all_rules: dict[str, Rule] = {}
        for rule in rules:
            if rule.rule_id in all_rules:
                raise RuleError(f"rule {rule.rule_id}: the id occurs twice")
            all_rules[rule.rule_id] = rule
            compiled[rule] = _compile(rule, columns)
        if len(all_rules) > MAX_RULES:
            raise RuleError(f"{len(all_rules)} rules, at most {MAX_RULES} are evaluated; merge or remove some")
        return cls(all_rules, columns, compiled)

    def with_rule(self, rule: Rule) -> RuleSet:
        """Return the set in which `rule` takes the place of the rule of its id. Raises RuleError like `compile`."""
        all_rules = {**self.all_rules, rule.rule_id: rule}
        if len(all_rules) > MAX_RULES:
            raise RuleError(f"{len(all_rules)} rules, at most {MAX_RULES} are evaluated; merge or remove some")
        compiled = {**self._kept(rule.rule_id), rule: _compile(rule, self._columns)}
        return RuleSet(all_rules, self._columns, compiled, self.modes)

    def without(self, rule_id: str) -> RuleSet:
        """Return the set without the rule of this id; the same rules where there is none."""
        all_rules = {name: rule for name, rule in self.all_rules.items() if name != rule_id}
        return RuleSet(all_rules, self._columns, self._kept(rule_id), self.modes)

    def in_modes(self, *modes: str) -> RuleSet:
        """Return the set that evaluates the rules of these modes; nothing is compiled anew."""
        return RuleSet(self.all_rules, self._columns, self._compiled, modes)

    def _kept(self, rule_id: str) -> dict[Rule, _Compiled]:
        return {rule: compiled for rule, compiled in self._compiled.items() if rule.rule_id != rule_id}

    @property
    def reads(self) -> tuple[tuple[str, ...], ...]:
        """Columns that each of `rules` reads."""
        return tuple(self._reads)

    def evaluate(self, columns: TransactionColumns, X: F32, history_ms: I64 | int) -> RuleHits:
        """Ask every rule about every transaction.

        Parameters
        ----------
        columns
            n transactions.
        X
            (n, F) features in the order of the RuleColumns; NaN is missing.
        history_ms
            How far back the stream's history reaches at each transaction: its event time minus the event time of the
            first transaction seen; (n,) or one for all.

        Returns
        -------
        Hits, where null counts as no hit, and what is warming. Never raises for a rule's sake: a rule that fails on
        this batch's values has no hit and is named in `failed`.
        """
        hits = np.zeros((len(X), len(self.rules)), np.bool_)
        warming = np.zeros(hits.shape, np.bool_)
        if hits.size == 0:
            return RuleHits(hits, warming, ())
        asked = self._in_polars
        if len(self._in_program):
            answers, is_beyond = self._program.run(X, columns.channel)
            hits[:, self._in_program] = answers
            asked = sorted([*asked, *self._in_program[is_beyond].tolist()])
        failed = self._ask_polars(asked, columns, X, hits) if asked else ()
        if int(np.min(history_ms)) < self._longest_ms:
            warming[:] = np.asarray(history_ms, np.int64).reshape(-1, 1) < self._windows_ms
            hits &= ~warming
        return RuleHits(hits, warming, failed)

    def _ask_polars(self, asked: list[int], columns: TransactionColumns, X: F32, hits: Bool) -> tuple[str, ...]:
        """Write the hits of some rules; return the ids of those that could not be evaluated."""
        # Nothing is built of the columns that none of these rules reads.
        frame = self._columns.frame(sorted({name for r in asked for name in self._reads[r]}), columns, X)
        expressions = [self._expressions[r] for r in asked]
        try:
            answers: list[pl.Series | None] = list(frame.select_seq(expressions).get_columns())
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            answers = [_one_answer(frame, expression) for expression in expressions]
        for r, answer in zip(asked, answers, strict=True):
            hits[:, r] = False if answer is None else answer.to_numpy()
        return tuple(self.rules[r].rule_id for r, answer in zip(asked, answers, strict=True) if answer is None)


@dataclass(frozen=True, slots=True)
class _Compiled:
    expression: pl.Expr
    columns: tuple[str, ...]
    window_ms: int
    program: Instructions | None  # None where only polars can evaluate the expression


def default_rules() -> tuple[Rule, ...]:
    """Return the rules that are in force until the control topic changes them (`default_rules.json`)."""
    return rules_of(resources.files("models.scoring").joinpath("default_rules.json").read_text("utf-8"))


def rules_of(text: str) -> tuple[Rule, ...]:
    """Return the rules of a JSON list of records of `rule.avsc`.

    Raises
    ------
    RuleError
        If the text is no such list.
    """
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        raise RuleError(f"the rules are not valid JSON: {error}") from error
    if not isinstance(records, list):
        raise RuleError(f"the rules are a JSON {type(records).__name__}; a list of rules was expected")
    return tuple(Rule.from_record(record) for record in records)


def rules_version(rules: Iterable[Rule]) -> str:
    """Return 16 hexadecimal digits that change with any change of the rules in force.

    The mode does not count: what a rule's hit does to a decision is the same in a live set and on trial, so a set on
    trial has the version that it will have when it is live.
    """
    ordered = sorted(rules, key=lambda rule: (rule.rule_id, rule.version))
    # Avro carries weights and thresholds as float32: rounding names a rule alike before and after its journey.
    records = [
        {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in asdict(rule).items()
            if name != "mode"
        }
        for rule in ordered
    ]
    text = json.dumps(records, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _compile(rule: Rule, columns: RuleColumns) -> _Compiled:
    by_name = columns.by_name
    try:
        expression, names = parse_expression(rule.expression, {name: c.dtype for name, c in by_name.items()})
    except RuleError as error:
        raise RuleError(f"rule {rule.rule_id}: {error}") from error
    tree = json.loads(expression.meta.serialize(format="json"))
    program = compile_rule(tree, {name: place for place, name in enumerate(columns.feature_names)})
    return _Compiled(expression, names, max(by_name[name].window_ms for name in names), program)


def _one_answer(frame: pl.DataFrame, expression: pl.Expr) -> pl.Series | None:
    try:
        return frame.select_seq(expression).to_series()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
