"""Rules over features alone, as one compiled loop: a frame library spends a hundred times as long on each batch's plan.

A rule's expression becomes a few instructions of a stack machine over float32, in which NaN is null. What it says is
what polars says of the same expression, bit for bit; polars itself remains the judge of every expression that holds
something else: text, whole numbers, CASE and functions.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numba import njit

from schemas.columns import CHANNELS, F32, I32, U8, Bool

MAX_DEPTH = 64
"""Values on the stack. A deeper expression is left to polars."""

(
    _COLUMN, _CONSTANT, _CHANNEL, _ADD, _SUBTRACT, _MULTIPLY, _DIVIDE, _LESS, _LESS_EQUAL, _GREATER, _GREATER_EQUAL,
    _EQUAL, _NOT_EQUAL, _AND, _OR, _NOT, _IS_NULL, _IS_NOT_NULL, _SKIP_IF_FALSE, _SKIP_IF_TRUE,
) = range(20)  # fmt: skip

_ARITHMETIC = {
    "Plus": _ADD, "Add": _ADD, "Minus": _SUBTRACT, "Sub": _SUBTRACT, "Multiply": _MULTIPLY, "Mul": _MULTIPLY,
    "Div": _DIVIDE,
}  # fmt: skip
_COMPARISONS = {
    "Lt": _LESS, "LtEq": _LESS_EQUAL, "Gt": _GREATER, "GtEq": _GREATER_EQUAL, "Eq": _EQUAL, "NotEq": _NOT_EQUAL,
}  # fmt: skip
_LOGIC = {"And": (_AND, _SKIP_IF_FALSE), "LogicalAnd": (_AND, _SKIP_IF_FALSE), "Or": (_OR, _SKIP_IF_TRUE),
          "LogicalOr": (_OR, _SKIP_IF_TRUE)}  # fmt: skip
_NUMBER, _BOOLEAN, _LITERAL = "number", "boolean", "literal"

Instructions = tuple[tuple[int, int | float | tuple[float, ...]], ...]
"""Operations with what each needs: a column's place, a number, a table of answers by channel, a jump's length."""


class _UnsupportedError(Exception):
    """The expression holds something that the machine does not know."""


def compile_rule(tree: Any, feature_places: Mapping[str, int]) -> Instructions | None:
    """Translate a serialised polars expression, or return None where it holds more than the machine knows.

    Parameters
    ----------
    tree
        What `Expr.meta.serialize(format="json")` says of a checked expression (`rule_syntax`).
    feature_places
        Column of the feature matrix by name.
    """
    try:
        kind, instructions, depth = _Translator(feature_places).translate(tree)
    except _UnsupportedError:
        return None
    return tuple(instructions) if kind == _BOOLEAN and depth <= MAX_DEPTH else None


class _Translator:
    def __init__(self, places: Mapping[str, int]) -> None:
        self._places = places

    def translate(self, node: Any) -> tuple[str, list[Any], int]:
        """Return what the node gives, its instructions, and how many values they stack."""
        if not isinstance(node, dict) or len(node) != 1:
            raise _UnsupportedError
        kind, body = next(iter(node.items()))
        if kind == "Column" and body in self._places:
            return _NUMBER, [(_COLUMN, self._places[body])], 1
        if kind == "Literal":
            return _LITERAL, [(_CONSTANT, _number(body))], 1
        if _columns(node) == {"channel"}:
            return _BOOLEAN, [(_CHANNEL, _by_channel(node))], 1
        if kind == "BinaryExpr":
            return self._binary(body["op"], body["left"], body["right"])
        if kind == "Cast":  # to boolean, as the condition of a NOT
            inner = self.translate(body["expr"])
            if inner[0] == _BOOLEAN:
                return inner
        if kind == "Function":
            return self._function(body["function"], body["input"])
        raise _UnsupportedError

    def _function(self, function: Any, inputs: Sequence[Any]) -> tuple[str, list[Any], int]:
        match function:
            case {"Sql": {"Binary": operator}}:
                return self._binary(operator, *inputs)
            case {"Boolean": "Not"}:
                kind, code, depth = self.translate(inputs[0])
                if kind == _BOOLEAN:
                    return _BOOLEAN, [*code, (_NOT, 0)], depth
            case {"Boolean": "IsNull" | "IsNotNull" as name}:
                kind, code, depth = self.translate(inputs[0])
                if kind != _LITERAL:
                    return _BOOLEAN, [*code, (_IS_NULL if name == "IsNull" else _IS_NOT_NULL, 0)], depth
        raise _UnsupportedError

    def _binary(self, operator: str, left: Any, right: Any) -> tuple[str, list[Any], int]:
        left_kind, left_code, left_depth = self.translate(left)
        right_kind, right_code, right_depth = self.translate(right)
        kinds, depth = {left_kind, right_kind}, max(left_depth, 1 + right_depth)
        if operator in _LOGIC and kinds == {_BOOLEAN}:
            operation, skip = _LOGIC[operator]
            return _BOOLEAN, [*left_code, (skip, len(right_code) + 1), *right_code, (operation, 0)], depth
        # Two literals alone would be numbers of another type, which polars folds.
        if _NUMBER in kinds and _BOOLEAN not in kinds:
            if operator in _ARITHMETIC:
                return _NUMBER, [*left_code, *right_code, (_ARITHMETIC[operator], 0)], depth
            if operator in _COMPARISONS:
                return _BOOLEAN, [*left_code, *right_code, (_COMPARISONS[operator], 0)], depth
        raise _UnsupportedError


def _number(literal: Any) -> float:
    match literal:
        case {"Dyn": {"Int": int(value)}} | {"Dyn": {"Float": float(value)}}:
            return float(value)
        case {"Scalar": {"Decimal": [int(unscaled), int(), int(scale)]}}:
            return float(unscaled / 10**scale)
    raise _UnsupportedError


def _columns(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["Column"]} if isinstance(node.get("Column"), str) else set()
        return found.union(*(_columns(child) for child in node.values()))
    return set().union(*(_columns(child) for child in node)) if isinstance(node, list) else set()


def _by_channel(node: Any) -> tuple[float, ...]:
    """Return what an expression over the channel alone says of each channel, by asking polars."""
    expression = pl.Expr.deserialize(io.BytesIO(json.dumps(node).encode()), format="json")
    frame = pl.DataFrame({"channel": pl.Series(CHANNELS, dtype=pl.String)})
    answers = frame.select(answer=expression)["answer"]
    if answers.dtype != pl.Boolean:
        raise _UnsupportedError
    return tuple(np.nan if answer is None else float(answer) for answer in answers)


class RuleProgram:
    """The instructions of some rules, ready to run.

    Parameters
    ----------
    rules
        Instructions of R rules.
    """

    def __init__(self, rules: Iterable[Instructions]) -> None:
        operations: list[int] = []
        operands: list[int] = []
        numbers: list[float] = []
        tables: list[tuple[float, ...]] = []
        starts = [0]
        for instructions in rules:
            for operation, operand in instructions:
                operations.append(operation)
                if operation == _CONSTANT:
                    operands.append(len(numbers))
                    numbers.append(float(operand))  # type: ignore[arg-type]
                elif operation == _CHANNEL:
                    operands.append(len(tables))
                    tables.append(operand)  # type: ignore[arg-type]
                else:
                    operands.append(int(operand))  # type: ignore[arg-type]
            starts.append(len(operations))
        self._code: I32 = np.array([operations, operands], np.int32).T.copy().reshape(-1, 2)
        self._starts: I32 = np.array(starts, np.int32)
        self._numbers: F32 = np.array(numbers, np.float32)
        self._tables: F32 = np.array(tables, np.float32).reshape(-1, len(CHANNELS))
        self._asked, self._asked_until = self._by_channel()

    def _by_channel(self) -> tuple[I32, I32]:
        """Return the rules that a channel alone does not answer with no: those of each channel, and where they end."""
        asked: list[int] = []
        until = [0]
        for channel in range(len(CHANNELS)):
            asked += [rule for rule in range(len(self._starts) - 1) if not self._is_refused(rule, channel)]
            until.append(len(asked))
        return np.array(asked, np.int32), np.array(until, np.int32)

    def _is_refused(self, rule: int, channel: int) -> bool:
        """Whether a rule says no after it looked at nothing but the channel."""
        at, end = self._starts[rule], self._starts[rule + 1]
        operation, operand = self._code[at]
        if operation != _CHANNEL or self._tables[operand, channel] != 0.0:
            return False
        at += 1
        while at < end and self._code[at, 0] == _SKIP_IF_FALSE:
            at += 1 + self._code[at, 1]
        return bool(at == end)

    def run(self, X: F32, channel: U8) -> tuple[Bool, Bool]:
        """Ask the rules about n transactions.

        Parameters
        ----------
        X
            (n, F) features; NaN is null.
        channel
            (n,) index into CHANNELS.

        Returns
        -------
        Hits, (n, R), and which rules met an infinite number, (R,): what they say is left to polars, which tells a
        number that is none from a null.
        """
        hits = np.zeros((len(X), len(self._starts) - 1), np.bool_)
        is_beyond = np.zeros(hits.shape[1], np.bool_)
        _run(
            self._code, self._starts, self._numbers, self._tables, self._asked, self._asked_until, X, channel, hits,
            is_beyond,
        )  # fmt: skip
        return hits, is_beyond


@njit(cache=True, nogil=True, error_model="numpy")
def _run(  # type: ignore[no-untyped-def]
    code, starts, numbers, tables, asked, asked_until, X, channel, hits, is_beyond
):  # fmt: skip
    stack = np.empty(MAX_DEPTH + 1, np.float32)
    no, yes, null = np.float32(0.0), np.float32(1.0), np.float32(np.nan)
    for row in range(len(X)):
        for place in range(asked_until[channel[row]], asked_until[channel[row] + 1]):
            rule = asked[place]
            at = starts[rule]
            top = -1
            while at < starts[rule + 1]:
                operation = code[at, 0]
                operand = code[at, 1]
                at += 1
                if operation == _COLUMN:
                    top += 1
                    stack[top] = X[row, operand]
                    if np.isinf(stack[top]):
                        is_beyond[rule] = True
                elif operation == _CONSTANT:
                    top += 1
                    stack[top] = numbers[operand]
                elif operation == _CHANNEL:
                    top += 1
                    stack[top] = tables[operand, channel[row]]
                elif operation == _SKIP_IF_FALSE:
                    if stack[top] == no:
                        at += operand
                elif operation == _SKIP_IF_TRUE:
                    if stack[top] == yes:
                        at += operand
                elif operation == _NOT:
                    stack[top] = yes - stack[top]
                elif operation == _IS_NULL:
                    stack[top] = yes if np.isnan(stack[top]) else no
                elif operation == _IS_NOT_NULL:
                    stack[top] = no if np.isnan(stack[top]) else yes
                else:
                    right = stack[top]
                    top -= 1
                    left = stack[top]
                    if operation <= _DIVIDE:
                        if operation == _ADD:
                            value = left + right
                        elif operation == _SUBTRACT:
                            value = left - right
                        elif operation == _MULTIPLY:
                            value = left * right
                        else:
                            value = left / right
                        if np.isinf(value):
                            is_beyond[rule] = True
                        stack[top] = value
                    elif operation == _AND:
                        # Left is true or null here.
                        stack[top] = no if right == no else left + right - yes
                    elif operation == _OR:
                        stack[top] = yes if right == yes else left + right
                    elif np.isnan(left) or np.isnan(right):
                        stack[top] = null
                    else:
                        if operation == _LESS:
                            answer = left < right
                        elif operation == _LESS_EQUAL:
                            answer = left <= right
                        elif operation == _GREATER:
                            answer = left > right
                        elif operation == _GREATER_EQUAL:
                            answer = left >= right
                        elif operation == _EQUAL:
                            answer = left == right
                        else:
                            answer = left != right
                        stack[top] = yes if answer else no
            hits[row, rule] = stack[0] == yes
