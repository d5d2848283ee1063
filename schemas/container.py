"""Avro object container files of records that are encoded already."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import fastavro

from schemas.errors import SerializationError
from schemas.framing import SINGLE_OBJECT_BYTES
from schemas.ledger_reader import split_decisions
from schemas.records import encode_record
from schemas.versions import current, fingerprint_of

SYNC = bytes(range(16))
"""Between blocks: any 16 bytes; fixed, so that equal records give equal files."""

ROWS_A_BLOCK = 1_000


class ContainerWriter:
    """Writes records in Avro's single-object encoding to a container file, which leaves their headers out.

    `add` cuts blocks of `ROWS_A_BLOCK` records, whatever the batches that they came in; `write_block` writes one
    block as given.

    Parameters
    ----------
    path
        File to write.
    name
        Schema of the records, such as `decision`.
    """

    def __init__(self, path: Path, name: str) -> None:
        header = io.BytesIO()
        fastavro.writer(header, dict(current(name).text), [], sync_marker=SYNC)
        self._file = path.open("wb")
        self._file.write(header.getvalue())
        self._waiting: list[bytes] = []
        self.written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def add(self, records: Sequence[bytes]) -> None:
        """Take in further records."""
        self._waiting += records
        while len(self._waiting) >= ROWS_A_BLOCK:
            self.write_block(self._waiting[:ROWS_A_BLOCK])
            del self._waiting[:ROWS_A_BLOCK]

    def write_block(self, records: Sequence[bytes]) -> None:
        """Write records as one block."""
        if not records:
            return
        body = b"".join([record[SINGLE_OBJECT_BYTES:] for record in records])
        self._file.write(_long(len(records)) + _long(len(body)) + body + SYNC)
        self.written += len(records)

    def close(self) -> None:
        """Write what waits, and close the file."""
        self.write_block(self._waiting)
        self._waiting = []
        self._file.close()


def decisions_in(path: Path, rows: int = 5_000) -> Iterator[list[bytes]]:
    """Yield the decisions of a container file in Avro's single-object encoding of the current schema, some at once.

    Blocks of the current schema are cut by compiled code; those of another writer's are read and written anew.

    Raises
    ------
    SerializationError
        If the file is no container of decisions.
    """
    waiting: list[bytes] = []
    with path.open("rb") as file:
        try:
            blocks = fastavro.block_reader(file)
            is_current = fingerprint_of(blocks.writer_schema) == current("decision").fingerprint
            for block in blocks:
                if is_current:
                    waiting += split_decisions(block.bytes_.read(), block.num_records)
                else:
                    waiting += [encode_record("decision", record) for record in block]
                while len(waiting) >= rows:
                    yield waiting[:rows]
                    del waiting[:rows]
        except SerializationError:
            raise
        except Exception as error:  # fastavro raises whatever it stumbles over
            raise SerializationError(f"{path} is no Avro container file of decisions: {error!r}") from error
    if waiting:
        yield waiting


def _long(value: int) -> bytes:
    """Return a non-negative number as Avro writes a long."""
    out = bytearray()
    value <<= 1  # zigzag
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
