"""What is on record of transactions that are replayed: by which versions they were scored, and what was known then."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.columns import F32, I32, U8, Bool

IN_LEDGER, REFERENCE_MISSING, ENTITIES_MISSING, IS_EMITTED = 1, 2, 4, 8
"""Bits of the status: whether the ledger has a decision; what that was made without; whether the replay is to decide
on the row at all, or reads it to fill the windows only."""

REFERENCE_COLUMNS = 4
NOT_RECORDED = -1

_HEADER = struct.Struct("<qq")
_SEPARATOR, _END = "\x1f", "\x1e"  # control characters, which names and versions do not have


@dataclass(frozen=True, slots=True)
class RecordedRows:
    """n transactions of a replay.

    Attributes
    ----------
    status
        (n,) bits.
    version
        (n,) index into `versions`; NOT_RECORDED where the ledger has no decision.
    reference
        (n, 4) reference features as scored: accounts on watch-lists (originator, beneficiary), device and merchant
        risk; NaN is unknown.
    versions
        Fields of `schemas.ledger_reader.Versions`, of each version.
    """

    status: U8
    version: I32
    reference: F32
    versions: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.status)

    def has(self, bit: int) -> Bool:
        """Return where a bit of the status is set."""
        found: Bool = (self.status & np.uint8(bit)) != 0
        return found

    def take(self, rows: npt.NDArray[np.intp] | slice) -> RecordedRows:
        """Return some of the rows."""
        return RecordedRows(self.status[rows], self.version[rows], self.reference[rows], self.versions)

    def to_bytes(self) -> bytes:
        """Pack the rows, little-endian."""
        texts = _END.join(_SEPARATOR.join(fields) for fields in self.versions).encode()
        arrays = [self.reference.tobytes(), self.version.tobytes(), self.status.tobytes()]
        return b"".join([_HEADER.pack(len(self), len(texts)), *arrays, texts])

    @classmethod
    def from_bytes(cls, data: bytes) -> RecordedRows:
        """Unpack what `to_bytes` packed; the arrays are read-only views of `data`."""
        n, size = _HEADER.unpack_from(data)
        at = _HEADER.size
        reference = np.frombuffer(data, np.float32, n * REFERENCE_COLUMNS, at).reshape(n, REFERENCE_COLUMNS)
        at += reference.nbytes
        version = np.frombuffer(data, np.int32, n, at)
        at += version.nbytes
        status = np.frombuffer(data, np.uint8, n, at)
        at += n
        texts = data[at : at + size].decode()
        versions = tuple(tuple(fields.split(_SEPARATOR)) for fields in texts.split(_END)) if texts else ()
        return cls(status, version, reference, versions)
