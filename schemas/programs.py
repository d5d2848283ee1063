"""Writers' schemas compiled to little programs that fill columns.

A program is a table of operations, one a field of the writer, in the writer's order: so a record of any version that
resolves to the reader's schema is decoded in one pass, without building it as an object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.columns import I64
from schemas.errors import UnsupportedSchemaError, WrongSchemaError

STRING, LONG, INT, BOOLEAN, ENUM, OPTIONAL, STRING_ARRAY, DOUBLE_MAP, SKIP_BYTES, SET_STRING, SET_NUMBER = range(11)
"""Operations. A row of a program is (operation, slot or -1 to read and drop, first argument, second argument).

=============  =====================================================================================
STRING         slot of the string column
LONG, INT      slot of the number column; an INT must fit in 32 bits
BOOLEAN        slot of the number column
ENUM           slot of the number column, start of its table, number of the writer's symbols
OPTIONAL       (no slot) branch that is null, 1 where the reader takes null; the next row reads the other branch
STRING_ARRAY   slot of the number column, which gets the number of items; slot of the string column that gets the
               array's bytes, or -1
DOUBLE_MAP     0 to fill the attributes, -1 to drop
SKIP_BYTES     (no slot) number of bytes, or -1 where a length stands before them
SET_STRING     slot, length: -1 null, 0 empty; reads nothing
SET_NUMBER     slot, value; reads nothing
=============  =====================================================================================
"""

NULL_NUMBER = -1
"""What stands in a number column for null."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each field of the reader's schema goes."""

    schema: Mapping[str, Any]
    strings: Mapping[str, int]  # field -> slot: string or null
    numbers: Mapping[str, int]  # field -> slot: int, long, enum (index), boolean, number of items of an array
    arrays: Mapping[str, int]  # field -> slot after those of the strings: Avro binary of an array of strings
    attributes: str | None  # the one field that is a map of doubles


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled writer's schema."""

    operations: I64  # (number of operations, 4)
    table: I64  # reader's symbol of each symbol of the writer's enums, one enum after the other; -1 for none


def _type_name(schema: Any) -> str:
    if isinstance(schema, list):
        return "union"
    return str(schema["type"]) if isinstance(schema, Mapping) else str(schema)


def _branches(schema: Any) -> tuple[int, Any]:
    """Return (index of null or -1, the other type) of a type, union or not."""
    if not isinstance(schema, list):
        return -1, schema
    if len(schema) != 2 or "null" not in schema:
        raise UnsupportedSchemaError(f"only unions of null and one type are compiled, found {schema}")
    null = schema.index("null")
    return null, schema[1 - null]


def layout_of(schema: Mapping[str, Any]) -> Layout:
    """Give every field of a reader's schema its column."""
    strings: dict[str, int] = {}
    numbers: dict[str, int] = {}
    arrays: list[str] = []
    attributes = None
    schema = _with_types_in_place(schema)
    for field in schema["fields"]:
        kind = _type_name(_branches(field["type"])[1])
        if kind == "string":
            strings[field["name"]] = len(strings)
        elif kind in {"int", "long", "enum", "boolean", "array"}:
            numbers[field["name"]] = len(numbers)
            if kind == "array":
                arrays.append(field["name"])
        elif kind == "map" and attributes is None:
            attributes = field["name"]
        else:
            raise UnsupportedSchemaError(f"field {field['name']}: no column for type {kind}")
    slots = {name: len(strings) + i for i, name in enumerate(arrays)}
    return Layout(schema, strings, numbers, slots, attributes)


def _with_types_in_place(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a reader's record with enums in place of their names, which fields after the first may give."""
    named: dict[str, Any] = {}

    def in_place(kind: Any) -> Any:
        if isinstance(kind, list):
            return [in_place(branch) for branch in kind]
        if isinstance(kind, Mapping) and kind["type"] == "enum":
            named[kind["name"]] = kind
        return named.get(kind, kind) if isinstance(kind, str) else kind

    return {**schema, "fields": [{**field, "type": in_place(field["type"])} for field in schema["fields"]]}


class _Compiler:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.operations: list[tuple[int, int, int, int]] = []
        self.table: list[int] = []
        self.named: dict[str, Any] = {}  # enums and fixed by name, which later fields may repeat by name only

    def emit(self, operation: int, slot: int = -1, first: int = 0, second: int = 0) -> None:
        self.operations.append((operation, slot, first, second))

    def resolve_name(self, schema: Any) -> Any:
        if isinstance(schema, str):
            return self.named.get(schema, schema)
        if isinstance(schema, Mapping) and schema["type"] in {"enum", "fixed", "record"}:
            self.named[schema["name"]] = schema
        if isinstance(schema, Mapping) and isinstance(schema["type"], Mapping | list):
            return schema["type"]
        return schema

    def skip(self, schema: Any) -> None:
        """Read a value that the reader does not have."""
        null, written = _branches(self.resolve_name(schema))
        written = self.resolve_name(written)
        kind = _type_name(written)
        if null >= 0:
            if kind in {"record", "null"}:
                raise UnsupportedSchemaError(f"an optional {kind} is not compiled")
            self.emit(OPTIONAL, -1, null, 1)
        if kind in {"string", "bytes"}:
            self.emit(SKIP_BYTES, -1, -1)
        elif kind in {"int", "long"}:
            self.emit(LONG)
        elif kind == "boolean":
            self.emit(BOOLEAN)
        elif kind in {"float", "double"}:
            self.emit(SKIP_BYTES, -1, 4 if kind == "float" else 8)
        elif kind == "fixed":
            self.emit(SKIP_BYTES, -1, int(written["size"]))
        elif kind == "enum":
            self.emit(LONG)
        elif kind == "array" and written["items"] == "string":
            self.emit(STRING_ARRAY, -1, -1)
        elif kind == "map" and written["values"] == "double":
            self.emit(DOUBLE_MAP, -1)
        elif kind == "record":
            for field in written["fields"]:
                self.skip(field["type"])
        elif kind != "null":
            raise UnsupportedSchemaError(f"a {kind} cannot be skipped: {written}")

    def read(self, field: Mapping[str, Any], writer_type: Any) -> None:
        """Read a value into the column of the reader's field."""
        name = field["name"]
        reader_null, wanted = _branches(field["type"])
        null, written = _branches(self.resolve_name(writer_type))
        written = self.resolve_name(written)
        if null >= 0:
            self.emit(OPTIONAL, -1, null, int(reader_null >= 0))
        kind, target = _type_name(written), _type_name(wanted)
        if kind == target == "string":
            self.emit(STRING, self.layout.strings[name])
        elif kind in {"int", "long"} and target in {"int", "long"} and (kind, target) != ("long", "int"):
            self.emit(INT if kind == "int" else LONG, self.layout.numbers[name])
        elif kind == target == "boolean":
            self.emit(BOOLEAN, self.layout.numbers[name])
        elif kind == target == "enum":
            symbols = wanted["symbols"]
            other = symbols.index(wanted["default"]) if "default" in wanted else -1
            self.emit(ENUM, self.layout.numbers[name], len(self.table), len(written["symbols"]))
            self.table += [symbols.index(s) if s in symbols else other for s in written["symbols"]]
        elif kind == target == "array" and written["items"] == wanted["items"] == "string":
            self.emit(STRING_ARRAY, self.layout.numbers[name], self.layout.arrays[name])
        elif kind == target == "map" and written["values"] == wanted["values"] == "double":
            self.emit(DOUBLE_MAP, 0)
        else:
            raise UnsupportedSchemaError(f"field {name}: {kind} is not compiled to {target}")

    def fill(self, field: Mapping[str, Any]) -> None:
        """Give a field that the writer lacks its default."""
        name = field["name"]
        if "default" not in field:
            raise WrongSchemaError(f"the writer's schema lacks the field {name}, which has no default")
        default = field["default"]
        if name in self.layout.strings:
            if default not in (None, ""):
                raise UnsupportedSchemaError(f"field {name}: the default {default!r} is not compiled")
            self.emit(SET_STRING, self.layout.strings[name], -1 if default is None else 0)
        elif name in self.layout.numbers:
            kind = _branches(field["type"])[1]
            if default is None:
                value = NULL_NUMBER
            elif _type_name(kind) == "enum":
                value = kind["symbols"].index(default)
            else:
                if isinstance(default, list) and default:
                    raise UnsupportedSchemaError(f"field {name}: the default {default!r} is not compiled")
                value = 0 if isinstance(default, list) else int(default)
            self.emit(SET_NUMBER, self.layout.numbers[name], value)
        elif default:
            raise UnsupportedSchemaError(f"field {name}: the default {default!r} is not compiled")


def compile_program(writer: Any, layout: Layout) -> Program:
    """Compile a writer's schema (as fastavro parsed it) for a reader's layout.

    Raises
    ------
    WrongSchemaError
        If the writer's records are something else, or lack a field.
    UnsupportedSchemaError
        If the two may well resolve, but not by the operations there are.
    """
    reader = layout.schema
    if not isinstance(writer, Mapping) or writer.get("type") != "record":
        raise WrongSchemaError(f"expected a record, found {_type_name(writer)}")
    names = {reader["name"].rpartition(".")[2], *(a.rpartition(".")[2] for a in reader.get("aliases", ()))}
    if writer["name"].rpartition(".")[2] not in names:
        raise WrongSchemaError(f"expected records of {reader['name']}, found records of {writer['name']}")
    readers = {alias: field for field in reader["fields"] for alias in (field["name"], *field.get("aliases", ()))}
    compiler = _Compiler(layout)
    filled = set()
    for field in writer["fields"]:
        target = readers.get(field["name"])
        if target is None:
            compiler.skip(field["type"])
        else:
            compiler.read(target, field["type"])
            filled.add(target["name"])
    for target in reader["fields"]:
        if target["name"] not in filled:
            compiler.fill(target)
    operations = np.array(compiler.operations, np.int64).reshape(len(compiler.operations), 4)
    return Program(operations, np.array(compiler.table, np.int64))
