"""What is on trial says what it would raise, and touches no byte of what is decided."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.features.catalogue import FEATURE_NAMES
from models.scoring.core_settings import CoreSettings
from models.scoring.decider import Decider
from models.scoring.explain import alert_id_of
from models.scoring.model import ScoringModel
from models.scoring.pipeline import ScoringCore
from models.scoring.rules import LIVE, SHADOW, Rule, RuleSet
from models.scoring.shadow import Shadow
from online_learning.combination.live_learner import LiveLearner
from schemas.records import decode_record
from tests.builders import a_transaction, transaction_columns
from tests.learner_updates import an_update
from tests.recorded import TEST_MODEL, Recorded, a_decider, comparable, record_stream
from tests.unit.scoring.test_decider import LONG_AGO, a_matrix

CORE = CoreSettings(shards=2, dedupe_horizon=2048)
LIVE_DECIDER = a_decider()
FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@functools.cache
def stream(seed: int) -> Recorded:
    return record_stream(400, seed=seed, accounts=200)


@dataclass
class Seen:
    """What a run gave, in its order."""

    decisions: list[bytes] = field(default_factory=list)
    alerts: list[bytes] = field(default_factory=list)
    would_be: list[dict[str, Any]] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    live_outcomes: list[str] = field(default_factory=list)
    new: int = 0
    lost: int = 0


def run(recorded: Recorded, decider: Decider, rows: int = 100, shadow: Shadow | None = None) -> Seen:
    core, seen = ScoringCore(CORE, decider, shadow=shadow), Seen()
    for start in range(0, len(recorded), rows):
        result = core.transactions(recorded.raw(start, min(len(recorded), start + rows)), decision_time_ms=start)
        seen.decisions += result.decisions
        seen.alerts += result.alerts
        for part in result.shadowed:
            seen.would_be += [decode_record(alert, name="alert") for alert in part.alerts]
            seen.keys += part.keys
            seen.live_outcomes += part.live_outcomes
            seen.new += part.new
            seen.lost += part.lost
    return seen


def assert_tried_out(recorded: Recorded, live: Decider, shadow: Shadow | None, promoted: Decider, rows: int) -> Seen:
    """Check a run with a shadow against one that knows of none, and against one in which what is on trial decides."""
    assert shadow is not None
    known = [rule.rule_id for rule in live.rules.all_rules.values() if rule.mode == SHADOW]
    without = functools.reduce(RuleSet.without, known, live.rules)
    seen, decided = run(recorded, live, rows, shadow), run(recorded, promoted, rows)
    alone = run(recorded, live.with_rules(without), rows)
    assert seen.decisions == alone.decisions
    assert seen.alerts == alone.alerts
    expected = [comparable(decode_record(alert, name="alert")) for alert in decided.alerts]
    for alert in expected:
        assert (alert["mode"], alert["run_id"]) == ("live", "")
        alert |= {"alert_id": alert_id_of(alert["transaction_id"], SHADOW), "mode": SHADOW}
    assert [comparable(alert) for alert in seen.would_be] == expected
    outcomes = {d["transaction_id"]: d["outcome"] for d in (decode_record(v, name="decision") for v in alone.decisions)}
    assert seen.live_outcomes == [outcomes[alert["transaction_id"]] for alert in seen.would_be]
    assert seen.keys == [alert["account_id"].encode() for alert in seen.would_be]
    raised = {name for name, outcome in outcomes.items() if outcome != "approve"}
    would_be = {alert["transaction_id"] for alert in seen.would_be}
    assert (seen.new, seen.lost) == (len(would_be - raised), len(raised - would_be))
    ids = {decode_record(alert, name="alert")["alert_id"] for alert in seen.alerts}
    assert ids.isdisjoint(alert["alert_id"] for alert in seen.would_be)
    return seen


def a_rule(rule_id: str = "tried-1", **overrides: Any) -> Rule:
    fields = {
        "version": 1, "description": "On trial", "expression": "amount >= 100", "typology": "trial", "weight": 0.6,
        "mode": SHADOW,
    }  # fmt: skip
    return Rule.from_record({"rule_id": rule_id, **fields, **overrides})


def with_rules(decider: Decider, rules: Sequence[Rule], mode: str) -> Decider:
    rule_set = decider.rules
    for rule in rules:
        rule_set = rule_set.with_rule(replace(rule, mode=mode))
    return decider.with_rules(rule_set)


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> ScoringModel:
    """The tests' model under another name, with thresholds that half of the transactions reach or so."""
    folder = tmp_path_factory.mktemp("candidate") / "model"
    shutil.copytree(TEST_MODEL, folder)
    card = json.loads((folder / "card.json").read_text())
    card |= {"name": "candidate", "version": "2", "thresholds": {"review": 0.002, "decline": 0.02}}
    (folder / "card.json").write_text(json.dumps(card))
    return ScoringModel.load(folder)


expressions = st.one_of(
    st.integers(1, 3_000).map("amount >= {}".format),
    st.integers(100, 100_000).map("amount_minor > {}".format),  # a whole number: evaluated by Polars
    st.integers(0, 3).map("account_out_count_1h >= {}".format),  # warms for an hour
    st.floats(1, 3).map("channel = 'transfer' AND amount_to_max_30d < {:.2f}".format),
    st.sampled_from(["device_id IS NULL", "pair_is_new = 1", "amount < 0"]),
)
shadow_rules = st.lists(
    st.builds(
        a_rule,
        # Some before all shipped rules, some among them, some behind.
        st.sampled_from(["a-first", "fan-out-trial", "m-trial", "structuring-trial", "zz-last"]),
        expression=expressions,
        typology=st.sampled_from(["structuring", "account_takeover", "trial"]),
        weight=st.sampled_from([0.1, 0.4, 0.5, 1.0]),
        review_threshold=st.sampled_from([0.1, 0.5, 2.0]),
        decline_threshold=st.sampled_from([0.3, 1.0, 2.0]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda rule: rule.rule_id,
)


@FEW
@given(rules=shadow_rules, seed=st.integers(1, 2), rows=st.integers(20, 400))
@example(rules=[a_rule(expression="amount >= 1")], seed=1, rows=100)  # raises something new, whatever chance draws
def test_shadow_rules_change_no_byte_and_would_raise_what_they_raise_when_live(
    rules: list[Rule], seed: int, rows: int
) -> None:
    live, promoted = with_rules(LIVE_DECIDER, rules, SHADOW), with_rules(LIVE_DECIDER, rules, LIVE)
    assert live.rules.version == LIVE_DECIDER.rules.version
    assert_tried_out(stream(seed), live, Shadow.beside(live), promoted, rows)


@settings(FEW, max_examples=4)
@given(seed=st.integers(1, 2), rows=st.integers(20, 400))
def test_a_shadow_model_changes_no_byte_and_would_raise_what_it_raises_when_live(
    candidate: ScoringModel, seed: int, rows: int
) -> None:
    promoted = LIVE_DECIDER.with_model(candidate)
    seen = assert_tried_out(stream(seed), LIVE_DECIDER, Shadow.beside(LIVE_DECIDER, candidate), promoted, rows)
    assert {(alert["model_name"], alert["model_version"]) for alert in seen.would_be} == {("candidate", "2")}
    assert seen.new > 0


@settings(FEW, max_examples=4)
@given(rules=shadow_rules, seed=st.integers(1, 2), rows=st.integers(20, 400))
def test_rules_and_model_are_tried_out_together(
    candidate: ScoringModel, rules: list[Rule], seed: int, rows: int
) -> None:
    live, promoted = with_rules(LIVE_DECIDER, rules, SHADOW), with_rules(LIVE_DECIDER, rules, LIVE)
    assert_tried_out(stream(seed), live, Shadow.beside(live, candidate), promoted.with_model(candidate), rows)


def test_alerts_that_a_milder_model_would_not_raise_count_as_lost(candidate: ScoringModel) -> None:
    live = LIVE_DECIDER.with_model(candidate)
    seen = assert_tried_out(stream(1), live, Shadow.beside(live, LIVE_DECIDER.model), LIVE_DECIDER, 100)
    assert seen.lost > 0


def test_nothing_is_on_trial_without_an_enabled_shadow_rule_or_a_model() -> None:
    assert Shadow.beside(LIVE_DECIDER) is None
    off = with_rules(LIVE_DECIDER, [a_rule(is_enabled=False)], SHADOW)
    assert Shadow.beside(off) is None
    on = with_rules(off, [a_rule()], SHADOW)
    assert Shadow.beside(on) is not None
    assert Shadow.beside(with_rules(on, [a_rule()], LIVE)) is None
    assert Shadow.beside(on.with_rules(on.rules.without("tried-1"))) is None


def test_a_shadow_of_rules_neither_scores_again_nor_asks_the_live_rules_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decider = with_rules(LIVE_DECIDER.with_model(ScoringModel.load(TEST_MODEL)), [a_rule()], SHADOW)
    shadow = Shadow.beside(decider)
    assert shadow is not None
    columns, X = transaction_columns([a_transaction(transaction_id=f"T{i}") for i in range(3)]), a_matrix(3)
    live = decider.decide(columns, X, LONG_AGO)
    asked: list[tuple[str, ...]] = []
    evaluate = type(decider.rules).evaluate
    monkeypatch.setattr(
        type(decider.rules), "evaluate",
        lambda self, *args: (asked.append(tuple(rule.rule_id for rule in self.rules)), evaluate(self, *args))[1],
    )  # fmt: skip
    monkeypatch.setattr(ScoringModel, "predict", lambda self, X: pytest.fail("the model ran again"))
    shadow.decide(live, columns, X, LONG_AGO)
    assert asked == [("tried-1",)]


def test_a_shadow_rule_that_fails_is_named_by_would_be_alerts_alone() -> None:
    broken = a_rule("broken-1", expression="amount > 100 AND memo IS NULL")
    decider = with_rules(LIVE_DECIDER, [broken, a_rule(expression="amount >= 0")], SHADOW)
    shadow = Shadow.beside(decider)
    assert shadow is not None
    no_date = pl.col("amount").cast(pl.String).str.to_date(strict=True).is_null()
    shadow._added._expressions[0] = no_date.alias("broken-1")
    columns, X = transaction_columns([a_transaction(memo=None)]), a_matrix(1)
    live = decider.decide(columns, X, LONG_AGO, ("reference",))
    would_be = shadow.decide(live, columns, X, LONG_AGO, ("reference",))
    assert would_be.degraded == {0: ("reference", "rule:broken-1")}
    assert live.hits.failed == ()
    assert live.outcome.tolist() == [0]


def test_a_new_learner_scores_in_the_shadow_too(candidate: ScoringModel) -> None:
    learner = LiveLearner.of_update(an_update(1, is_combined=True), FEATURE_NAMES)
    shadow = Shadow.beside(LIVE_DECIDER, candidate)
    assert shadow is not None
    decider = LIVE_DECIDER.with_learner(learner)
    columns = transaction_columns([a_transaction(transaction_id=f"T{i}") for i in range(20)])
    X = a_matrix(20, amount=np.linspace(1, 900, 20))
    live = decider.decide(columns, X, LONG_AGO)
    would_be = shadow.with_learner(learner).decide(live, columns, X, LONG_AGO)
    expected = decider.with_model(candidate).decide(columns, X, LONG_AGO)
    np.testing.assert_array_equal(would_be.score, expected.score)
    np.testing.assert_array_equal(would_be.learner_score, expected.learner_score)
    assert (would_be.learner_score >= 0).all()
    assert shadow.decider.learner is None, "the shadow before it is left as it was"
