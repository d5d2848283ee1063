from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring.errors import RuleError
from models.scoring.rule_syntax import MAX_EXPRESSION_CHARACTERS, parse_expression

DTYPES: dict[str, type[pl.DataType]] = {
    "amount": pl.Float32,
    "mean": pl.Float32,
    "amount_minor": pl.Int64,
    "currency": pl.String,
}


def answers(text: str, **values: list[Any]) -> list[bool | None]:
    expression, columns = parse_expression(text, DTYPES)
    return (
        pl.DataFrame({n: pl.Series(values[n], dtype=DTYPES[n]) for n in columns})
        .select(expression)
        .to_series()
        .to_list()
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amount > 10", [False, True, None]),
        ("amount BETWEEN 10 AND 20 AND mean >= 1", [False, True, None]),
        ("amount NOT BETWEEN 10 AND 20", [True, False, None]),
        ("NOT (amount > 10)", [True, False, None]),
        ("amount IS NULL OR amount < 6", [True, False, True]),
        ("amount IS NOT NULL", [True, True, False]),
        ("currency IN ('EUR', 'CHF')", [True, False, None]),
        ("currency NOT IN ('EUR', 'CHF')", [False, True, None]),
        ("currency LIKE 'E%'", [True, False, None]),
        ("currency <> 'EUR'", [False, True, None]),
        ("LOWER(currency) = 'usd' OR amount_minor = 500", [True, True, None]),
        ("amount / 2 + mean * 3 - 1 > 10", [False, True, None]),
        ("amount / NULLIF(mean, 0) >= 2", [True, True, None]),
        ("CASE WHEN amount > 10 THEN mean ELSE 0 END > 1", [False, True, False]),
        ("COALESCE(amount, 0) = 0", [False, False, True]),
        ("GREATEST(amount, mean) > 10 AND LEAST(amount, mean) < 10", [False, True, None]),
        ("ABS(amount - 5.1) < 0.01", [True, False, None]),
        ("amount = 5.1", [True, False, None]),
        ("amount_minor > 499", [True, True, None]),
        ("-amount < -10", [False, True, None]),
    ],
)  # fmt: skip
def test_a_rule_says_true_false_or_null_of_each_transaction(text: str, expected: list[bool | None]) -> None:
    rows = {
        "amount": [5.1, 20.0, None],
        "mean": [2.0, 4.0, None],
        "amount_minor": [500, 2_000, None],
        "currency": ["EUR", "USD", None],
    }
    assert answers(text, **rows) == expected


def test_large_amounts_are_compared_exactly() -> None:
    assert answers("amount_minor > 9007199254740992", amount_minor=[9007199254740992, 9007199254740993]) == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "amount > AVG(amount)", "SUM(amount) > 1", "COUNT(*) > 0", "MAX(amount) > 1", "STDDEV(amount) > 1",
        "QUANTILE_CONT(amount, 0.5) > 1", "CORR(amount, mean) > 0", "FIRST(amount) > 1",
        "ROW_NUMBER() OVER (ORDER BY amount) > 3", "SUM(amount) OVER (PARTITION BY currency) > 1",
        "LAG(amount) OVER (ORDER BY amount) > 1",
        "amount > (SELECT 1)", "amount IN (SELECT mean FROM self)", "EXISTS (SELECT 1 FROM self)",
        "amount > ALL (mean)", "amount > ANY (mean)",
        "UNNEST(amount_minor) > 1", "COLUMNS('a') > 1", "*", "self.amount > 1", "amount AS hit",
    ],
)  # fmt: skip
def test_what_looks_beyond_the_row_is_refused(text: str) -> None:
    with pytest.raises(RuleError):
        parse_expression(text, DTYPES)


@pytest.mark.parametrize(
    "text",
    [
        "NOW() > amount_minor", "CURRENT_DATE > '2020-01-01'", "RANDOM() > 0.5", "read_csv('/etc/passwd') > 1",
        "REPEAT('a', 1000000000) = currency", "CAST(currency AS INT) > 1", "currency::INT > 1",
        "CONCAT(currency, currency) = 'x'", "LN(amount) > 1", "amount > DATE '2020-01-01'",
        "amount > 1; DROP TABLE x", "amount >", "", "   ", "TRUE", "1 = 1", "'EUR' = 'EUR'",
        "amount", "amount + 1", "currency", "currency > 1", "amount LIKE 'x'", "NOT currency",
        "amount / mean > 1", "amount / 0 > 1", "amount / 0.0 > 1", "amount / NULLIF(mean, 1) > 1",
        "currency LIKE currency", "REGEXP_LIKE(currency, currency)", "currency ~ '('",
        "(" * 900 + "amount > 1" + ")" * 900, "NOT " * 400 + "amount > 1",
    ],
)  # fmt: skip
def test_what_is_no_plain_condition_is_refused(text: str) -> None:
    with pytest.raises(RuleError):
        parse_expression(text, DTYPES)


def test_a_mistyped_column_gets_a_suggestion() -> None:
    with pytest.raises(RuleError, match=r"unknown column 'amuont'; did you mean amount"):
        parse_expression("amuont > 1", DTYPES)


def test_a_long_sum_is_evaluated() -> None:
    assert answers("amount" + "+mean" * 398 + ">1", amount=[1.0, None], mean=[2.0, 2.0]) == [True, None]


def test_an_overlong_expression_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(RuleError, match="2010 characters"):
        parse_expression("amount > 1" + " " * MAX_EXPRESSION_CHARACTERS, DTYPES)


_numbers = st.one_of(
    st.sampled_from(["amount", "mean", "amount_minor"]),
    st.integers(-100, 100).map(str),
    st.floats(-100, 100, allow_nan=False).map(lambda x: f"{x:.3f}"),
)
_terms = st.recursive(
    _numbers,
    lambda t: st.one_of(
        st.tuples(t, st.sampled_from("+-*"), t).map(lambda x: f"({x[0]} {x[1]} {x[2]})"),
        t.map(lambda x: f"ABS({x})"),
        st.tuples(t, t).map(lambda x: f"COALESCE({x[0]}, {x[1]})"),
    ),
    max_leaves=4,
)
_conditions = st.recursive(
    st.one_of(
        st.tuples(_terms, st.sampled_from(["<", "<=", "=", "<>", ">", ">="]), _terms).map(" ".join),
        _terms.map(lambda t: f"{t} IS NULL"),
        st.sampled_from(["currency = 'EUR'", "currency IN ('EUR', 'USD')", "currency LIKE 'U%'"]),
    ),
    lambda c: st.one_of(
        st.tuples(c, st.sampled_from(["AND", "OR"]), c).map(lambda x: f"({x[0]} {x[1]} {x[2]})"),
        c.map(lambda x: f"NOT ({x})"),
    ),
    max_leaves=4,
)
_floats = st.one_of(st.none(), st.floats(-1e6, 1e6, width=32))
_rows = st.tuples(_floats, _floats, st.integers(0, 10**15), st.sampled_from(["EUR", "USD", "", None]))


@settings(max_examples=150, deadline=None)
@given(text=_conditions, rows=st.lists(_rows, min_size=1, max_size=6))
def test_the_answer_for_a_row_does_not_depend_on_the_other_rows(text: str, rows: list[tuple[Any, ...]]) -> None:
    try:
        expression, _ = parse_expression(text, DTYPES)
    except RuleError:
        return  # constants compared with constants, and types that do not go together
    names = list(DTYPES)
    frame = pl.DataFrame(rows, schema=DTYPES, orient="row")
    assert frame.columns == names
    together = frame.select_seq(expression).to_series().to_list()
    if len(together) == 1:
        together *= len(rows)  # of a column of nulls alone COALESCE leaves its constant; the rule set spreads it
    alone = [frame.slice(i, 1).select_seq(expression).to_series().to_list() for i in range(len(rows))]
    assert [[answer] for answer in together] == alone
    assert all(answer is None or not math.isnan(answer) for answer in together)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="amount <>=()'\"*;,-+/%0123456789.NOTANDORSELECTcurrency\n\x00é", max_size=60))
def test_no_text_does_worse_than_being_refused(text: str) -> None:
    try:
        expression, columns = parse_expression(text, DTYPES)
    except RuleError:
        return
    frame = pl.DataFrame({name: pl.Series([None, None], dtype=DTYPES[name]) for name in columns})
    assert frame.select_seq(expression).height == 2
