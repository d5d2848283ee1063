"""A recorded decision beside a recomputed one: equal or not, exactly what differs, and why."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.catalogue import FEATURE_NAMES
from models.replay.audit import (
    DIFFERENT,
    ENCODING,
    EQUAL,
    UNVERIFIABLE,
    Circumstances,
    DecidersAtHand,
    Verification,
    compare_decisions,
    verify_values,
)
from models.replay.deciders import VersionError
from models.scoring.decider import Decider
from schemas.framing import SINGLE_OBJECT_BYTES
from schemas.ledger_reader import LedgerReader
from schemas.records import decode_record, encode_record
from tests.unit.cli.outputs import REASON, a_decision

NOTHING = Circumstances()
OTHER_MODE = {"mode": "replay", "run_id": "verify", "ingest_time_ms": 0, "decision_time_ms": 0}

HIT = {"rule_id": "large-1", "version": 1, "typology": "structuring", "weight": 0.5}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
FLOATS = st.floats(width=32)
LONGS = st.integers(-(2**62), 2**62)
PARTS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        (
            "transaction_id", "account_id", "counterparty_id", "currency", "model_name", "model_version",
            "model_sha256", "learner_name", "learner_version", "learner_sha256", "rules_version", "feature_set",
        ),
        TEXTS,
    ),
    **dict.fromkeys(("event_time_ms", "source_time_ms"), st.integers(0, 2**42)),
    **dict.fromkeys(("amount_minor", "source_offset"), LONGS),
    **dict.fromkeys(("source_partition", "schema_version", "revision"), st.integers(0, 2**31 - 1)),
    **dict.fromkeys(("score", "typology_score", "model_score", "learner_score"), FLOATS),
    "outcome": st.sampled_from(["approve", "review", "decline"]),
    "touch_sequences": st.lists(LONGS, min_size=3, max_size=3),
    "explanation.reasons": st.lists(
        st.builds(lambda text, value: {**REASON, "text": text, "value": value}, TEXTS, FLOATS), max_size=3
    ),
    "explanation.rule_hits": st.lists(st.builds(lambda text: {**HIT, "rule_id": text}, TEXTS), max_size=3),
    "explanation.warming": st.lists(TEXTS, max_size=3),
    "explanation.degraded": st.lists(TEXTS, max_size=3),
    **{f"features.{name}": FLOATS for name in FEATURE_NAMES},
}  # fmt: skip
"""Every part of a decision that is compared, by its name."""


def recorded(**changed: Any) -> dict[str, Any]:
    """Return a decision as it is read from the ledger."""
    full = a_decision(learner_name="", learner_version="", learner_sha256="", model_score=0.25, learner_score=-1.0)
    return decode_record(encode_record("decision", {**full, **changed}), name="decision")


def with_part(record: dict[str, Any], name: str, value: Any) -> bytes:
    """Return the encoded decision with one part changed."""
    changed = copy.deepcopy(record)
    of, _, part = name.partition(".")
    if of == "features":
        changed[of][FEATURE_NAMES.index(part)] = value
    elif of == "explanation":
        changed[of][part] = value
    else:
        changed[of] = value
    return encode_record("decision", changed)


def body(value: bytes) -> bytes:
    return LedgerReader(len(FEATURE_NAMES)).decode([value]).body(0)


def test_the_parts_are_all_of_a_decision_but_processing() -> None:
    tops = {name.split(".")[0] for name in PARTS} | {"processing"}
    assert tops == set(recorded())
    assert {name.split(".")[1] for name in PARTS if name.startswith("explanation")} == set(recorded()["explanation"])


@settings(deadline=None)  # the first example compiles the reader
@given(part=st.sampled_from(sorted(PARTS)), data=st.data())
def test_exactly_the_field_that_was_changed_is_named(part: str, data: st.DataObject) -> None:
    before = recorded()
    first, second = encode_record("decision", before), with_part(before, part, data.draw(PARTS[part]))
    found = verify_values(first, second, NOTHING)
    if body(first) == body(second):
        assert found == Verification()
    else:
        assert [difference.name for difference in found.differences] == [part]
        assert found.verdict == DIFFERENT
        assert found.differences[0].why


@settings(deadline=None)
@given(parts=st.sets(st.sampled_from(sorted(PARTS)), min_size=2, max_size=5), data=st.data())
def test_several_changes_are_all_named_in_the_order_of_the_schema(parts: set[str], data: st.DataObject) -> None:
    before = recorded()
    first = second = encode_record("decision", before)
    changed = set()
    for part in parts:
        alone = with_part(before, part, value := data.draw(PARTS[part]))
        if body(alone) != body(first):
            changed.add(part)
        second = with_part(decode_record(second, name="decision"), part, value)
    names = [difference.name for difference in verify_values(first, second, NOTHING).differences]
    assert set(names) == changed
    order = list(before)
    assert [order.index(name.split(".")[0]) for name in names] == sorted(
        order.index(name.split(".")[0]) for name in names
    )


def test_how_it_was_processed_is_not_compared() -> None:
    first, second = encode_record("decision", recorded()), encode_record("decision", recorded(processing=OTHER_MODE))
    assert first != second
    found = verify_values(first, second, NOTHING, records=17)
    assert (found.verdict, found.is_equal, found.records) == (EQUAL, True, 17)


def test_missing_values_are_equal_and_the_sign_of_zero_is_not() -> None:
    features = recorded()["features"]
    missing = encode_record("decision", recorded(features=[float("nan"), *features[1:]]))
    assert verify_values(missing, missing, NOTHING).is_equal
    zero, negative = (encode_record("decision", recorded(features=[v, *features[1:]])) for v in (0.0, -0.0))
    (difference,) = verify_values(zero, negative, NOTHING).differences
    assert difference.name == f"features.{FEATURE_NAMES[0]}"


def test_fields_that_are_equal_and_written_otherwise_are_told() -> None:
    value = encode_record("decision", recorded())
    at = value.rindex(encode_long(3) + encode_long(1) + encode_long(2) + encode_long(-1), SINGLE_OBJECT_BYTES)
    # An array of three may also be written as a block of one and a block of two.
    split = encode_long(1) + encode_long(1) + encode_long(2) + encode_long(2) + encode_long(-1)
    other = value[:at] + split + value[at + 4 :]
    assert decode_record(other, name="decision") == decode_record(value, name="decision")
    (difference,) = verify_values(value, other, NOTHING).differences
    assert difference.name == ENCODING


def encode_long(value: int) -> bytes:
    """Write a small Avro long."""
    return bytes([(value << 1) ^ (value >> 63)])


def test_without_the_versions_on_record_only_what_does_not_depend_on_them_is_compared() -> None:
    first = encode_record("decision", recorded())
    scored = encode_record("decision", recorded(score=0.9, model_score=0.9, outcome="decline", rules_version="other"))
    found = verify_values(first, scored, NOTHING, obstacle="the rules are gone")
    assert (found.verdict, found.differences, found.is_equal) == (UNVERIFIABLE, (), False)
    other = with_part(recorded(), f"features.{FEATURE_NAMES[3]}", 7.0)
    found = verify_values(first, other, NOTHING, obstacle="the rules are gone")
    assert [difference.name for difference in found.differences] == [f"features.{FEATURE_NAMES[3]}"]
    assert (found.verdict, found.obstacle) == (DIFFERENT, "the rules are gone")


def why(changed: dict[str, Any], name: str, circumstances: Circumstances = NOTHING, **of_recorded: Any) -> str:
    """Return why a field differs between a decision and a changed one."""
    before = recorded(**of_recorded)
    after = recorded(**{**of_recorded, **changed})
    found = compare_decisions(before, after, FEATURE_NAMES, circumstances)
    return next(difference.why for difference in found if difference.name == name)


def test_what_follows_from_another_field_says_so() -> None:
    features = [7.0, *recorded()["features"][1:]]
    changed = {"features": features, "model_score": 0.5, "score": 0.5, "outcome": "review"}
    assert "features" in why(changed, "model_score")
    assert "model_score" in why(changed, "score")
    assert "score" in why(changed, "outcome")
    assert "follows" not in why({"outcome": "review"}, "outcome")


@pytest.mark.parametrize(
    ("circumstances", "degraded", "part"),
    [
        (Circumstances(), ["entities"], "degraded: entities"),
        (Circumstances(cut="2026-01-01"), [], "complete since 2026-01-01 only"),
        (Circumstances(unexplained=3), [], "3 touches unexplained"),
        (Circumstances(), [], "does not follow from the log"),
    ],
)
def test_features_differ_for_a_reason(circumstances: Circumstances, degraded: list[str], part: str) -> None:
    features = [7.0, *recorded()["features"][1:]]
    explanation = {**recorded()["explanation"], "degraded": degraded}
    found = why({"features": features}, f"features.{FEATURE_NAMES[0]}", circumstances, explanation=explanation)
    assert part in found


def test_scores_that_differ_in_their_last_bits_point_to_the_machine() -> None:
    near = float(np.nextafter(np.float32(0.25), np.float32(1)))
    assert "last bits" in why({"model_score": near}, "model_score")
    assert "last bits" not in why({"model_score": 0.3}, "model_score")


def test_another_combination_of_equal_scores_points_to_the_learners_mode() -> None:
    learner = {"learner_name": "logistic-regression", "learner_score": 0.75}
    assert "learner_mode" in why({"score": 0.5}, "score", **learner)
    assert "learner_mode" not in why({"score": 0.5}, "score")


def test_other_facts_of_the_transaction_name_its_place_in_the_log() -> None:
    assert "partition 2, offset 17" in why({"amount_minor": 1}, "amount_minor")


def test_where_a_version_is_gone_the_default_decider_stands_in_and_it_is_told() -> None:
    default, known = Decider.__new__(Decider), Decider.__new__(Decider)

    class OnRecord:
        def of(self, version: tuple[str, ...] | None) -> Decider:
            if version is None:
                return default
            if version == ("known",):
                return known
            raise VersionError("gone")

    deciders = DecidersAtHand(OnRecord())
    assert deciders.of(("known",)) is known
    assert deciders.missing is None
    assert deciders.of(("unknown",)) is default
    assert str(deciders.missing) == "gone"
