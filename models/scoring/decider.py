"""The decision stage: features in, outcome, reasons and alerts out. Models, rules and typologies meet here."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.features.catalogue import FEATURE_NAMES, FEATURE_SET, FEATURES
from models.scoring.decision import decide, outcome_of_score
from models.scoring.errors import ModelError
from models.scoring.explain import NO_REASONS, alert_id_of, encode_explanation, reason_records
from models.scoring.model import ScoringModel
from models.scoring.online import NO_SCORE, OnlineScorer
from models.scoring.reasons import Reason, ReasonBuilder, principal_reasons, reason_of_learner
from models.scoring.rule_columns import RuleColumns
from models.scoring.rules import Rule, RuleHits, RuleSet, default_rules
from models.scoring.typologies import APPROVE, Typologies, TypologyScores
from schemas.columns import F32, I64, U8, Bool, TransactionColumns
from schemas.decisions import OUTCOMES
from schemas.record_writer import Encoded
from schemas.records import encode_reasons

MAX_REMEMBERED_EXPLANATIONS = 4_096
"""Reasons apart, transactions share few explanations (which rules hit, what is warming): each is encoded once."""

_Rows = npt.NDArray[np.intp]


def rule_columns(attribute_names: tuple[str, ...] = ()) -> RuleColumns:
    """Return the columns that rules may read: the catalogue's features and the transaction's fields."""
    return RuleColumns(FEATURE_NAMES, tuple(feature.reach_ms for feature in FEATURES), attribute_names)


def default_rule_set(attribute_names: tuple[str, ...] = ()) -> RuleSet:
    """Compile the shipped rules."""
    return RuleSet.compile(default_rules(), rule_columns(attribute_names))


@dataclass(frozen=True, slots=True)
class Scores:
    """What model and learner said of n transactions."""

    decided: F32  # (n,) what is decided by
    model: F32  # (n,) 0 where it gave none
    learner: F32  # (n,) NO_SCORE where it gave none
    inputs: F32  # (n, F) of the model
    is_missing: Bool  # (n,) the model gave none


@dataclass(frozen=True, slots=True)
class Decided:
    """Decisions on n transactions, with all that was found out on the way."""

    outcome: U8  # (n,) 0 approve, 1 review, 2 decline
    score: F32  # (n,) what was decided by
    model_score: F32  # (n,) the batch model's; NO_SCORE where it gave none
    learner_score: F32  # (n,) the online learner's; NO_SCORE where it gave none
    typology_score: F32  # (n,) highest of any typology
    rules_outcome: U8  # (n,) what the rules alone ask for
    explanation: Mapping[int, bytes]  # row -> Explanation in Avro binary, where it is not the default
    default_explanation: bytes
    reasons: Mapping[int, tuple[Reason, ...]]  # row -> principal reasons, for every row that is not approved
    encoded_reasons: Mapping[int, Encoded]  # row -> these in Avro binary, as they stand in explanation and alert
    typologies: Mapping[int, tuple[str, ...]]  # row -> typologies that reached a threshold, for those rows
    degraded: Mapping[int, tuple[str, ...]]  # row -> missing parts, for those rows
    hits: RuleHits
    scores: Scores

    @property
    def alert_rows(self) -> _Rows:
        """Rows that are not approved, in order."""
        return np.flatnonzero(self.outcome != APPROVE)


class Decider:
    """Decides on batches with one model and one rule set. Stateless between batches; replace it to change either.

    Parameters
    ----------
    model
        None scores 0 and lets the rules decide alone, degraded `model`.
    rules
        Rules in force.
    learner
        Online learner in force; None decides by the model alone.
    """

    def __init__(self, model: ScoringModel | None, rules: RuleSet, learner: OnlineScorer | None = None) -> None:
        self.model = model
        self.rules = rules
        self.learner = learner
        self.typologies = Typologies(rules.rules)
        self._remembered: dict[tuple[bytes, bytes, tuple[str, ...]], bytes] = {}
        if model is None:
            return
        unknown = sorted(set(model.feature_names) - set(FEATURE_NAMES))
        if unknown:
            raise ModelError(
                f"model {model.name} {model.version} needs the feature {unknown[0]!r}, which catalogue {FEATURE_SET} "
                f"does not have (the model was made for {model.feature_set}); train it again with `make models`"
            )
        # Unknown to the store is not the same as unused: the model may read fewer columns, in another order.
        self._inputs: _Rows | None = None
        if model.feature_names != FEATURE_NAMES:
            self._inputs = np.array([FEATURE_NAMES.index(name) for name in model.feature_names], np.intp)
        self._reasons = ReasonBuilder(model.feature_names, model.usual_values)

    @property
    def model_name(self) -> str:
        """Name of the model for decisions; empty without one."""
        return self.model.name if self.model else ""

    @property
    def model_version(self) -> str:
        """Version of the model for decisions; empty without one."""
        return self.model.version if self.model else ""

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the model's card; empty without a model."""
        return self.model.card_sha256 if self.model else ""

    def with_rules(self, rules: RuleSet) -> Decider:
        """Return a decider with other rules."""
        return Decider(self.model, rules, self.learner)

    def with_model(self, model: ScoringModel | None) -> Decider:
        """Return a decider with another model."""
        return Decider(model, self.rules, self.learner)

    def with_learner(self, learner: OnlineScorer | None) -> Decider:
        """Return a decider with another online learner; nothing else is built anew, so it may change every second."""
        changed = copy.copy(self)
        changed.learner = learner
        return changed

    def decide(
        self,
        columns: TransactionColumns,
        X: F32,
        history_ms: I64 | int,
        degraded: tuple[str, ...] = (),
        degraded_rows: Mapping[str, Bool] | None = None,
    ) -> Decided:
        """Decide on a batch.

        Parameters
        ----------
        columns
            n transactions.
        X
            (n, F) features in the catalogue's order; NaN is missing.
        history_ms
            How far back the stream's history reaches at each transaction: (n,) or one for all.
        degraded
            Parts that are missing for the whole batch, such as `reference`.
        degraded_rows
            Parts that are missing for some rows, such as `entities`: (n,) true where missing.

        Notes
        -----
        A row's decision depends on its own columns alone, never on the batch it came in. Costs per batch some column
        passes for the rules and the model's run; per row only where a rule hit or the outcome is not approve.
        """
        hits = self.rules.evaluate(columns, X, history_ms)
        return self.judge(hits, self.score(X), degraded, degraded_rows)

    def judge(
        self,
        hits: RuleHits,
        scores: Scores,
        degraded: tuple[str, ...] = (),
        degraded_rows: Mapping[str, Bool] | None = None,
        is_explained: bool = True,
    ) -> Decided:
        """Decide on a batch whose rules were evaluated, and which was scored, already.

        Parameters
        ----------
        hits
            Of the rules in force.
        scores
            Of the model and the learner in force.
        degraded, degraded_rows
            As `decide` takes them.
        is_explained
            False leaves the explanations out: of alerts they are no part.
        """
        typology = self.typologies.score(hits.hits)
        score, unscored = scores.decided, scores.is_missing
        missing = dict(degraded_rows or {})
        if self.model is None:
            degraded = (*degraded, "model")
        elif bool(unscored.any()):
            missing["model"] = unscored
        degraded = (*degraded, *(f"rule:{rule_id}" for rule_id in hits.failed))
        outcome = decide(score, self.model.thresholds if self.model else None, typology.outcome)
        backgrounds = _Backgrounds(hits.warming, degraded, missing)
        alerts = np.flatnonzero(outcome != APPROVE)
        reasons = self._principal_reasons(alerts, outcome, scores, typology, hits.hits)
        encoded_reasons = {row: encode_reasons(reason_records(some)) for row, some in reasons.items()}
        return Decided(
            outcome=outcome,
            score=score,
            model_score=np.where(unscored, np.float32(NO_SCORE), scores.model),
            learner_score=scores.learner,
            typology_score=typology.highest,
            rules_outcome=typology.outcome,
            explanation=self._explanations(hits, backgrounds, encoded_reasons) if is_explained else {},
            default_explanation=(
                self._explain(np.zeros(hits.hits.shape[1], np.bool_), *backgrounds.default) if is_explained else b""
            ),
            reasons=reasons,
            encoded_reasons=encoded_reasons,
            typologies=self._reached(typology, alerts),
            degraded={row: backgrounds.of(row)[1] for row in alerts.tolist()},
            hits=hits,
            scores=scores,
        )

    def score(self, X: F32) -> Scores:
        """Ask model and learner about (n, F) features in the catalogue's order."""
        none = np.full(len(X), NO_SCORE, np.float32)
        if self.model is None:
            nothing = np.zeros(len(X), np.float32)
            return Scores(nothing, nothing, none, X, np.ones(len(X), np.bool_))
        inputs = X if self._inputs is None else X[:, self._inputs]
        score = self.model.predict(inputs)
        unscored = ~np.isfinite(score)
        score = np.where(unscored, np.float32(0.0), score)
        if self.learner is None:
            return Scores(score, score, none, inputs, unscored)
        learned, decided = self.learner.score(X, score)
        return Scores(np.where(unscored, score, decided), score, learned, inputs, unscored)

    def _principal_reasons(
        self, alerts: _Rows, outcome: U8, scores: Scores, typology: TypologyScores, hits: Bool
    ) -> dict[int, tuple[Reason, ...]]:
        if len(alerts) == 0:
            return {}
        reasons = {}
        score, inputs = scores.decided, scores.inputs
        contributions = self.model.contributions(inputs[alerts]) if self.model else None
        asked = (
            outcome_of_score(score[alerts], self.model.thresholds) if self.model else np.zeros(len(alerts), np.uint8)
        )
        of_model = [] if contributions is None else self._reasons.of_features(inputs[alerts], contributions)
        is_raised = self._is_raised(scores, alerts)
        hit_rules = _places_by_row(hits[alerts])
        for i, row in enumerate(alerts.tolist()):
            from_model: list[Reason] = []
            if of_model:
                from_model = of_model[i]
                if is_raised[i]:
                    from_model = [reason_of_learner(scores.learner[row], scores.model[row], score[row]), *from_model]
            deciding: list[Rule] = []
            other: list[Rule] = []
            for r in hit_rules[i]:
                is_deciding = typology.outcomes[row, self.typologies.of_rule[r]] == outcome[row]
                (deciding if is_deciding else other).append(self.rules.rules[r])
            score_asks = bool(asked[i] == outcome[row])
            reasons[row] = tuple(principal_reasons(from_model, deciding, other, score_asks))
        return reasons

    def _is_raised(self, scores: Scores, rows: _Rows) -> list[bool]:
        """Whether the model alone would have asked for less, at each of some rows."""
        if self.model is None:
            return [False] * len(rows)
        own = outcome_of_score(scores.model[rows], self.model.thresholds)
        decided = outcome_of_score(scores.decided[rows], self.model.thresholds)
        raised: list[bool] = (decided > own).tolist()
        return raised

    def _reached(self, typology: TypologyScores, alerts: _Rows) -> dict[int, tuple[str, ...]]:
        found = {}
        for row, reached in zip(alerts.tolist(), _places_by_row(typology.outcomes[alerts] != APPROVE), strict=True):
            ordered = sorted((-float(typology.scores[row, t]), self.typologies.names[t]) for t in reached)
            found[row] = tuple(name for _, name in ordered)
        return found

    def _explanations(
        self, hits: RuleHits, backgrounds: _Backgrounds, encoded_reasons: Mapping[int, Encoded]
    ) -> dict[int, bytes]:
        speaks = hits.hits.any(axis=1) | backgrounds.differs
        speaks[list(encoded_reasons)] = True
        found = {}
        for row in np.flatnonzero(speaks).tolist():
            explanation = self._explain(hits.hits[row], *backgrounds.of(row))
            if (reasons := encoded_reasons.get(row)) is not None:
                explanation = reasons + explanation[len(NO_REASONS) :]
            found[row] = explanation
        return found

    def _explain(self, hit: Bool, warming: Bool, degraded: tuple[str, ...]) -> bytes:
        """Return an explanation without reasons, which would be its first field."""
        key = (np.packbits(hit).tobytes(), np.packbits(warming).tobytes(), degraded)
        if (known := self._remembered.get(key)) is not None:
            return known
        rules = self.rules.rules
        explanation = encode_explanation(
            (),
            [rules[r] for r in np.flatnonzero(hit)],
            [rules[r].rule_id for r in np.flatnonzero(warming)],
            degraded,
        )
        if len(self._remembered) >= MAX_REMEMBERED_EXPLANATIONS:
            self._remembered.clear()
        self._remembered[key] = explanation
        return explanation

    def alerts(
        self,
        decided: Decided,
        columns: TransactionColumns,
        source_time_ms: I64,
        decision_time_ms: int,
        mode: str = "live",
        run_id: str = "",
    ) -> dict[int, dict[str, Any]]:
        """Return the alert of every row that is not approved, as records of `alert.avsc`, by row.

        Parameters
        ----------
        decided
            What `decide` said of `columns`.
        columns
            The transactions.
        source_time_ms
            (n,) Kafka record timestamps of the transactions.
        decision_time_ms
            Wall clock of the decision, read by the caller.
        mode, run_id
            Kind and name of the run.
        """
        alerts = {}
        for row in decided.alert_rows.tolist():
            transaction_id = columns.transaction_id.text_at(row) or ""
            alerts[row] = {
                "alert_id": alert_id_of(transaction_id, mode),
                "revision": 0,
                "supersedes": None,
                "transaction_id": transaction_id,
                "account_id": columns.account_id.text_at(row) or "",
                "counterparty_id": columns.counterparty_id.text_at(row) or "",
                "event_time_ms": int(columns.event_time_ms[row]),
                "source_time_ms": int(source_time_ms[row]),
                "decision_time_ms": decision_time_ms,
                "amount_minor": int(columns.amount_minor[row]),
                "currency": columns.currency.text_at(row) or "",
                "outcome": OUTCOMES[decided.outcome[row]],
                "score": float(decided.score[row]),
                "typology_score": float(decided.typology_score[row]),
                "typologies": list(decided.typologies[row]),
                "reasons": reason_records(decided.reasons[row]),
                "degraded": list(decided.degraded[row]),
                "model_name": self.model_name,
                "model_version": self.model_version,
                "rules_version": self.rules.version,
                "mode": mode,
                "run_id": run_id,
                "is_final": True,
                "score_before": None,
                "outcome_before": None,
                "change": "",
                "evidence": [],
            }
        return alerts


def _places_by_row(holds: Bool) -> list[list[int]]:
    """Return in which columns each row holds, in order."""
    places: list[list[int]] = [[] for _ in range(len(holds))]
    for row, column in zip(*(axis.tolist() for axis in np.nonzero(holds)), strict=True):
        places[row].append(column)
    return places


class _Backgrounds:
    """What explanations say besides reasons and hits: per row what is warming and what is missing.

    Nearly always the same for a whole batch; the first row's is taken as the default.
    """

    def __init__(self, warming: Bool, degraded: tuple[str, ...], missing: Mapping[str, Bool]) -> None:
        self._warming = warming
        self._degraded = degraded
        self._missing = missing
        self.differs: Bool = np.zeros(len(warming), np.bool_)
        if len(warming):
            self.differs |= (warming != warming[0]).any(axis=1)
        for is_missing in missing.values():
            self.differs |= is_missing
        rules = warming.shape[1]
        self.default = (warming[0] if len(warming) else np.zeros(rules, np.bool_), degraded)

    def of(self, row: int) -> tuple[Bool, tuple[str, ...]]:
        """Return which rules are warming at a row, and what is missing there."""
        further = tuple(name for name, is_missing in self._missing.items() if is_missing[row])
        return self._warming[row], (*self._degraded, *further)
