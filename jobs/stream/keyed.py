"""Keyed streams and side outputs without further Python operators.

PyFlink's own `key_by` and `get_side_output` each put a Python operator of their own into the task's thread. Two
Python operators in one thread have two thread states, and a native library that asks Python for the thread's state
(as ONNX Runtime does when it is loaded) gets the wrong one and waits for itself, for ever. So rows carry their key
from where they are made, as Row(key, value), and every thread has one Python operator.
"""

from __future__ import annotations

from pyflink.common import Types
from pyflink.common.typeinfo import TypeInformation
from pyflink.datastream import DataStream, KeyedStream, OutputTag
from pyflink.java_gateway import get_gateway


def keyed_row(value_type: TypeInformation) -> TypeInformation:
    """Return the type of Row(key, value), as the streams have it that `by_key` takes."""
    return Types.ROW([Types.INT(), value_type])


def by_key(stream: DataStream, value_type: TypeInformation) -> KeyedStream:
    """Partition a stream of Row(key, value) by key; functions on it see the value.

    Parameters
    ----------
    stream
        Of type `keyed_row(value_type)`.
    value_type
        Type of the value.
    """
    selector = get_gateway().jvm.org.apache.flink.streaming.api.functions.python.KeyByKeySelector()
    key_type = Types.ROW([Types.INT()]).get_java_type_info()
    return KeyedStream(stream._j_data_stream.keyBy(selector, key_type), value_type, stream)


def side_output(stream: DataStream, tag: OutputTag) -> DataStream:
    """Return the rows that a function yielded under `tag`."""
    return DataStream(stream._j_data_stream.getSideOutput(tag.get_java_output_tag()))
