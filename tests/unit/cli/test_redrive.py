"""What redrive sends, and what it leaves."""

from __future__ import annotations

import json

import pytest

from jobs.stream.dead_letters import (
    find_faults,
    header_names,
    plan_redrive,
    read_change,
    read_dead_letter,
)
from schemas.errors import SerializationError
from schemas.records import decode_record, encode_record
from tests.builders import NOON_MS, a_transaction
from tests.unit.cli.outputs import a_dead_letter

BAD_CURRENCY = encode_record("transaction", a_transaction(currency="ZZQ"))


def test_headers_of_kafka_become_the_fields_of_the_schema() -> None:
    names = header_names()
    texts = {"topic": "t", "partition": "3", "offset": "99", "stage": "decode", "error": "E", "message": "m"}
    headers = [(names[field], text.encode()) for field, text in texts.items()]
    letter = read_dead_letter(b"k", b"v", headers, NOON_MS)
    assert (letter.origin, letter.error, letter.message, letter.stage) == ("t-3-99", "E", "m", "decode")


def test_a_set_field_repairs_the_record_and_the_key_stays() -> None:
    plan = plan_redrive(a_dead_letter(BAD_CURRENCY, key=b"as it was"), changes={"currency": "EUR"}, now_ms=NOON_MS)
    assert plan.skipped == ""
    assert plan.key == b"as it was"
    assert decode_record(plan.value or b"") == a_transaction(currency="EUR")


def test_a_changed_account_becomes_the_key() -> None:
    value = encode_record("transaction", a_transaction(account_id=""))
    plan = plan_redrive(a_dead_letter(value, key=b""), changes={"account_id": "new"}, now_ms=NOON_MS)
    assert plan.key == b"new"


def test_json_that_fails_its_check_can_be_repaired() -> None:
    value = json.dumps(a_transaction(amount_minor="a lot")).encode()
    plan = plan_redrive(a_dead_letter(value), changes={"amount_minor": 7}, now_ms=NOON_MS)
    assert decode_record(plan.value or b"")["amount_minor"] == 7


def test_what_would_fail_again_is_not_sent() -> None:
    plan = plan_redrive(a_dead_letter(BAD_CURRENCY), changes={"memo": "hello"}, now_ms=NOON_MS)
    assert plan.skipped.startswith("not repaired: UNKNOWN_CURRENCY")


def test_what_cannot_be_read_needs_an_edit() -> None:
    letter = a_dead_letter(b"\xfe\x00\x01")
    assert "cannot be read" in plan_redrive(letter, changes={"currency": "EUR"}, now_ms=NOON_MS).skipped
    plan = plan_redrive(letter, replacement=a_transaction(), now_ms=NOON_MS)
    assert decode_record(plan.value or b"") == a_transaction()


def test_as_is_sends_the_untouched_bytes() -> None:
    plan = plan_redrive(a_dead_letter(b"\xfe\x00\x01", key=b"k"), as_is=True, now_ms=NOON_MS)
    assert (plan.key, plan.value, plan.skipped) == (b"k", b"\xfe\x00\x01", "")


def test_nothing_is_sent_twice() -> None:
    letter = a_dead_letter(BAD_CURRENCY)
    plan = plan_redrive(letter, as_is=True, already_sent=frozenset({letter.origin}), now_ms=NOON_MS)
    assert plan.skipped == "sent again already"


def test_a_dead_letter_without_an_origin_is_left() -> None:
    plan = plan_redrive(a_dead_letter(BAD_CURRENCY, topic="", offset=-1), as_is=True, now_ms=NOON_MS)
    assert plan.skipped


def test_an_export_can_be_edited_and_read_again() -> None:
    exported = json.loads(a_dead_letter(BAD_CURRENCY).as_export())
    assert exported["origin"] == "weir.transactions-2-17"
    edited = {**exported["value"], "currency": "EUR"}
    plan = plan_redrive(a_dead_letter(BAD_CURRENCY), replacement=edited, now_ms=NOON_MS)
    assert decode_record(plan.value or b"")["currency"] == "EUR"


@pytest.mark.parametrize("text", ["currency", "no_such_field=1", "amount_minor=many"])
def test_a_change_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(SerializationError):
        read_change(text)


def test_faults_name_the_row_they_are_in() -> None:
    good = encode_record("transaction", a_transaction())
    faults = find_faults([good, None, BAD_CURRENCY, b"\xfe"], NOON_MS)
    assert [(fault.row, fault.error) for fault in faults] == [
        (1, "EMPTY_VALUE"),
        (2, "UNKNOWN_CURRENCY"),
        (3, "UNDECODABLE"),
    ]
