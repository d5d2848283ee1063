"""The core's StateMap on Flink's keyed state, in thread mode."""

from __future__ import annotations

from collections.abc import Iterator

from pyflink.common import Types
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor


class FlinkStateMap:
    """A MapState of the key in progress.

    Use it only while an element of its own key is processed: Flink's handle points to the current key.

    Notes
    -----
    Blobs are declared as pickled bytes: as a primitive array Flink's Python layer copies them byte by byte, 19 ms for
    50 KB.
    """

    def __init__(self, context: RuntimeContext, name: str) -> None:
        self._state = context.get_map_state(MapStateDescriptor(name, Types.LONG(), Types.PICKLED_BYTE_ARRAY()))

    def get(self, key: int) -> bytes | None:
        """Return the blob, or None where there is none."""
        value: bytes | None = self._state.get(key)
        return value

    def put(self, key: int, value: bytes) -> None:
        """Set the blob."""
        self._state.put(key, value)

    def remove(self, key: int) -> None:
        """Remove the blob; without effect where there is none."""
        self._state.remove(key)

    def keys(self) -> Iterator[int]:
        """Return the keys in any order."""
        return iter(list(self._state.keys()))


def subtask_index(context: RuntimeContext) -> int:
    """Return the number of this parallel instance, from 0.

    PyFlink's own method calls one that Flink 2 moved to the task's info, and fails in thread mode.
    """
    return int(context._runtime_context.getTaskInfo().getIndexOfThisSubtask())
