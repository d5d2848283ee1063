"""The compiled rules against polars, which is the oracle of what an expression means."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring.decider import default_rule_set
from models.scoring.rule_columns import RuleColumns
from models.scoring.rule_program import MAX_DEPTH, RuleProgram, compile_rule
from models.scoring.rule_syntax import parse_expression
from models.scoring.rules import Rule, RuleSet
from schemas.columns import CHANNELS, F32, U8
from tests.builders import a_transaction, transaction_columns

NAMES = ("amount", "count_1h", "mean_1d")
PLACES = {name: place for place, name in enumerate(NAMES)}

numbers = st.one_of(
    st.integers(-20, 2_000).map(str),
    st.integers(-2_000, 2_000).map(lambda hundredths: f"{hundredths / 100}"),
    st.sampled_from(["0.1", "0.3", "0.92", "1.05", "1e9", "123456789", "0.0001", "9.99"]),
)
values = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), st.one_of(inner, numbers)).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(numbers, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, st.sampled_from(["3", "30", "0.7", "2.5"])).map(lambda t: f"({t[0]} / {t[1]})"),
    ),
    max_leaves=4,
)
comparisons = st.one_of(
    st.tuples(values, st.sampled_from(["<", "<=", ">", ">=", "=", "<>"]), st.one_of(values, numbers)).map(" ".join),
    st.tuples(values, numbers, values).map(lambda t: f"{t[0]} BETWEEN {t[1]} AND {t[2]}"),
    values.map(lambda value: f"{value} IS NULL"),
    values.map(lambda value: f"{value} IS NOT NULL"),
    st.sampled_from(
        ["channel = 'wire'", "channel <> 'cash'", "channel IN ('transfer', 'wire')", "channel LIKE 'card%'"]
    ),
)
conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda condition: f"NOT ({condition})"),
    ),
    max_leaves=6,
)
cells = st.one_of(
    st.just(float("nan")),
    st.integers(-3, 3).map(float),
    st.sampled_from([0.1, 0.3, 0.92, 9.99, 500.0, 1e9, 3e38, -3e38, 1e-40]),
    st.floats(-1e6, 1e6, width=32),
)


def program_of(text: str) -> RuleProgram | None:
    instructions = compile_rule(json.loads(pl.sql_expr(text).meta.serialize(format="json")), PLACES)
    return None if instructions is None else RuleProgram([instructions])


def polars_says(text: str, X: F32, channel: U8) -> list[bool]:
    frame = pl.DataFrame({name: pl.Series(X[:, place], nan_to_null=True) for name, place in PLACES.items()})
    frame = frame.with_columns(channel=pl.Series([CHANNELS[code] for code in channel], dtype=pl.String))
    dtypes: dict[str, type[pl.DataType]] = {**dict.fromkeys(NAMES, pl.Float32), "channel": pl.String}
    expression, _ = parse_expression(text, dtypes)
    return frame.select(expression.fill_null(False).alias("answer"))["answer"].to_list()


@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(
        st.one_of(
            conditions,
            st.tuples(st.sampled_from(["channel = 'wire'", "channel IN ('transfer', 'wire')"]), conditions).map(
                lambda both: f"{both[0]} AND {both[1]}"
            ),
        ),
        min_size=1,
        max_size=4,
    ),
    rows=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=12),
    data=st.data(),
)
def test_rules_asked_together_say_what_each_says_alone(
    texts: list[str], rows: list[tuple[float, ...]], data: st.DataObject
) -> None:
    compiled = [compile_rule(json.loads(pl.sql_expr(text).meta.serialize(format="json")), PLACES) for text in texts]
    known = [instructions for instructions in compiled if instructions is not None]
    X = np.array(rows, np.float32)
    codes = data.draw(st.lists(st.integers(0, len(CHANNELS) - 1), min_size=len(X), max_size=len(X)))
    channel = np.array(codes, np.uint8)
    hits, is_beyond = RuleProgram(known).run(X, channel)
    for rule, instructions in enumerate(known):
        alone, alone_is_beyond = RuleProgram([instructions]).run(X, channel)
        assert hits[:, rule].tolist() == alone[:, 0].tolist()
        assert is_beyond[rule] == alone_is_beyond[0]


@settings(max_examples=400, deadline=None)
@given(text=conditions, rows=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=12), data=st.data())
def test_the_program_says_what_polars_says(text: str, rows: list[tuple[float, ...]], data: st.DataObject) -> None:
    program = program_of(text)
    if program is None:
        return
    X = np.array(rows, np.float32)
    codes = st.integers(0, len(CHANNELS) - 1)
    channel = np.array(data.draw(st.lists(codes, min_size=len(X), max_size=len(X))), np.uint8)
    hits, is_beyond = program.run(X, channel)
    if not is_beyond[0]:
        assert hits[:, 0].tolist() == polars_says(text, X, channel), text


@pytest.mark.parametrize("text", ["amount BETWEEN 1.05 AND 2.5", "amount >= 1.05 AND amount <= 2.5"])
def test_between_holds_at_its_bounds_as_comparisons_do(text: str) -> None:
    X = np.array([[1.05, 0, 0], [2.5, 0, 0], [1.0499, 0, 0], [2.5001, 0, 0]], np.float32)
    channel = np.zeros(len(X), np.uint8)
    program = program_of(text)
    assert program is not None
    assert polars_says(text, X, channel) == program.run(X, channel)[0][:, 0].tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    "text",
    [
        "amount >= 0.3 AND channel = 'wire'",
        "amount BETWEEN 0.92 * count_1h AND count_1h",
        "NOT (amount > 3 OR mean_1d IS NULL)",
        "amount + count_1h >= 15 * mean_1d / 30",
        "channel IN ('transfer', 'wire')",
        "channel LIKE 'card%' OR amount <> 5",
    ],
)
def test_conditions_on_features_and_the_channel_are_compiled(text: str) -> None:
    assert program_of(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "currency = 'USD'", "amount_minor > 5", "amount / NULLIF(count_1h, 0) > 2", "COALESCE(amount, 0.5) > 2",
        "channel = currency", "CASE WHEN amount > 1 THEN true ELSE false END",
    ],
)  # fmt: skip
def test_other_conditions_are_left_to_polars(text: str) -> None:
    assert program_of(text) is None


def test_a_deep_expression_is_left_to_polars() -> None:
    def sum_of(terms: int) -> Any:
        one, tree = {"Literal": {"Dyn": {"Int": 1}}}, {"Column": "amount"}
        for _ in range(terms):
            tree = {"BinaryExpr": {"left": one, "op": "Plus", "right": tree}}
        return {"BinaryExpr": {"left": {"Column": "amount"}, "op": "Lt", "right": tree}}

    assert compile_rule(sum_of(MAX_DEPTH - 2), PLACES) is not None
    assert compile_rule(sum_of(MAX_DEPTH - 1), PLACES) is None


def test_the_shipped_rules_need_no_polars() -> None:
    assert default_rule_set()._in_polars == []


def test_infinity_is_left_to_polars_for_which_a_number_that_is_none_is_above_all_others() -> None:
    columns = RuleColumns(NAMES, (0, 0, 0))
    rules = [
        Rule("above", 1, "infinity minus infinity", "amount * 1e9 - count_1h * 1e9 > 0", "t", 0.5),
        Rule("below", 1, "a plain one", "mean_1d < 4", "t", 0.5),
    ]
    X = np.array([[3e38, 3e38, 1.0], [1.0, 2.0, 9.0]], np.float32)
    result = RuleSet.compile(rules, columns).evaluate(transaction_columns([a_transaction(), a_transaction()]), X, 0)
    assert result.hits.tolist() == [[True, True], [False, False]]
