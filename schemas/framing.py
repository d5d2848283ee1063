"""How a record says which schema it is written in: told apart by its first bytes.

====================  ===============================================================
Confluent             00, schema id in the registry (4 bytes, big-endian), Avro binary
single object         C3 01, CRC-64-AVRO fingerprint (8 bytes, little-endian), Avro binary
JSON                  an object, after optional white space
====================  ===============================================================

References
----------
Apache Avro specification, Single-object encoding,
https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding
Confluent wire format, https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/
"""

from __future__ import annotations

import numpy as np
from numba import njit

from schemas.versions import Schema

EMPTY, SINGLE_OBJECT, CONFLUENT, JSON, UNKNOWN = 0, 1, 2, 3, 4

SINGLE_OBJECT_MARKER = b"\xc3\x01"
SINGLE_OBJECT_BYTES = 10  # header before the body
CONFLUENT_BYTES = 5


def single_object_header(schema: Schema) -> bytes:
    """Return the ten bytes that stand before a record of this schema."""
    return SINGLE_OBJECT_MARKER + schema.fingerprint.to_bytes(8, "little")


def confluent_header(schema_id: int) -> bytes:
    """Return the five bytes that stand before a record whose schema has this id in the registry."""
    return b"\x00" + schema_id.to_bytes(4, "big")


@njit(cache=True, nogil=True)
def frame_block(buffer, starts, ends, kinds, schema_keys, bodies):  # type: ignore[no-untyped-def]
    """Tell the framing of each record `buffer[starts[i] : ends[i]]`.

    Fills `kinds` with one of the constants above, `schema_keys` with the fingerprint or the registry id, and `bodies`
    with where the Avro binary (or the JSON text) starts.
    """
    for i in range(len(starts)):
        start, end = starts[i], ends[i]
        kinds[i] = UNKNOWN
        schema_keys[i] = np.uint64(0)
        bodies[i] = start
        if start == end:
            kinds[i] = EMPTY
            continue
        first = buffer[start]
        if first == 0xC3:
            if end - start >= SINGLE_OBJECT_BYTES and buffer[start + 1] == 0x01:
                kinds[i] = SINGLE_OBJECT
                key = np.uint64(0)
                for k in range(8):
                    key |= np.uint64(buffer[start + 2 + k]) << np.uint64(8 * k)
                schema_keys[i] = key
                bodies[i] = start + SINGLE_OBJECT_BYTES
        elif first == 0x00:
            if end - start >= CONFLUENT_BYTES:
                kinds[i] = CONFLUENT
                key = np.uint64(0)
                for k in range(4):
                    key = (key << np.uint64(8)) | np.uint64(buffer[start + 1 + k])
                schema_keys[i] = key
                bodies[i] = start + CONFLUENT_BYTES
        else:
            at = start
            while at < end and (buffer[at] == 0x20 or 0x09 <= buffer[at] <= 0x0A or buffer[at] == 0x0D):
                at += 1
            if at < end and buffer[at] == 0x7B:
                kinds[i] = JSON
