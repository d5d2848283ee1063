"""Control records: whatever their order and overlap, the newest of each key counts; a broken one changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.stream.control import Control, ControlError, ControlRecord
from models.scoring.decider import Decider, default_rule_set
from schemas.records import encode_record
from tests.learner_updates import KEY, NAME, an_update

RULES = default_rule_set()


def a_rule(rule_id: str, version: int = 1, mode: str = "live") -> bytes:
    fields = {"description": "", "expression": "amount_minor > 5", "typology": "t", "weight": 0.1, "mode": mode}
    return encode_record("rule", {"rule_id": rule_id, "version": version, **fields})


def records_of(changes: list[tuple[str, str | None]]) -> list[ControlRecord]:
    """One record a change: a new version of a rule in a mode, or its removal."""
    return [
        ControlRecord(f"rule/{rule_id}".encode(), a_rule(rule_id, offset + 1, mode) if mode else b"", offset)
        for offset, (rule_id, mode) in enumerate(changes)
    ]


def versions_of(control: Control) -> tuple[str, str | None]:
    """What decides, and what is on trial."""
    return control.decider.rules.version, control.shadow and control.shadow.decider.rules.version


modes = st.sampled_from(["live", "shadow", None])
changes = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), modes), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(changes, st.data())
def test_what_start_state_and_topic_bring_may_overlap(
    changes: list[tuple[str, str | None]], data: st.DataObject
) -> None:
    records = records_of(changes)
    expected = Control(Decider(None, RULES))
    for record in records:
        expected.apply(record)
    cut = data.draw(st.integers(0, len(records)))
    newest = {record.key: record for record in records[:cut]}
    control = Control(Decider(None, RULES), newest.values())
    state = {r.key.decode(): r.to_bytes() for r in records[: data.draw(st.integers(0, len(records)))]}
    control.restore(state)
    for record in records[data.draw(st.integers(0, cut)) :]:
        control.apply(record)
    assert versions_of(control) == versions_of(expected)


def test_a_shadow_rule_comes_goes_live_and_goes_beside_a_decider_that_stays_as_it_is() -> None:
    control = Control(Decider(None, RULES))
    assert versions_of(control) == (RULES.version, None)
    control.apply(ControlRecord(b"rule/a", a_rule("a", 1, "shadow"), 0))
    live, tried = versions_of(control)
    assert live == RULES.version != tried
    control.apply(ControlRecord(b"rule/a", a_rule("a", 1), 1))
    assert versions_of(control) == (tried, None)
    control.apply(ControlRecord(b"rule/a", a_rule("a", 1, "shadow"), 2))
    assert versions_of(control) == (live, tried)
    control.apply(ControlRecord(b"rule/a", b"", 3))
    assert versions_of(control) == (live, None)


def test_a_learners_parameters_reach_the_shadow_too() -> None:
    control = Control(Decider(None, RULES), learner=NAME)
    control.apply(ControlRecord(b"rule/a", a_rule("a", 1, "shadow"), 0))
    control.apply(ControlRecord(KEY, encode_record("model_update", an_update(1, is_combined=True)), 1))
    assert control.shadow is not None
    assert control.shadow.decider.learner is control.decider.learner is not None
    control.apply(ControlRecord(b"rule/b", a_rule("b", 1, "shadow"), 2))
    assert control.shadow.decider.learner is control.decider.learner is not None


@pytest.mark.parametrize(
    "record",
    [
        ControlRecord(b"rule/\xff", b"", 0),
        ControlRecord(b"", a_rule("a"), 0),
        ControlRecord(b"model/a", a_rule("a"), 0),
        ControlRecord(b"rule/b", a_rule("a"), 0),
        ControlRecord(b"rule/a", b"\xfe", 0),
        ControlRecord(b"rule/a", a_rule("a")[:-3], 0),
    ],
)
def test_a_broken_record_is_refused_and_changes_nothing(record: ControlRecord) -> None:
    control = Control(Decider(None, RULES))
    with pytest.raises(ControlError):
        control.apply(record)
    assert control.decider.rules.version == RULES.version
    control.apply(ControlRecord(b"rule/a", a_rule("a"), 1))
    assert control.decider.rules.version != RULES.version
