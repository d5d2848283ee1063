"""Named arrays and settings as one block of bytes: the form of snapshots and of parameters.

Equal contents give equal bytes: fields are sorted by name, arrays are stored in little-endian C order, and nothing of
the process (times, addresses, pickled classes) goes in.

    b"WEIRPACK" · format, u32 · header length, u32 · header, JSON · arrays, each padded to 8 bytes · CRC-32, u32
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from online_learning.learners.errors import SnapshotError

_MAGIC = b"WEIRPACK"
_FORMAT = 1
_PREFIX = struct.Struct("<8sII")
_CHECKSUM = struct.Struct("<I")
_DTYPES = frozenset({"|u1", "|i1", "<i2", "<i4", "<i8", "<u4", "<u8", "<f4", "<f8"})

Fields = Mapping[str, Any]
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Packed:
    """An unpacked block; its arrays are copies that belong to the caller."""

    fields: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]


def pack(kind: str, version: int, fields: Fields, arrays: Arrays) -> bytes:
    """Return one block of bytes.

    Parameters
    ----------
    kind, version
        What the block is, and in which version; `unpack` asks for the same.
    fields
        Numbers, texts, lists and maps of them. Floats keep every bit.
    arrays
        Arrays of integers or floats of any shape.
    """
    stored = {name: _portable(arrays[name]) for name in sorted(arrays)}
    header = json.dumps(
        {
            "kind": kind,
            "version": version,
            "fields": dict(fields),
            "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in stored.items()],
        },
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    ).encode()
    parts = [_PREFIX.pack(_MAGIC, _FORMAT, len(header)), header, bytes(-(_PREFIX.size + len(header)) % 8)]
    for array in stored.values():
        parts += [array.tobytes(), bytes(-array.nbytes % 8)]
    body = b"".join(parts)
    return body + _CHECKSUM.pack(zlib.crc32(body))


def unpack(blob: bytes, kind: str, version: int) -> Packed:
    """Return what `pack` was given.

    Raises
    ------
    SnapshotError
        If the block is damaged, or of another kind or version.
    """
    header = _header(blob)
    if (header["kind"], header["version"]) != (kind, version):
        found = f"{header['kind']} version {header['version']}"
        raise SnapshotError(f"the block holds {found}, expected {kind} version {version}: learn from the stream again")
    arrays = {}
    at = _PREFIX.size + _PREFIX.unpack_from(blob)[2]
    at += -at % 8
    for name, dtype, shape in header["arrays"]:
        if dtype not in _DTYPES:
            raise SnapshotError(f"array {name} has the unknown type {dtype}")
        size = math.prod(shape)
        nbytes = size * np.dtype(dtype).itemsize
        if min(shape, default=0) < 0 or at + nbytes > len(blob) - _CHECKSUM.size:
            raise SnapshotError(f"array {name} of shape {shape} does not fit into {len(blob)} bytes")
        arrays[name] = np.frombuffer(blob, dtype, size, at).reshape(shape).copy()
        at += nbytes + -nbytes % 8
    return Packed(header["fields"], arrays)


def kind_of(blob: bytes) -> str:
    """Return what kind of block this is.

    Raises
    ------
    SnapshotError
        If the block is damaged.
    """
    return str(_header(blob)["kind"])


def _header(blob: bytes) -> dict[str, Any]:
    if len(blob) < _PREFIX.size + _CHECKSUM.size:
        raise SnapshotError(f"{len(blob)} bytes are too few for a block")
    magic, block_format, header_length = _PREFIX.unpack_from(blob)
    if magic != _MAGIC or block_format != _FORMAT:
        raise SnapshotError(f"the block begins with {magic!r} format {block_format}, expected {_MAGIC!r} {_FORMAT}")
    if _CHECKSUM.unpack_from(blob, len(blob) - _CHECKSUM.size)[0] != zlib.crc32(memoryview(blob)[: -_CHECKSUM.size]):
        raise SnapshotError("the block's checksum does not fit its contents: it is damaged, restore another")
    header: dict[str, Any] = json.loads(blob[_PREFIX.size : _PREFIX.size + header_length])
    return header


def _portable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    stored = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    if stored.dtype.str not in _DTYPES:
        raise TypeError(f"arrays of {array.dtype} cannot be packed, expected one of {sorted(_DTYPES)}")
    return stored
