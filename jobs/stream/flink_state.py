"""The core's StateMap on Flink's keyed state, in thread mode."""

from __future__ import annotations

from collections.abc import Iterator

from pyflink.common import Types
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import MapState, MapStateDescriptor

STRIPES = 32
STRIPE_BITS = 7


class FlinkStateMap:
    """A map of the key in progress, kept in some of Flink's MapStates.

    Use it only while an element of its own key is processed: Flink's handles point to the current key.

    Parameters
    ----------
    context
        Of the function.
    name
        Of the state; the MapStates are numbered.
    stripes
        MapStates to spread the blobs over, 128 neighbouring keys to each in turn. The heap state backend copies a
        whole map when it is first written to during a checkpoint: so a large map must be many.

    Notes
    -----
    Blobs are declared as pickled bytes: as a primitive array Flink's Python layer copies them byte by byte, 19 ms for
    50 KB.
    """

    def __init__(self, context: RuntimeContext, name: str, stripes: int = 1) -> None:
        self._states = [
            context.get_map_state(MapStateDescriptor(f"{name}-{i}", Types.LONG(), Types.PICKLED_BYTE_ARRAY()))
            for i in range(stripes)
        ]

    def _state(self, key: int) -> MapState:
        return self._states[(key >> STRIPE_BITS) % len(self._states)]

    def get(self, key: int) -> bytes | None:
        """Return the blob, or None where there is none."""
        value: bytes | None = self._state(key).get(key)
        return value

    def put(self, key: int, value: bytes) -> None:
        """Set the blob."""
        self._state(key).put(key, value)

    def remove(self, key: int) -> None:
        """Remove the blob; without effect where there is none."""
        self._state(key).remove(key)

    def keys(self) -> Iterator[int]:
        """Return the keys in any order."""
        return iter([key for state in self._states for key in state.keys()])  # noqa: SIM118 - no dict


def subtask_index(context: RuntimeContext) -> int:
    """Return the number of this parallel instance, from 0.

    PyFlink's own method calls one that Flink 2 moved to the task's info, and fails in thread mode.
    """
    return int(context._runtime_context.getTaskInfo().getIndexOfThisSubtask())
