from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastavro import schemaless_reader, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.catalogue import FEATURE_NAMES
from models.scoring.decider import default_rule_set, rule_columns
from models.scoring.errors import RuleError
from models.scoring.rule_columns import RuleColumns
from models.scoring.rules import MAX_RULES, Rule, RuleSet, default_rules, rules_of, rules_version
from schemas.columns import CHANNELS, TransactionColumns
from schemas.versions import current
from tests.builders import a_transaction, transaction_columns

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
COLUMNS = RuleColumns(("amount", "count_1h", "mean_1d"), (0, HOUR_MS, DAY_MS), ("speed",))
LONG_AGO = 90 * DAY_MS


def a_rule(**overrides: Any) -> Rule:
    return Rule.from_record(
        {
            "rule_id": "large-amount",
            "version": 1,
            "description": "A large amount",
            "expression": "amount > 100",
            "typology": "account_takeover",
            "weight": 0.5,
            **overrides,
        }
    )


def hits_of(
    rules: list[Rule], X: list[list[float]], columns: TransactionColumns | None = None, history_ms: Any = LONG_AGO
) -> list[list[bool]]:
    rule_set = RuleSet.compile(rules, COLUMNS)
    matrix = np.array(X, np.float32).reshape(-1, 3)
    if columns is None:
        columns = transaction_columns([a_transaction() for _ in X], ("speed",))
    return rule_set.evaluate(columns, matrix, history_ms).hits.tolist()


def test_each_rule_answers_for_each_transaction_in_order_of_rule_ids() -> None:
    rules = [a_rule(rule_id="b", expression="count_1h >= 3"), a_rule(rule_id="a")]
    assert hits_of(rules, [[101, 2, 0], [100, 3, 0], [500, 9, 0]]) == [[True, False], [False, True], [True, True]]


def test_a_missing_value_is_no_hit_whichever_way_it_is_compared() -> None:
    rules = [a_rule(rule_id="above"), a_rule(rule_id="below", expression="amount <= 100")]
    assert hits_of(rules, [[np.nan, 0, 0]]) == [[False, False]]


def test_a_constant_in_the_place_of_nulls_answers_for_every_transaction() -> None:
    """Of a column of nulls alone, COALESCE leaves its constant: one answer for a whole batch."""
    constant = a_rule(rule_id="constant", expression="5 < COALESCE(amount, 9)")
    beside = a_rule(rule_id="text", expression="currency = 'EUR' OR currency <> 'EUR'")
    missing = [[np.nan, 0, 0]] * 3
    assert hits_of([constant], missing) == [[True]] * 3
    assert hits_of([constant, beside], missing) == [[True, True]] * 3


def test_a_rule_can_ask_for_missing_values() -> None:
    assert hits_of([a_rule(expression="mean_1d IS NULL")], [[1, 1, np.nan], [1, 1, 2]]) == [[True], [False]]


def test_rules_read_the_fields_of_the_transaction() -> None:
    columns = transaction_columns(
        [
            a_transaction(currency="USD", channel="wire", account_country="", amount_minor=2**53 + 1, device_id=None),
            a_transaction(merchant_category=None, memo="rent", attributes={"speed": 3.0}),
        ],
        ("speed",),
    )
    expressions = [
        "currency = 'USD' AND channel = 'wire'",
        "account_country IS NULL",
        "amount_minor = 9007199254740993",
        "device_id IS NULL",
        "merchant_category IS NULL AND memo = 'rent'",
        "attribute_speed > 2",
        "account_id = 'account-1' AND counterparty_id LIKE 'merchant%'",
        "event_time_ms > 0 AND transaction_id = 'transaction-1' AND evidence_count = 0",
    ]
    rules = [a_rule(rule_id=f"r{i}", expression=text) for i, text in enumerate(expressions)]
    first, second = hits_of(rules, [[1, 1, 1], [1, 1, 1]], columns)
    assert first == [True, True, True, True, False, False, True, True]
    assert second == [False, False, False, False, True, True, True, True]


def test_strings_with_null_empty_and_invalid_utf8_become_a_column() -> None:
    columns = transaction_columns([a_transaction(memo=m) for m in (None, "", "Grüße", "x" * 40)])
    broken = columns.memo.buffer.copy()
    broken[columns.memo.offsets[3]] = 0xFF
    columns = transaction_columns([a_transaction(memo=m) for m in (None, "", "Grüße", "x" * 40)])
    object.__setattr__(columns, "memo", type(columns.memo)(broken, columns.memo.offsets, columns.memo.lengths))
    frame = COLUMNS.frame(["memo"], columns, np.zeros((4, 3), np.float32))
    assert frame["memo"].to_list() == [None, "", "Grüße", "\N{REPLACEMENT CHARACTER}" + "x" * 39]


def test_channels_by_name_match_the_schema() -> None:
    columns = transaction_columns([a_transaction(channel=channel) for channel in CHANNELS])
    frame = COLUMNS.frame(["channel"], columns, np.zeros((len(CHANNELS), 3), np.float32))
    assert tuple(frame["channel"].to_list()) == CHANNELS


def test_a_rule_does_not_hit_while_its_window_is_not_filled() -> None:
    rules = [a_rule(rule_id="hour", expression="count_1h > 0"), a_rule(rule_id="now", expression="amount > 0")]
    rule_set = RuleSet.compile(rules, COLUMNS)
    columns = transaction_columns([a_transaction() for _ in range(3)])
    result = rule_set.evaluate(columns, np.ones((3, 3), np.float32), np.array([0, HOUR_MS - 1, HOUR_MS]))
    assert result.warming.tolist() == [[True, False], [True, False], [False, False]]
    assert result.hits.tolist() == [[False, True], [False, True], [True, True]]


def test_the_longest_window_that_a_rule_reads_decides_whether_it_is_warming() -> None:
    rule_set = RuleSet.compile([a_rule(expression="count_1h > 0 OR mean_1d > 0")], COLUMNS)
    columns, X = transaction_columns([a_transaction()]), np.ones((1, 3), np.float32)
    assert rule_set.evaluate(columns, X, DAY_MS - 1).warming.tolist() == [[True]]
    assert rule_set.evaluate(columns, X, DAY_MS).warming.tolist() == [[False]]


def test_only_the_columns_that_rules_read_are_built() -> None:
    frame = COLUMNS.frame(["amount"], transaction_columns([a_transaction()]), np.ones((1, 3), np.float32))
    assert frame.columns == ["amount"]


def test_a_disabled_rule_is_checked_but_not_evaluated() -> None:
    rule_set = RuleSet.compile([a_rule(is_enabled=False)], COLUMNS)
    assert rule_set.rules == ()
    assert "large-amount" in rule_set.all_rules
    with pytest.raises(RuleError, match="large-amount: unknown column"):
        RuleSet.compile([a_rule(is_enabled=False, expression="amont > 1")], COLUMNS)


def test_no_rules_and_no_rows_are_fine() -> None:
    empty = RuleSet.compile([], COLUMNS)
    assert empty.evaluate(transaction_columns([a_transaction()]), np.ones((1, 3), np.float32), LONG_AGO).hits.size == 0
    rule_set = RuleSet.compile([a_rule()], COLUMNS)
    none = rule_set.evaluate(transaction_columns([]), np.ones((0, 3), np.float32), np.zeros(0, np.int64))
    assert none.hits.shape == (0, 1)


def test_a_rule_that_fails_on_a_batch_is_named_and_the_others_go_on() -> None:
    text = "amount > 100 AND memo IS NULL"
    rule_set = RuleSet.compile([a_rule(rule_id="a", expression=text), a_rule(rule_id="b", expression=text)], COLUMNS)
    rule_set._expressions[0] = pl.col("amount").cast(pl.String).str.to_date(strict=True).is_null().alias("a")
    columns = transaction_columns([a_transaction(memo=None)])
    result = rule_set.evaluate(columns, np.full((1, 3), 500, np.float32), LONG_AGO)
    assert result.failed == ("a",)
    assert result.hits.tolist() == [[False, True]]


def test_rules_are_added_changed_and_removed_without_touching_the_old_set() -> None:
    first = RuleSet.compile([a_rule()], COLUMNS)
    second = first.with_rule(a_rule(rule_id="other", expression="count_1h > 5"))
    third = second.with_rule(a_rule(version=2, expression="amount > 900"))
    fourth = third.without("other")
    assert [len(s.rules) for s in (first, second, third, fourth)] == [1, 2, 2, 1]
    assert fourth.all_rules["large-amount"].version == 2
    assert len({s.version for s in (first, second, third, fourth)}) == 4
    assert third.without("other").without("other").version == fourth.version
    assert first.with_rule(a_rule()).version == first.version


def test_a_set_evaluates_the_rules_of_its_modes_alone() -> None:
    live, tried = a_rule(), a_rule(rule_id="b-tried", expression="amount > 50", mode="shadow")
    rule_set = RuleSet.compile([live, tried], COLUMNS)
    assert rule_set.rules == (live,)
    assert rule_set.in_modes("shadow").rules == (tried,)
    assert rule_set.in_modes("live", "shadow").rules == (tried, live)
    columns, X = transaction_columns([a_transaction()]), np.full((1, 3), 80, np.float32)
    hits = [s.evaluate(columns, X, LONG_AGO).hits.tolist() for s in (rule_set, rule_set.in_modes("live", "shadow"))]
    assert hits == [[[False]], [[True, False]]]


def test_the_version_counts_what_decides_and_not_the_mode_it_has_then() -> None:
    alone = RuleSet.compile([a_rule()], COLUMNS)
    tried = alone.with_rule(a_rule(rule_id="other", mode="shadow"))
    assert tried.version == alone.version
    assert tried.with_rule(a_rule(rule_id="other", version=2, mode="shadow")).version == alone.version
    assert tried.with_rule(a_rule(mode="shadow")).version == RuleSet.compile([], COLUMNS).version
    promoted = alone.with_rule(a_rule(rule_id="other"))
    assert tried.in_modes("live", "shadow").version == promoted.version != alone.version


def test_rules_from_before_there_were_modes_keep_their_version() -> None:
    """Decisions on record name it, and a replay looks the rules up by it."""
    assert rules_version([Rule("everything", 1, "Anything", "amount >= 0", "test", 0.5)]) == "1f96e3ad6a4e52a4"


def test_a_rule_in_json_may_say_its_mode() -> None:
    record = {name: getattr(a_rule(), name) for name in ("rule_id", "version", "description", "expression")}
    record |= {"typology": "t", "weight": 0.5}
    live, tried = rules_of(json.dumps([record, {**record, "mode": "shadow"}]))
    assert (live.mode, tried.mode) == ("live", "shadow")


def test_a_refused_change_leaves_the_set_as_it_was() -> None:
    rule_set = RuleSet.compile([a_rule()], COLUMNS)
    with pytest.raises(RuleError, match="rule large-amount: unknown column"):
        rule_set.with_rule(a_rule(expression="nothing > 1"))
    assert rule_set.all_rules["large-amount"].expression == "amount > 100"


def test_the_number_of_rules_is_bounded() -> None:
    rule_set = RuleSet.compile([a_rule(rule_id=f"r{i}") for i in range(MAX_RULES)], COLUMNS)
    assert rule_set.with_rule(a_rule(rule_id="r0", version=2)).all_rules["r0"].version == 2
    with pytest.raises(RuleError, match="501 rules"):
        rule_set.with_rule(a_rule(rule_id="one-more"))


def test_an_id_occurs_once() -> None:
    with pytest.raises(RuleError, match="twice"):
        RuleSet.compile([a_rule(), a_rule(version=2)], COLUMNS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rule_id", ""), ("rule_id", "Upper"), ("rule_id", "a/b"), ("rule_id", "x" * 65), ("rule_id", None),
        ("version", 0), ("version", -1), ("version", "1"), ("version", True), ("version", 2**31),
        ("weight", 0), ("weight", 1.5), ("weight", float("nan")), ("weight", "0.5"),
        ("review_threshold", 0), ("decline_threshold", float("inf")), ("typology", "two words"),
        ("mode", "canary"), ("mode", True), ("mode", None),
        ("is_enabled", 1), ("expression", 5), ("description", "x" * 501), ("colour", "red"),
    ],
)  # fmt: skip
def test_a_rule_with_an_absurd_field_is_refused(field: str, value: object) -> None:
    with pytest.raises(RuleError):
        a_rule(**{field: value})


def test_a_rule_without_a_needed_field_is_refused() -> None:
    with pytest.raises(RuleError, match="missing"):
        Rule.from_record({"rule_id": "a"})


def test_the_version_survives_the_journey_through_avro() -> None:
    import io
    from dataclasses import asdict

    rule = a_rule(weight=0.3, review_threshold=0.7)
    out = io.BytesIO()
    schemaless_writer(out, current("rule").parsed, asdict(rule))
    out.seek(0)
    travelled = Rule.from_record(schemaless_reader(out, current("rule").parsed))
    assert travelled.weight != rule.weight
    assert rules_version([travelled]) == rules_version([rule])


def test_a_rule_mirrors_its_schema() -> None:
    from dataclasses import fields

    assert [f.name for f in fields(Rule)] == [f["name"] for f in current("rule").parsed["fields"]]


def test_the_shipped_rules_compile_over_the_catalogue() -> None:
    rule_set = default_rule_set()
    assert len(rule_set.rules) >= 12
    assert len({rule.typology for rule in rule_set.rules}) >= 8
    columns = transaction_columns([a_transaction() for _ in range(4)])
    X = np.full((4, len(FEATURE_NAMES)), np.nan, np.float32)
    result = rule_set.evaluate(columns, X, LONG_AGO)
    assert not result.hits.any(), "nothing is known, so nothing may hit"
    assert result.failed == ()


def test_the_shipped_rules_are_version_1_and_described_in_a_sentence() -> None:
    for rule in default_rules():
        assert rule.version == 1
        assert 20 < len(rule.description) < 120


@settings(max_examples=60, deadline=None)
@given(
    X=st.lists(
        st.tuples(*[st.one_of(st.just(float("nan")), st.floats(-200, 200, width=32)) for _ in range(3)]),
        min_size=1,
        max_size=8,
    ),
    history=st.integers(0, 2 * DAY_MS),
)
def test_hits_equal_a_plain_loop(X: list[tuple[float, ...]], history: int) -> None:
    rules = [
        a_rule(rule_id="a", expression="amount > 100 AND count_1h <= 3.5"),
        a_rule(rule_id="b", expression="mean_1d < 0 OR amount = 7"),
    ]

    def above(x: float, limit: float) -> bool:
        return x > limit  # false for NaN, as null is no hit

    expected = []
    for amount, count, mean in X:
        a = above(amount, 100) and count <= 3.5 and history >= HOUR_MS
        b = (mean < 0 or amount == 7) and history >= DAY_MS
        expected.append([a, b])
    assert hits_of(rules, [list(row) for row in X], history_ms=history) == expected


def test_columns_of_the_catalogue_carry_their_windows() -> None:
    by_name = rule_columns(("speed",)).by_name
    assert by_name["account_out_count_1h"].window_ms == HOUR_MS
    assert by_name["counterparty_risk_7d"].window_ms == 14 * DAY_MS, "the delay of labels counts"
    assert by_name["amount_minor"].window_ms == 0
    assert by_name["attribute_speed"].dtype == pl.Float64
