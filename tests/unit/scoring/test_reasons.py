from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.features.catalogue import FEATURES
from models.scoring.reasons import (
    MAX_REASONS,
    OTHER_CODE,
    Reason,
    ReasonBuilder,
    feature_text,
    principal_reasons,
    reason_code,
)
from models.scoring.rules import Rule

NAMES = (
    "amount",
    "account_out_count_1h",
    "account_out_count_1d",
    "pair_is_new",
    "device_count_1h",
    "hour_of_day",
    "is_night",
)


def a_rule(rule_id: str, weight: float = 0.5) -> Rule:
    return Rule(rule_id, 1, f"Sentence of {rule_id}", "amount > 1", "fan_in", weight)


def a_reason(code: str) -> Reason:
    return Reason(code, "text", "amount", 1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def builder() -> ReasonBuilder:
    return ReasonBuilder(NAMES, np.array([40, 1, 2, 0, 1, 13, np.nan], np.float32))


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.name)
def test_every_feature_has_a_reason_code_and_a_text(feature: object) -> None:
    name = feature.name  # type: ignore[attr-defined]
    assert reason_code(name) != OTHER_CODE
    for value in (0.0, 1.0, 0.123456, 1e7, -3.0, math.nan):
        text = feature_text(name, value, math.nan)
        assert text[0].isupper()
        assert "nan" not in text
        assert "usual" not in text.removeprefix(feature.meaning)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("feature", "value", "usual", "text"),
    [
        ("amount", 1234.5, 42.0, "Amount of the transaction: 1,234.50 EUR (usual 42.00 EUR)"),
        ("account_pass_through_1d", 0.973, math.nan,
         "Money out of the account, this transaction included, against money in, in the last day: 0.973"),
        ("seconds_since_last_out", 90.0, 86_400.0 * 3,
         "Time since the account's last transaction: 90 seconds (usual 3 days)"),
        ("is_night", 0.0, 0.0, "Event time between 0:00 and 6:59 UTC: no"),
        ("hour_of_day", 3.5, 13.0, "Hour of the event time, with its fraction: 03:30 (usual 13:00)"),
        ("counterparty_on_watchlist", 1.0, 0.0, "The counterparty is on the watch-list"),
        ("account_out_max_1d", math.nan, 20.0,
         "Largest amount the account sent in the last day: not known (no transaction in the window)"),
        ("device_reference_risk", 0.9, 0.1, "Risk that reference data gives the device: 90% (usual 10%)"),
        ("a_new_feature", 12.0, 3.0, "a new feature: 12 (usual 3)"),
    ],
)  # fmt: skip
def test_texts_read_as_an_analyst_would_say_them(feature: str, value: float, usual: float, text: str) -> None:
    assert feature_text(feature, value, usual) == text


def test_reasons_come_strongest_first_and_name_their_familys_strongest_feature(builder: ReasonBuilder) -> None:
    values = np.array([900, 7, 9, 1, 1, 3, 1], np.float32)
    (reasons,) = builder.of_features(values[None], np.array([[1.2, 0.9, 0.5, 1.3, -2.0, 0.1, 0.0]], np.float32))
    assert [(r.code, r.feature) for r in reasons] == [
        ("ACCOUNT_VELOCITY", "account_out_count_1h"),
        ("COUNTERPARTY_NEW", "pair_is_new"),
        ("AMOUNT", "amount"),
        ("TIME_OF_DAY", "hour_of_day"),
    ]
    assert reasons[0].contribution == pytest.approx(1.4), "the family's features speak together"
    assert (reasons[0].value, reasons[0].usual_value) == (7.0, 1.0)


def test_what_lowers_the_score_is_no_reason(builder: ReasonBuilder) -> None:
    contributions = np.array([[-1, 0, 0, 0.5, -1, 0, 0]], np.float32)
    (reasons,) = builder.of_features(np.zeros((1, 7), np.float32), contributions)
    assert [r.code for r in reasons] == ["COUNTERPARTY_NEW"]


@given(rows=st.lists(st.lists(st.sampled_from([-1.5, -0.25, 0.0, 0.25, 0.5, 1.5]), min_size=7, max_size=7), max_size=5))
def test_reasons_are_those_of_a_row_by_row_search(builder: ReasonBuilder, rows: list[list[float]]) -> None:
    names = builder._names
    expected = []
    for row in rows:
        sums: dict[str, float] = {}
        for name, contribution in zip(names, row, strict=True):
            sums[reason_code(name)] = sums.get(reason_code(name), 0.0) + contribution
        ordered = sorted((code for code in sums if sums[code] > 0), key=lambda code: (-sums[code], code))[:4]
        strongest = {
            code: max((i for i in range(7) if reason_code(names[i]) == code), key=lambda i: (row[i], -i))
            for code in ordered
        }
        expected.append([(code, names[strongest[code]], sums[code]) for code in ordered])
    values = np.zeros((len(rows), 7), np.float32)
    found = builder.of_features(values, np.array(rows, np.float32).reshape(len(rows), 7))
    assert [[(r.code, r.feature, r.contribution) for r in reasons] for reasons in found] == expected


def test_what_decided_comes_first() -> None:
    model = [a_reason("A"), a_reason("B"), a_reason("C")]
    by_rules = principal_reasons(model, [a_rule("x", 0.2), a_rule("y", 0.6)], [a_rule("z")], score_asks=False)
    assert [r.code for r in by_rules] == ["RULE:y", "RULE:x", "A", "B"]
    by_score = principal_reasons(model, [], [a_rule("z")], score_asks=True)
    assert [r.code for r in by_score] == ["A", "B", "C", "RULE:z"]


def test_the_model_keeps_half_of_the_places_where_it_decided_too() -> None:
    model = [a_reason(c) for c in "ABCD"]
    rules = [a_rule(f"r{i}") for i in range(4)]
    assert [r.code for r in principal_reasons(model, rules, [], True)] == ["RULE:r0", "RULE:r1", "A", "B"]
    assert [r.code for r in principal_reasons(model[:1], rules, [], True)] == ["RULE:r0", "RULE:r1", "RULE:r2", "A"]
    assert [r.code for r in principal_reasons(model, rules, [], False)] == [f"RULE:r{i}" for i in range(4)]
    assert MAX_REASONS == 4


def test_a_rules_reason_says_its_sentence_and_weight() -> None:
    (reason,) = principal_reasons([], [a_rule("x", 0.25)], [], False)
    assert (reason.text, reason.feature, reason.contribution) == ("Sentence of x", "x", 0.25)
    assert math.isnan(reason.value)
    assert math.isnan(reason.usual_value)
