"""Control records: whatever their order and overlap, the newest of each key counts; a broken one changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.stream.control import Control, ControlError, ControlRecord
from models.scoring.decider import Decider, default_rule_set
from schemas.records import encode_record

RULES = default_rule_set()


def a_rule(rule_id: str, version: int = 1) -> bytes:
    fields = {"description": "", "expression": "amount_minor > 5", "typology": "t", "weight": 0.1}
    return encode_record("rule", {"rule_id": rule_id, "version": version, **fields})


def records_of(changes: list[tuple[str, bool]]) -> list[ControlRecord]:
    """One record a change: a new version of a rule, or its removal."""
    return [
        ControlRecord(f"rule/{rule_id}".encode(), a_rule(rule_id, offset + 1) if is_set else b"", offset)
        for offset, (rule_id, is_set) in enumerate(changes)
    ]


changes = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.booleans()), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(changes, st.data())
def test_what_start_state_and_topic_bring_may_overlap(changes: list[tuple[str, bool]], data: st.DataObject) -> None:
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
    assert control.decider.rules.version == expected.decider.rules.version


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
