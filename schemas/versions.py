"""The schemas, their versions and their fingerprints; the `.avsc` files are the only schema text.

Every version that producers may still write is kept in `schemas/history/NAME-VERSION.avsc`; the highest one says the
same as `schemas/NAME.avsc`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fastavro import parse_schema
from fastavro.schema import fingerprint, to_parsing_canonical_form

_FOLDER = Path(__file__).parent

RECORDS = (
    "transaction",
    "label",
    "matured_label",
    "decision",
    "alert",
    "dead_letter",
    "rule",
    "model_update",
    "evidence",
    "evidence_request",
    "drift",
    "learning_command",
)
"""Records with a schema of their own, by file name."""


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of one record's schema."""

    name: str  # file name of the record, such as "transaction"
    version: int  # 1, 2, …; 0 for a schema that is not ours
    text: Mapping[str, Any] = field(repr=False)  # as in the file, with docs and logical types
    parsed: Any = field(repr=False)  # for fastavro, logical types left out: times stay integers, as their names say
    fingerprint: int  # CRC-64-AVRO of the parsing canonical form


def without_logical_types(schema: Any) -> Any:
    """Return a schema without its logical types, so that timestamps are read and written as plain integers."""
    if isinstance(schema, dict):
        plain = {k: without_logical_types(v) for k, v in schema.items() if k not in {"logicalType", "default"}}
        return {**plain, "default": schema["default"]} if "default" in schema else plain
    if isinstance(schema, list):
        return [without_logical_types(part) for part in schema]
    return schema


def fingerprint_of(schema: Any) -> int:
    """Return the CRC-64-AVRO fingerprint of a schema's parsing canonical form.

    Examples
    --------
    >>> hex(fingerprint_of("null"))  # the specification's own example
    '0x63dd24e7cc258f8a'
    """
    # fastavro gives the digits in the order the bytes travel in: lowest first.
    return int.from_bytes(bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")), "little")


def schema_from(text: Any, name: str = "", version: int = 0) -> Schema:
    """Build a Schema from the JSON of an `.avsc`."""
    parsed = parse_schema(without_logical_types(text), _write_hint=False)
    return Schema(name, version, text, parsed, fingerprint_of(text))


@cache
def versions_of(name: str) -> tuple[Schema, ...]:
    """Return every known version of a record's schema, oldest first."""
    pattern = re.compile(rf"{re.escape(name)}-(\d+)\.avsc")
    found = {int(match[1]): path for path in (_FOLDER / "history").iterdir() if (match := pattern.fullmatch(path.name))}
    return tuple(schema_from(json.loads(path.read_text()), name, version) for version, path in sorted(found.items()))


@cache
def current(name: str) -> Schema:
    """Return the newest version of a record's schema."""
    newest = versions_of(name)[-1]
    return schema_from(json.loads((_FOLDER / f"{name}.avsc").read_text()), name, newest.version)


@cache
def by_fingerprint() -> Mapping[int, Schema]:
    """Return all versions of all records, by fingerprint."""
    return {schema.fingerprint: schema for name in RECORDS for schema in versions_of(name)}
