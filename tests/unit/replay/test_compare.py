"""The difference of two runs against a naive one over decoded decisions; a planted change is found exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from models.features.catalogue import FEATURE_NAMES
from models.replay.compare import Difference, RunBuilder, RunColumns, compare
from models.scoring.decider import rule_columns
from models.scoring.rules import RuleSet, default_rules
from schemas.ledger_reader import LedgerReader
from schemas.records import decode_record
from tests.recorded import a_decider, comparable, plain_loop, record_stream

PLANTED = "everything-large"


def with_rule(threshold: int) -> list[bytes]:
    rule = dataclasses.replace(
        default_rules()[0], rule_id=PLANTED, expression=f"amount_minor > {threshold}", typology="planted", weight=0.6
    )
    rules = RuleSet.compile((*default_rules(), rule), rule_columns())
    return plain_loop(record_stream(3_000, seed=9), decider=a_decider().with_rules(rules)).decisions


@cache
def runs() -> tuple[list[bytes], list[bytes]]:
    return with_rule(50_000), with_rule(40_000)


def run_of(decisions: Sequence[bytes], cut: int = 700) -> RunColumns:
    builder, reader = RunBuilder(), LedgerReader(len(FEATURE_NAMES))
    for start in range(0, len(decisions), cut):
        builder.add(reader.decode(decisions[start : start + cut]))
    return builder.build()


def places(run: RunColumns, rows: Any) -> set[int]:
    return set(run.place[rows].tolist())


def naive(decisions: Sequence[bytes]) -> dict[int, dict[str, Any]]:
    records = [comparable(decode_record(value, name="decision")) for value in decisions]
    return {(r["source_partition"] << 48) | r["source_offset"]: r for r in records}


def codes(record: dict[str, Any]) -> set[str]:
    explanation = record["explanation"]
    return {r["code"] for r in explanation["reasons"]} | {f"RULE:{h['rule_id']}" for h in explanation["rule_hits"]}


def test_a_planted_threshold_is_found_with_exactly_its_alerts() -> None:
    first, second = runs()
    found = compare(run_of(first), run_of(second))
    a, b = naive(first), naive(second)
    new = {p for p in a if a[p]["outcome"] == "approve" and b[p]["outcome"] != "approve"}
    lost = {p for p in a if a[p]["outcome"] != "approve" and b[p]["outcome"] == "approve"}
    both = [p for p in a if a[p]["outcome"] != "approve" and b[p]["outcome"] != "approve"]
    changed = {p for p in both if a[p]["outcome"] != b[p]["outcome"] or codes(a[p]) != codes(b[p])}
    assert new
    assert places(found.b, found.new) == new
    assert places(found.a, found.lost) == lost
    assert places(found.a, found.changed) == changed
    assert found.reasons["new"][f"RULE:{PLANTED}"] == len(new)
    assert {p for p, same in zip(found.a.place.tolist(), found.is_equal.tolist(), strict=True) if same} == {
        p for p in a if a[p] == b[p]
    }
    outcomes = ("approve", "review", "decline")
    for i, before in enumerate(outcomes):
        for k, after in enumerate(outcomes):
            assert found.outcomes[i, k] == sum((a[p]["outcome"], b[p]["outcome"]) == (before, after) for p in a)
    assert "score" not in found.fields
    assert not found.is_same


def test_equal_runs_do_not_differ_however_they_were_cut() -> None:
    first, _ = runs()
    found = compare(run_of(first), run_of(list(reversed(first)), cut=37))
    assert found.is_same
    assert not len(found.new) + len(found.lost) + len(found.changed)
    assert found.fields == {}
    assert set(found.shift) == {0.0}


def test_features_and_scores_that_moved_are_counted_by_name() -> None:
    first, _ = runs()
    whole, late = run_of(first), run_of(first)
    features = late.features.copy()
    features[3, 5], features[4, 5] = features[3, 5] + 1, np.nan
    score = late.score.copy()
    score[7] += np.float32(0.5)
    body = late.body.copy()
    body[[3, 4, 7, 9]] += np.uint64(1)
    found = compare(whole, dataclasses.replace(late, features=features, score=score, body=body))
    moved = 1 + int(not np.isnan(whole.features[4, 5]))
    assert found.fields[FEATURE_NAMES[5]] == moved
    assert found.fields["score"] == 1
    assert found.fields["only reasons, rules or versions"] == 4 - 1 - moved
    assert found.shift[-1] == pytest.approx(0.5)


def test_transactions_of_one_run_alone_are_counted() -> None:
    first, _ = runs()
    found: Difference = compare(run_of(first[:-10]), run_of(first[5:]))
    assert (found.only_a, found.only_b) == (5, 10)
    assert found.is_equal.all()
    assert not found.is_same
    nothing = compare(run_of([]), run_of(first))
    assert (len(nothing.a), nothing.only_b) == (0, len(first))
