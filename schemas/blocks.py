"""Batches of raw records decoded into blocks of columns, with everything that can be wrong with them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fastavro
import numpy as np
import numpy.typing as npt

from schemas import framing
from schemas.binary import ERROR_TEXTS, NOT_FINITE, TRAILING_BYTES
from schemas.columns import F64, I16, I32, I64, U8, Rejected, StringColumn
from schemas.errors import SerializationError, UnknownSchemaError, UnsupportedSchemaError, WrongSchemaError
from schemas.framing import frame_block
from schemas.hashing import hash_strings
from schemas.interpreter import run_programs
from schemas.json_records import InvalidFieldError, InvalidJsonError, checked_record, parse_object
from schemas.layout import read_only
from schemas.programs import ENUM, Program, compile_program, layout_of
from schemas.registry import SchemaLookup
from schemas.versions import Schema, by_fingerprint, current, schema_from, versions_of

MAX_RECORD_BYTES = 1 << 20
"""Records above 1 MiB are refused: the default limit of Kafka brokers, and thousands of times a usual transaction."""


@dataclass(frozen=True, slots=True)
class Block:
    """The accepted records of a batch: one row of a matrix a field, as `Layout` numbers them."""

    buffer: U8
    string_offsets: I64  # (strings, n)
    string_lengths: I32  # (strings, n)
    numbers: I64  # (numbers, n)
    attributes: F64  # (n, attribute names)
    versions: I16  # (n,)
    rows: npt.NDArray[np.intp]  # (n,): index into the batch
    rejected: list[Rejected]

    def strings(self, slot: int) -> StringColumn:
        """Return one column of strings."""
        return StringColumn(self.buffer, self.string_offsets[slot], self.string_lengths[slot])


@dataclass(frozen=True, slots=True)
class _Writer:
    """How records of one schema are read: by a program, or (slower, any schema) by fastavro."""

    schema: Schema
    program: int  # -1: fastavro


class BlockDecoder:
    """Decodes batches of one kind of record, whatever their framing and version.

    Parameters
    ----------
    name
        File name of the record's schema, such as `transaction`.
    registry
        Where to ask for schemas by their Confluent ids; None refuses records that name one.
    attribute_names
        Attributes to keep, in the order of their columns.
    max_record_bytes
        Longer records are refused.
    """

    def __init__(
        self,
        name: str,
        registry: SchemaLookup | None = None,
        attribute_names: tuple[str, ...] = (),
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self.current = current(name)
        self.layout = layout_of(self.current.parsed)
        self.attribute_names = attribute_names
        self._registry = registry
        self._max_record_bytes = max_record_bytes
        self._programs: list[Program] = []
        self._program_versions: list[int] = []
        self._by_fingerprint = {s.fingerprint: self._add_program(s) for s in versions_of(name)}
        self._current_program = self._by_fingerprint[self.current.fingerprint]
        self._by_id: dict[int, _Writer] = {}
        self._link()
        packed = StringColumn.from_values(list(attribute_names))
        hashes = hash_strings(packed)
        order = np.argsort(hashes)
        self._attribute_index = (
            read_only(hashes[order]),
            read_only(order.astype(np.int64)),
            read_only(packed.buffer),
            read_only(packed.offsets),
            read_only(packed.lengths),
        )

    def _add_program(self, schema: Schema) -> int:
        self._programs.append(compile_program(schema.parsed, self.layout))
        self._program_versions.append(schema.version)
        return len(self._programs) - 1

    def _link(self) -> None:
        """Lay the programs one after the other, with their tables."""
        operations, tables, firsts, table_start = [], [], [0], 0
        for program in self._programs:
            linked = program.operations.copy()
            linked[linked[:, 0] == ENUM, 2] += table_start
            operations.append(linked)
            tables.append(program.table)
            table_start += len(program.table)
            firsts.append(firsts[-1] + len(linked))
        self._first_operation = read_only(np.array(firsts, np.int64))
        self._operations = read_only(np.concatenate(operations))
        self._table = read_only(np.concatenate(tables))
        self._versions = np.array(self._program_versions, np.int16)

    def decode(self, values: Sequence[bytes | None]) -> Block:
        """Decode a batch; every value ends up in the columns or among the rejected.

        Raises
        ------
        RegistryUnavailableError
            If a schema must be asked for and the registry gives no answer: a fault that waiting mends, so the batch
            is neither decoded nor refused.
        """
        n = len(values)
        rejected: list[Rejected] = []
        present = [value or b"" for value in values]
        lengths = np.fromiter(map(len, present), np.int64, n)
        for row in np.flatnonzero(lengths > self._max_record_bytes).tolist():
            message = (
                f"the record has {lengths[row]} bytes, at most {self._max_record_bytes} are accepted: "
                "keep documents elsewhere and send their references in `evidence`"
            )
            rejected.append(Rejected(row, "decode", "RECORD_TOO_LARGE", message))
            present[row] = b""
            lengths[row] = 0
        buffer = np.frombuffer(b"".join(present), np.uint8)
        ends = np.cumsum(lengths)
        starts = ends - lengths
        kinds, keys, bodies = np.empty(n, np.uint8), np.empty(n, np.uint64), np.empty(n, np.int64)
        frame_block(buffer, read_only(starts), read_only(ends), kinds, keys, bodies)
        program_of = np.full(n, -1, np.int16)
        single = kinds == framing.SINGLE_OBJECT
        for known, program in self._by_fingerprint.items():
            program_of[single & (keys == np.uint64(known))] = program
        versions = self._versions[program_of]
        if np.any(program_of < 0):
            refused = {r.row for r in rejected}
            appended = bytearray()
            for row in np.flatnonzero(program_of < 0).tolist():
                if row in refused:
                    continue
                try:
                    program, body = self._read_slowly(int(kinds[row]), int(keys[row]), present[row])
                except _RefusedError as reason:
                    rejected.append(Rejected(row, "decode", reason.code, str(reason)))
                    continue
                program_of[row] = program
                versions[row] = self._versions[program] if body is None else 0
                if body is not None:
                    bodies[row] = len(buffer) + len(appended)
                    appended += body
                    ends[row] = len(buffer) + len(appended)
            if appended:
                buffer = read_only(np.concatenate([buffer, np.frombuffer(appended, np.uint8)]))
        return self._run(buffer, starts, bodies, ends, program_of, versions, rejected)

    def _run(
        self, buffer: U8, starts: I64, bodies: I64, ends: I64, program_of: I16, versions: I16, rejected: list[Rejected]
    ) -> Block:
        n = len(starts)
        slots = len(self.layout.strings) + len(self.layout.arrays)
        string_offsets = np.zeros((slots, n), np.int64)
        string_lengths = np.zeros((slots, n), np.int32)
        numbers = np.zeros((len(self.layout.numbers), n), np.int64)
        attributes = np.full((n, len(self.attribute_names)), np.nan)
        errors, error_positions = np.zeros(n, np.uint8), np.zeros(n, np.int64)
        run_programs(
            buffer, read_only(bodies), read_only(ends), read_only(program_of),
            self._first_operation, self._operations, self._table, *self._attribute_index,
            string_offsets, string_lengths, numbers, attributes.view(np.uint64), errors, error_positions,
        )  # fmt: skip
        accepted = (errors == 0) & (program_of >= 0)
        if accepted.all():
            rows = np.arange(n)
            return Block(buffer, string_offsets, string_lengths, numbers, attributes, versions, rows, rejected)
        for row in np.flatnonzero(errors).tolist():
            rejected.append(self._explain(row, int(errors[row]), int(error_positions[row] - starts[row])))
        rejected.sort(key=lambda r: r.row)
        rows = np.flatnonzero(accepted)
        return Block(
            buffer, string_offsets[:, rows], string_lengths[:, rows], numbers[:, rows], attributes[rows],
            versions[rows], rows, rejected,
        )  # fmt: skip

    def _explain(self, row: int, error: int, position: int) -> Rejected:
        name = self.current.parsed["name"].rpartition(".")[2]
        if error == NOT_FINITE:
            message = "an attribute is infinite: send finite numbers, or NaN for a missing one"
            return Rejected(row, "validate", "NOT_FINITE", message)
        message = (
            f"not the Avro binary of a {name}, at byte {position}: {ERROR_TEXTS[error]}; compare the producer's schema"
        )
        return Rejected(row, "decode", "UNDECODABLE", message)

    def _read_slowly(self, kind: int, key: int, value: bytes) -> tuple[int, bytes | None]:
        """Return (program, None) to decode the body as it is, or (program, body) to decode another one instead."""
        name = self.current.parsed["name"].rpartition(".")[2]
        if kind == framing.EMPTY:
            raise _RefusedError("EMPTY_VALUE", f"the value is empty: expected a {name}")
        if kind == framing.SINGLE_OBJECT:
            if key in by_fingerprint():
                other = by_fingerprint()[key].parsed["name"].rpartition(".")[2]
                raise _RefusedError("WRONG_SCHEMA", f"expected a {name}, found a {other}: send it to its own topic")
            raise _RefusedError(
                "UNKNOWN_SCHEMA",
                f"no schema has the fingerprint {key:016x}: write with schemas/{self.current.name}.avsc, or in "
                "Confluent framing with a schema that the registry knows",
            )
        if kind == framing.CONFLUENT:
            writer = self._writer_by_id(key)
            body = value[framing.CONFLUENT_BYTES :]
            return (
                (writer.program, None) if writer.program >= 0 else (self._current_program, self._resolve(writer, body))
            )
        if kind == framing.JSON:
            return self._current_program, self._from_json(value)
        raise _RefusedError(
            "UNDECODABLE",
            f"the first bytes are {value[:4].hex(' ')}: expected C3 01 (Avro single object), 00 (Confluent framing) or "
            "a JSON object",
        )

    def _writer_by_id(self, schema_id: int) -> _Writer:
        if schema_id in self._by_id:
            return self._by_id[schema_id]
        if self._registry is None:
            raise _RefusedError(
                "UNKNOWN_SCHEMA",
                f"the record names schema {schema_id} of a registry, but no registry is set: give its URL",
            )
        try:
            schema = schema_from(self._registry.schema_by_id(schema_id))
            if schema.fingerprint in self._by_fingerprint:
                program = self._by_fingerprint[schema.fingerprint]
            else:
                try:
                    program = self._add_program(schema)
                    self._link()
                except UnsupportedSchemaError:
                    program = -1
        except UnknownSchemaError as error:
            raise _RefusedError("UNKNOWN_SCHEMA", f"{error}; register the producer's schema, then redrive") from error
        except WrongSchemaError as error:
            raise _RefusedError("WRONG_SCHEMA", f"schema {schema_id}: {error}") from error
        self._by_id[schema_id] = _Writer(schema, program)
        return self._by_id[schema_id]

    def _resolve(self, writer: _Writer, body: bytes) -> bytes:
        """Read with fastavro's schema resolution, and write in the current schema."""
        stream = io.BytesIO(body)
        try:
            record = fastavro.schemaless_reader(stream, writer.schema.parsed, self.current.parsed)
        except Exception as error:  # on bytes that are no Avro, fastavro raises whatever it stumbles over
            raise _RefusedError("UNDECODABLE", f"not Avro of the schema that the record names: {error!r}") from error
        if stream.tell() != len(body):
            raise _RefusedError("UNDECODABLE", f"{len(body) - stream.tell()} {ERROR_TEXTS[TRAILING_BYTES]}")
        return self._rewritten(record)

    def _from_json(self, value: bytes) -> bytes:
        try:
            return self._rewritten(parse_object(value))
        except InvalidJsonError as error:
            raise _RefusedError("INVALID_JSON", str(error)) from error

    def _rewritten(self, record: Any) -> bytes:
        out = io.BytesIO()
        try:
            fastavro.schemaless_writer(out, self.current.parsed, checked_record(record, self.current.parsed))
        except InvalidFieldError as error:
            raise _RefusedError("INVALID_FIELD", str(error)) from error
        return out.getvalue()


class _RefusedError(SerializationError):
    """A record that goes to the dead letters."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
