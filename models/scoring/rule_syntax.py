"""Reading a rule's condition: SQL text in, a checked polars expression out.

Polars parses the text. What it understood is then walked node by node against a list of what a rule may contain, so
that every rule is a boolean answer for each transaction by itself: no aggregate or window over a batch (whose size is
chance), no sub-query, no clock, nothing that can fail on some rows' values, nothing that grows memory.
"""

from __future__ import annotations

import io
import json
from typing import Any

import polars as pl

from models.scoring.errors import RuleError

MAX_EXPRESSION_CHARACTERS = 2_000
"""Bounds the work of one rule, since no node costs more than one pass over a column."""

_OPERATORS = frozenset(
    {"Eq", "NotEq", "Lt", "LtEq", "Gt", "GtEq", "And", "Or", "Plus", "Minus", "Multiply", "Divide", "TrueDivide",
     "LogicalAnd", "LogicalOr", "EqValidity", "NotEqValidity"}
)  # fmt: skip
_SQL_BINARY = frozenset({"Eq", "NotEq", "Lt", "LtEq", "Gt", "GtEq", "Add", "Sub", "Plus", "Minus", "Mul", "Div"})
_COMPARISONS = frozenset({"Lt", "LtEq", "Gt", "GtEq"})
_FUNCTIONS = frozenset({"Abs", "Sign", "Floor", "Ceil", "Coalesce", "MaxHorizontal", "MinHorizontal"})
_BOOLEAN_FUNCTIONS = frozenset({"IsNull", "IsNotNull", "Not"})
_STRING_FUNCTIONS = frozenset({"StartsWith", "EndsWith", "Contains", "Lowercase", "Uppercase", "LenChars"})
_SCALARS = frozenset(
    {"Boolean", "Null", "String", "Decimal", "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16",
     "UInt32", "UInt64"}
)  # fmt: skip

_ALLOWED = (
    "comparisons, AND, OR, NOT, BETWEEN, IN (values), LIKE, IS NULL, + - * /, CASE, COALESCE, GREATEST, LEAST, ABS, "
    "SIGN, FLOOR, CEIL, ROUND, LOWER, UPPER, LENGTH, STARTS_WITH, ENDS_WITH"
)


def parse_expression(text: str, dtypes: dict[str, type[pl.DataType]]) -> tuple[pl.Expr, tuple[str, ...]]:
    """Read a boolean SQL expression over columns.

    Parameters
    ----------
    text
        The expression, at most `MAX_EXPRESSION_CHARACTERS` long.
    dtypes
        Type by name of every column that it may read.

    Returns
    -------
    The expression, and the names of the columns that it reads.

    Raises
    ------
    RuleError
        Where it does not parse, reads an unknown column or none, holds more than the allowed operations, or is not
        boolean.

    Examples
    --------
    >>> dtypes = {"amount": pl.Float32, "pair_is_new": pl.Float32}
    >>> _, columns = parse_expression("amount > 500 AND pair_is_new = 1", dtypes)
    >>> columns
    ('amount', 'pair_is_new')
    """
    if len(text) > MAX_EXPRESSION_CHARACTERS:
        raise RuleError(
            f"the expression has {len(text)} characters, at most {MAX_EXPRESSION_CHARACTERS} are read; split the rule"
        )
    try:
        expression = pl.sql_expr(text)
        tree = json.loads(expression.meta.serialize(format="json"))
    except RecursionError:
        raise RuleError("the expression is nested too deeply; split the rule") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
        raise RuleError(f"the expression does not parse: {_first_line(error)}") from error
    columns = _check_tree(tree)
    unknown = [name for name in columns if name not in dtypes]
    if unknown:
        raise RuleError(f"unknown column {unknown[0]!r}; {_nearest(unknown[0], dtypes)}")
    if not columns:
        raise RuleError("the expression reads no column, so it says the same of every transaction")
    _check_type(expression, {name: dtypes[name] for name in columns})
    return _with_one_kind_of_comparison(tree, expression), columns


def _with_one_kind_of_comparison(tree: Any, expression: pl.Expr) -> pl.Expr:
    """Let BETWEEN compare with a fraction as >= and <= do, in the column's own type.

    Polars widens the column to 64 bits for the comparisons that it makes of BETWEEN, and not for those written out:
    then `x BETWEEN 1.05 AND 2` would not hold for a 32-bit 1.05, where `x >= 1.05` does. Changes `tree`.
    """
    is_changed = False
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            match node:
                case {"BinaryExpr": {"op": operator, "left": left, "right": right}}:
                    if operator in _COMPARISONS and _is_fraction(right):
                        node.clear()
                        node["Function"] = {"input": [left, right], "function": {"Sql": {"Binary": operator}}}
                        is_changed = True
            pending += node.values()
    if not is_changed:
        return expression
    try:
        return pl.Expr.deserialize(io.BytesIO(json.dumps(tree).encode()), format="json")
    except RecursionError:
        raise RuleError("the expression is nested too deeply; split the rule") from None


def _is_fraction(node: Any) -> bool:
    match node:
        case {"Literal": {"Scalar": {"Decimal": _}}}:
            return True
    return False


def _check_tree(tree: Any) -> tuple[str, ...]:
    """Return the columns of a serialised expression, or say what in it is not allowed."""
    columns: dict[str, None] = {}
    pending = [tree]
    while pending:
        kind, body = _tagged(pending.pop())
        if kind == "Column":
            columns[body] = None
        elif kind == "Literal" and _is_value(body):
            continue
        elif kind == "BinaryExpr" and body["op"] in _OPERATORS:
            pending += [body["right"], body["left"]]
        elif kind == "Ternary":
            pending += [body["falsy"], body["truthy"], body["predicate"]]
        elif kind == "Cast" and body["dtype"] == {"Literal": "Boolean"}:  # what NOT (...) becomes
            pending.append(body["expr"])
        elif kind == "Function":
            pending += reversed(_checked_inputs(body["function"], body["input"]))
        else:
            raise _not_allowed(kind)
    return tuple(columns)


def _checked_inputs(function: Any, inputs: list[Any]) -> list[Any]:
    """Return the inputs of an allowed function that are still to be checked."""
    family, member = _tagged(function)
    name, detail = _tagged(member)
    if family == "Sql" and name == "IsIn" and "Series" in _tagged(inputs[1])[1]:
        return inputs[:1]
    if family == "Sql" and name == "Binary" and detail == "Div" and not _is_never_zero(inputs[1]):
        # 0 / 0 would be NaN, which counts as larger than any number.
        raise RuleError("a division must be by a number other than 0 or by NULLIF(column, 0)")
    # A pattern that is a value of the data could be no valid pattern, and fail the batch.
    is_fixed = all(_tagged(value)[0] == "Literal" for value in inputs[1:])
    if (
        family in _FUNCTIONS
        or (family == "Boolean" and name in _BOOLEAN_FUNCTIONS)
        or (family == "Sql" and (name == "Round" or (name == "Binary" and detail in _SQL_BINARY)))
        or (family == "StringExpr" and name in _STRING_FUNCTIONS and is_fixed)
    ):
        return inputs
    raise _not_allowed(f"{family} {name}".strip())


def _tagged(node: Any) -> tuple[str, Any]:
    """Split a serialised enum value, which is either `name` or `{name: content}`."""
    if isinstance(node, dict) and len(node) == 1:
        return next(iter(node.items()))
    return (node if isinstance(node, str) else "", {})


def _is_value(body: Any) -> bool:
    kind, value = _tagged(body)
    # A scalar of another type would be a date or time, such as NOW() at the moment of parsing.
    return kind == "Dyn" or (kind == "Scalar" and _tagged(value)[0] in _SCALARS)


def _is_never_zero(node: Any) -> bool:
    kind, body = _tagged(node)
    if kind == "Ternary":  # what NULLIF(x, 0) becomes
        is_null = body["truthy"] == {"Literal": {"Scalar": {"Null": "Null"}}}
        tests_zero = body["predicate"] == {
            "BinaryExpr": {"left": body["falsy"], "op": "Eq", "right": {"Literal": {"Dyn": {"Int": 0}}}}
        }
        return bool(is_null and tests_zero)
    _, number = _tagged(_tagged(body)[1]) if kind == "Literal" else ("", {})
    return bool(number[0] if isinstance(number, list) else number)


def _not_allowed(what: str) -> RuleError:
    return RuleError(f"{what or 'this'} is not allowed in a rule; use {_ALLOWED}")


def _check_type(expression: pl.Expr, dtypes: dict[str, type[pl.DataType]]) -> None:
    empty = pl.DataFrame(schema=dtypes)
    # Two rows with values and one without: what fails on any value fails here.
    probe = pl.DataFrame({name: pl.Series(_probe_values(dtype), dtype=dtype) for name, dtype in dtypes.items()})
    try:
        dtype = empty.lazy().select(rule=expression).collect_schema()["rule"]
        if dtype != pl.Boolean:
            raise RuleError(f"the expression gives {dtype}, not true or false; compare it with something")
        height = probe.select_seq(rule=expression).height
    except RecursionError:
        raise RuleError("the expression is nested too deeply; split the rule") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise RuleError(f"the expression cannot be evaluated: {_first_line(error)}") from error
    if height != len(probe):
        raise RuleError("the expression does not give one answer for each transaction")


def _probe_values(dtype: type[pl.DataType]) -> list[Any]:
    return ["", "A9", None] if dtype == pl.String else [0, 1, None]


def _nearest(name: str, dtypes: dict[str, type[pl.DataType]]) -> str:
    from difflib import get_close_matches  # only needed to word an error

    near = get_close_matches(name, dtypes, n=3)
    return f"did you mean {' or '.join(near)}?" if near else "docs/rules.md lists the columns"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
