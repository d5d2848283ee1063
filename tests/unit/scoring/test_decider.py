from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastavro import schemaless_reader, schemaless_writer

from models.features.catalogue import FEATURE_NAMES
from models.scoring.decider import Decided, Decider, default_rule_set, rule_columns
from models.scoring.errors import ModelError
from models.scoring.explain import alert_id_of
from models.scoring.model import ScoringModel
from models.scoring.rules import Rule, RuleSet
from models.scoring.typologies import APPROVE, DECLINE, REVIEW
from schemas.columns import TransactionColumns
from schemas.decisions import NOTHING_TO_EXPLAIN
from schemas.versions import current
from tests.builders import a_transaction, transaction_columns

MODEL = Path(__file__).parents[2] / "data" / "scoring-model"
LONG_AGO = 90 * 86_400_000


@pytest.fixture(scope="module")
def model() -> ScoringModel:
    return ScoringModel.load(MODEL)


@pytest.fixture(scope="module")
def decider(model: ScoringModel) -> Decider:
    return Decider(model, default_rule_set())


def a_matrix(rows: int, **features: Any) -> np.ndarray:
    """Return features of ordinary transactions, changed in the named ones (a number, or one for each row)."""
    X = np.full((rows, len(FEATURE_NAMES)), np.nan, np.float32)
    ordinary = {"amount": 30.0, "account_out_count_1h": 0.0, "amount_zscore_30d": 0.0, "pair_is_new": 0.0}
    ordinary |= {"account_pass_through_1d": 0.2, "device_distinct_accounts_7d": 1.0}
    for name, value in {**ordinary, **features}.items():
        X[:, FEATURE_NAMES.index(name)] = value
    return X


def transactions(rows: int, **overrides: Any) -> TransactionColumns:
    return transaction_columns([a_transaction(transaction_id=f"T{i}", **overrides) for i in range(rows)])


def explained(decided: Decided, row: int) -> dict[str, Any]:
    value = decided.explanation.get(row, decided.default_explanation)
    fields = current("decision").parsed["fields"]
    schema = next(field["type"] for field in fields if field["name"] == "explanation")
    return schemaless_reader(io.BytesIO(value), schema)  # type: ignore[return-value]


SUSPICIOUS = {"amount_zscore_30d": 6.0, "account_out_count_1h": 6.0, "pair_is_new": 1.0}


def test_ordinary_transactions_are_approved_and_say_nothing(decider: Decider) -> None:
    decided = decider.decide(transactions(5), a_matrix(5), LONG_AGO)
    assert decided.outcome.tolist() == [APPROVE] * 5
    assert decided.explanation == {}
    assert decided.default_explanation == NOTHING_TO_EXPLAIN
    assert decider.alerts(decided, transactions(5), np.zeros(5, np.int64), 0) == {}


def test_the_score_alone_declines_and_its_features_are_the_reasons(decider: Decider, model: ScoringModel) -> None:
    decided = decider.decide(transactions(2), a_matrix(2, **{k: [0, v] for k, v in SUSPICIOUS.items()}), LONG_AGO)
    assert decided.outcome.tolist() == [APPROVE, DECLINE]
    assert decided.score[1] >= model.thresholds.decline
    explanation = explained(decided, 1)
    codes = [reason["code"] for reason in explanation["reasons"]]
    assert 1 <= len(codes) <= 4
    assert "AMOUNT_UNUSUAL" in codes[:2]
    contributions = [reason["contribution"] for reason in explanation["reasons"]]
    assert contributions == sorted(contributions, reverse=True)
    assert explanation["rule_hits"] == []


def test_a_typology_alone_declines_and_its_rule_is_the_first_reason(decider: Decider) -> None:
    decided = decider.decide(transactions(2), a_matrix(2, counterparty_on_watchlist=[0, 1]), LONG_AGO)
    assert decided.outcome.tolist() == [APPROVE, DECLINE]
    assert decided.typology_score.tolist() == [0, 1]
    assert decided.typologies == {1: ("watch_list",)}
    explanation = explained(decided, 1)
    assert explanation["reasons"][0]["code"] == "RULE:watch-list-counterparty"
    assert [hit["rule_id"] for hit in explanation["rule_hits"]] == ["watch-list-counterparty"]


def test_a_hit_that_stays_below_its_threshold_is_recorded_on_the_approved_transaction(decider: Decider) -> None:
    X = a_matrix(1, amount=3.0, device_count_10m=5)
    decided = decider.decide(transactions(1, channel="card_not_present"), X, LONG_AGO)
    assert decided.outcome.tolist() == [APPROVE]
    explanation = explained(decided, 0)
    assert [hit["rule_id"] for hit in explanation["rule_hits"]] == ["card-testing-burst"]
    assert explanation["reasons"] == []


def test_hits_of_one_typology_add_up(decider: Decider) -> None:
    X = a_matrix(1, amount=3.0, device_count_10m=5, device_distinct_accounts_1d=4)
    decided = decider.decide(transactions(1, channel="card_not_present"), X, LONG_AGO)
    assert decided.outcome.tolist() == [REVIEW]
    assert decided.typology_score[0] == pytest.approx(0.8)


def test_rules_that_are_warming_are_named_row_by_row(decider: Decider) -> None:
    history = np.array([0, 0, LONG_AGO])
    decided = decider.decide(transactions(3), a_matrix(3), history)
    every = {rule.rule_id for rule in decider.rules.rules}
    assert set(explained(decided, 0)["warming"]) == every - {"watch-list-account", "watch-list-counterparty"}
    assert explained(decided, 1) == explained(decided, 0)
    assert explained(decided, 2)["warming"] == []


def test_what_is_missing_is_named_for_the_batch_and_for_rows(decider: Decider) -> None:
    missing = {"entities": np.array([False, True, False])}
    X = a_matrix(3, **{k: [0, 0, v] for k, v in SUSPICIOUS.items()})
    decided = decider.decide(transactions(3), X, LONG_AGO, ("reference",), missing)
    assert [explained(decided, row)["degraded"] for row in range(3)] == [
        ["reference"], ["reference", "entities"], ["reference"],
    ]  # fmt: skip
    alerts = decider.alerts(decided, transactions(3), np.zeros(3, np.int64), 0)
    assert alerts[2]["degraded"] == ["reference"]


def test_without_a_model_the_rules_decide_alone_and_the_decision_says_so() -> None:
    decider = Decider(None, default_rule_set())
    decided = decider.decide(transactions(2), a_matrix(2, counterparty_on_watchlist=[0, 1]), LONG_AGO)
    assert decided.outcome.tolist() == [APPROVE, DECLINE]
    assert decided.score.tolist() == [0, 0]
    assert explained(decided, 0)["degraded"] == ["model"]
    assert (decider.model_name, decider.model_version, decider.model_sha256) == ("", "", "")


def test_without_rules_the_model_decides_alone(model: ScoringModel) -> None:
    decider = Decider(model, RuleSet.compile((), rule_columns()))
    decided = decider.decide(transactions(2), a_matrix(2, **{k: [0, v] for k, v in SUSPICIOUS.items()}), LONG_AGO)
    assert decided.outcome.tolist() == [APPROVE, DECLINE]
    assert decided.default_explanation == NOTHING_TO_EXPLAIN


def test_a_score_that_is_no_number_counts_as_a_missing_model(
    model: ScoringModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScoringModel, "predict", lambda self, X: np.array([0.0, np.nan], np.float32))
    decided = Decider(model, default_rule_set()).decide(transactions(2), a_matrix(2), LONG_AGO)
    assert decided.score.tolist() == [0, 0]
    assert [explained(decided, row)["degraded"] for row in range(2)] == [[], ["model"]]


def test_a_decision_does_not_depend_on_the_batch_it_came_in(decider: Decider) -> None:
    rng = np.random.default_rng(3)
    rows = 60
    X = a_matrix(rows, **{k: np.where(rng.random(rows) < 0.3, v, 0) for k, v in SUSPICIOUS.items()})
    X[:, FEATURE_NAMES.index("counterparty_on_watchlist")] = rng.random(rows) < 0.1
    history = rng.choice([0, 3_600_000, LONG_AGO], rows)
    columns = transactions(rows)
    whole = decider.decide(columns, X, history)
    assert 0 < len(whole.alert_rows) < rows
    for size in (1, 7, 32):
        for at in range(0, rows, size):
            take = np.arange(at, min(at + size, rows))
            part = decider.decide(columns.take(take), X[take], history[take])
            assert np.array_equal(part.outcome, whole.outcome[take])
            assert np.array_equal(part.score, whole.score[take])
            assert np.array_equal(part.typology_score, whole.typology_score[take])
            for i, row in enumerate(take.tolist()):
                assert part.explanation.get(i, part.default_explanation) == whole.explanation.get(
                    row, whole.default_explanation
                )


def test_an_empty_batch_is_decided(decider: Decider) -> None:
    decided = decider.decide(transactions(0), a_matrix(0), np.zeros(0, np.int64))
    assert len(decided.outcome) == 0
    assert len(decided.alert_rows) == 0


def test_an_alert_is_a_record_of_its_schema_with_a_deterministic_id(decider: Decider) -> None:
    columns = transactions(2)
    decided = decider.decide(columns, a_matrix(2, counterparty_on_watchlist=[0, 1]), LONG_AGO)
    alerts = decider.alerts(decided, columns, np.array([5, 6]), 1_234)
    assert list(alerts) == [1]
    out = io.BytesIO()
    schemaless_writer(out, current("alert").parsed, alerts[1], strict=True)
    out.seek(0)
    alert: Any = schemaless_reader(out, current("alert").parsed)
    assert alert["alert_id"] == alert_id_of("T1")
    assert (alert["transaction_id"], alert["outcome"], alert["typologies"]) == ("T1", "decline", ["watch_list"])
    assert (alert["source_time_ms"], alert["decision_time_ms"], alert["revision"]) == (6, 1_234, 0)
    assert alert["rules_version"] == decider.rules.version
    assert alert["reasons"][0]["code"] == "RULE:watch-list-counterparty"
    again = decider.alerts(decider.decide(columns, a_matrix(2, counterparty_on_watchlist=[0, 1]), LONG_AGO), columns,
                           np.array([5, 6]), 1_234)  # fmt: skip
    assert again[1]["alert_id"] == alert["alert_id"]


def test_rules_and_models_are_exchanged_between_batches(decider: Decider) -> None:
    everything = Rule("everything", 1, "Anything", "amount >= 0", "test", 0.5)
    stricter = decider.with_rules(decider.rules.with_rule(everything))
    assert stricter.decide(transactions(1), a_matrix(1), LONG_AGO).outcome.tolist() == [REVIEW]
    assert decider.decide(transactions(1), a_matrix(1), LONG_AGO).outcome.tolist() == [APPROVE]
    assert stricter.with_rules(stricter.rules.without("everything")).rules.version == decider.rules.version
    assert decider.with_model(None).model_name == ""


def test_a_model_for_other_features_is_refused(model: ScoringModel) -> None:
    import copy

    other = copy.copy(model)
    other.feature_names = (*model.feature_names[:-1], "phase_of_the_moon")
    with pytest.raises(ModelError, match="phase_of_the_moon"):
        Decider(other, default_rule_set())


def test_many_different_explanations_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.scoring.decider.MAX_REMEMBERED_EXPLANATIONS", 4)
    rules = [Rule(f"r{i}", 1, "A rule", f"amount >= {i}", "test", 0.01) for i in range(20)]
    decider = Decider(None, RuleSet.compile(rules, rule_columns()))
    decided = decider.decide(transactions(20), a_matrix(20, amount=np.arange(20)), LONG_AGO)
    assert [len(explained(decided, row)["rule_hits"]) for row in range(20)] == list(range(1, 21))
    assert len(decider._remembered) <= 4


def test_explanations_are_those_of_the_rules_that_made_them(decider: Decider) -> None:
    rule = next(rule for rule in decider.rules.rules if rule.rule_id == "card-testing-burst")
    changed = decider.with_rules(decider.rules.with_rule(replace(rule, version=2)))
    X = a_matrix(1, amount=3.0, device_count_10m=5)
    columns = transactions(1, channel="card_not_present")
    versions = [explained(d.decide(columns, X, LONG_AGO), 0)["rule_hits"][0]["version"] for d in (decider, changed)]
    assert versions == [1, 2]
