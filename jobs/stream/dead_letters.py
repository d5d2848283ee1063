"""Dead letters as records: where they came from, why they failed, and what they say if they can be read."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from schemas.columns import Rejected
from schemas.errors import SerializationError
from schemas.json_records import parse_object
from schemas.records import decode_record, encode_record
from schemas.registry import SchemaLookup
from schemas.transactions import TransactionDecoder
from schemas.validate import validate_transactions
from schemas.versions import current

REDRIVEN_FROM = "weir.redriven-from"
"""Header of a record that was sent again: topic-partition-offset of the original."""


@cache
def header_names() -> dict[str, str]:
    """Kafka header of each field of `dead_letter.avsc`."""
    return {field["name"]: field["header"] for field in current("dead_letter").text["fields"]}


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of the dead-letters topic; `topic`, `partition` and `offset` are those of the original."""

    topic: str
    partition: int
    offset: int
    stage: str
    error: str
    message: str
    key: bytes | None
    value: bytes | None
    time_ms: int  # Kafka timestamp of the dead letter

    @property
    def origin(self) -> str:
        """Name of the original record: what says that two dead letters are about the same one."""
        return f"{self.topic}-{self.partition}-{self.offset}"

    def content(self, registry: SchemaLookup | None = None) -> dict[str, Any] | None:
        """Return the fields of the original, as far as it can be read; None if it cannot.

        JSON is taken as it is, without a check: what is wrong with it is what wants repair.
        """
        value = self.value or b""
        try:
            if value.lstrip()[:1] == b"{":
                return parse_object(value)
            return decode_record(value, registry, name="transaction")
        except SerializationError:
            return None

    def as_export(self, registry: SchemaLookup | None = None) -> str:
        """Write one JSON line: to be edited, and sent by ``weir redrive --edit``."""
        record = {
            "origin": self.origin,
            "error": self.error,
            "message": self.message,
            "key": None if self.key is None else self.key.decode("utf-8", "backslashreplace"),
            "value": self.content(registry),
            "value_base64": None if self.value is None else base64.b64encode(self.value).decode(),
        }
        return json.dumps(record, ensure_ascii=False)


def read_dead_letter(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]] | None, time_ms: int
) -> DeadLetter:
    """Make a dead letter of a Kafka record; headers that are missing leave their fields empty."""
    found = {name: (text or b"").decode("utf-8", "replace") for name, text in headers or ()}
    fields = {field: found.get(header, "") for field, header in header_names().items()}
    return DeadLetter(
        topic=fields["topic"],
        partition=_integer(fields["partition"]),
        offset=_integer(fields["offset"]),
        stage=fields["stage"],
        error=fields["error"],
        message=fields["message"],
        key=key,
        value=value,
        time_ms=time_ms,
    )


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return -1


def find_faults(values: Sequence[bytes | None], now_ms: int, registry: SchemaLookup | None = None) -> list[Rejected]:
    """Return what would make dead letters of these values if they were sent now; `row` is an index into `values`."""
    import numpy as np

    columns, rows, rejected = TransactionDecoder(registry).decode(list(values))
    found = validate_transactions(columns, np.full(len(columns), now_ms, np.int64))
    moved = [Rejected(int(rows[fault.row]), fault.stage, fault.error, fault.message) for fault in found]
    return sorted([*rejected, *moved], key=lambda fault: fault.row)


@dataclass(frozen=True, slots=True)
class Redrive:
    """What to do with one dead letter: send `value` under `key`, or leave it for the reason in `skipped`."""

    letter: DeadLetter
    key: bytes | None = None
    value: bytes | None = None
    skipped: str = ""


def plan_redrive(
    letter: DeadLetter,
    *,
    changes: Mapping[str, Any] | None = None,
    replacement: Mapping[str, Any] | None = None,
    as_is: bool = False,
    already_sent: frozenset[str] = frozenset(),
    now_ms: int = 0,
    registry: SchemaLookup | None = None,
) -> Redrive:
    """Decide what to do with a dead letter: pure.

    Parameters
    ----------
    letter
        The dead letter.
    changes
        Fields to set in what the record says.
    replacement
        What the record shall say instead: the edited content of an export.
    as_is
        Send the untouched bytes, without a check (the fault was ours, not the record's).
    already_sent
        Origins of records that were sent again before.
    now_ms
        Wall clock, for the check of event times.
    registry
        For records that name a schema by its id.
    """
    if not letter.topic or letter.offset < 0:
        return Redrive(letter, skipped="the headers do not say where it came from")
    if letter.origin in already_sent:
        return Redrive(letter, skipped="sent again already")
    if as_is:
        return Redrive(letter, letter.key, letter.value)
    record = letter.content(registry) if replacement is None else dict(replacement)
    if record is None:
        return Redrive(letter, skipped="its bytes cannot be read: --export it, repair it there, and --edit")
    record = {**record, **(changes or {})}
    try:
        value = encode_record("transaction", record)
    except SerializationError as error:
        return Redrive(letter, skipped=f"not repaired: {error}")
    faults = find_faults([value], now_ms, registry)
    if faults:
        return Redrive(letter, skipped=f"not repaired: {faults[0].error}: {faults[0].message}")
    # The original key, since it decides the partition and so the order within the account; but a key must name the
    # account that the repaired record names.
    account = str(record["account_id"]).encode()
    key = account if letter.key is None or "account_id" in (changes or {}) else letter.key
    return Redrive(letter, key, value)


def read_change(text: str) -> tuple[str, Any]:
    """Read ``field=value`` with the type that the schema gives the field.

    >>> read_change("currency=EUR"), read_change("amount_minor=1200"), read_change("device_id=null")
    (('currency', 'EUR'), ('amount_minor', 1200), ('device_id', None))

    Raises
    ------
    SerializationError
        If there is no such field, or the value cannot be of its type.
    """
    name, found, value = text.partition("=")
    fields = {field["name"]: field["type"] for field in current("transaction").parsed["fields"]}
    if not found or name not in fields:
        raise SerializationError(f"{text!r}: expected FIELD=VALUE, with a field among {', '.join(fields)}")
    kind = fields[name]
    is_optional = isinstance(kind, list) and "null" in kind
    plain = next(branch for branch in kind if branch != "null") if isinstance(kind, list) else kind
    if is_optional and value == "null":
        return name, None
    if plain == "string" or (isinstance(plain, dict) and plain["type"] == "enum"):
        return name, value
    try:
        return name, json.loads(value)
    except ValueError as error:
        raise SerializationError(f"{name}: {value!r} is not the JSON of a value: {error}") from error
