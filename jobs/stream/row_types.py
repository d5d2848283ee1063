"""Rows that travel between the operators. Thread mode carries bytes, text, numbers and flat arrays of them safely.

Every call makes new type objects: a type that was used once holds a Java object, and cannot be pickled into a
function any more.
"""

from __future__ import annotations

from pyflink.common import Types
from pyflink.common.typeinfo import TypeInformation


def blob() -> TypeInformation:
    """Bytes."""
    return Types.PRIMITIVE_ARRAY(Types.BYTE())


def blobs() -> TypeInformation:
    """A list of bytes, each may be None."""
    return Types.OBJECT_ARRAY(blob())


def micro_batch() -> TypeInformation:
    """Records of one topic and home shard: shard, topic, values, keys, partitions, offsets, timestamps."""
    longs = [Types.OBJECT_ARRAY(Types.LONG()) for _ in range(2)]
    return Types.ROW(
        [Types.INT(), Types.STRING(), blobs(), blobs(), Types.OBJECT_ARRAY(Types.INT()), longs[0], longs[1]]
    )


def touch_block() -> TypeInformation:
    """Touches for an entity shard: entity shard, home shard (-1: no answer), sequence of the home batch, touches."""
    return Types.ROW([Types.INT(), Types.INT(), Types.LONG(), blob()])


def home_part() -> TypeInformation:
    """Part of a home batch: home shard, entity shard (-1: the batch itself), sequence, bytes."""
    return Types.ROW([Types.INT(), Types.INT(), Types.LONG(), blob()])


def refused() -> TypeInformation:
    """Records that go to another topic untouched: keys, values, and per record the fields of the headers as text."""
    headers = [Types.OBJECT_ARRAY(Types.STRING()) for _ in range(6)]
    return Types.ROW([blobs(), blobs(), *headers])


def results() -> TypeInformation:
    """Keys and values of records for two topics: decisions and alerts."""
    return Types.ROW([blobs(), blobs(), blobs(), blobs()])


def learned() -> TypeInformation:
    """Keys and values of the learner job's records for three topics: parameters, drift, matured labels."""
    return Types.ROW([blobs() for _ in range(6)])


def shadow_alerts() -> TypeInformation:
    """Would-be alerts: keys, values, and the live outcome of each."""
    return Types.ROW([blobs(), blobs(), Types.OBJECT_ARRAY(Types.STRING())])


def evidence_requests() -> TypeInformation:
    """Requests for evidence: keys, values, and the service of each."""
    return Types.ROW([blobs(), blobs(), Types.OBJECT_ARRAY(Types.STRING())])


def evidence_request() -> TypeInformation:
    """One request for evidence: key, value, partition, offset."""
    return Types.ROW([blob(), blob(), Types.INT(), Types.LONG()])


def evidence_ending() -> TypeInformation:
    """How a request ended: alert id, key, request, ending (empty: it cannot be read), partition, offset, why."""
    return Types.ROW([Types.STRING(), blob(), blob(), blob(), Types.INT(), Types.LONG(), Types.STRING()])


def evidence_result() -> TypeInformation:
    """One record for `evidence` (key, value, revised alert), or for `dead-letters` (key, value, header fields)."""
    return Types.ROW([Types.BOOLEAN(), blob(), blob(), blob(), *[Types.STRING() for _ in range(6)]])


def control_record() -> TypeInformation:
    """One record of the control topic: key, value (empty: removed), offset."""
    return Types.ROW([blob(), blob(), Types.LONG()])
