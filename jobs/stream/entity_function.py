"""Entity stage in Flink: touches in, partial features out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pyflink.common import Row
from pyflink.datastream import KeyedProcessFunction, RuntimeContext

from jobs.stream.background_threads import BackgroundThreads
from jobs.stream.flink_state import STRIPES, FlinkStateMap
from models.features.parted_store import PartedEntityStore
from models.features.store_spec import StoreSpec
from models.features.touches import TOUCH


class EntityFunction(KeyedProcessFunction):
    """Hosts a PartedEntityStore per entity shard.

    State: the touches of every entity within the longest window, as pages and a log; entities that are idle longer
    are forgotten.
    """

    def __init__(self, spec: StoreSpec, keys: tuple[int, ...]) -> None:
        self._spec = spec
        self._keys = keys

    def open(self, runtime_context: RuntimeContext) -> None:
        """Attach the state; stores are restored with the first element of their shard."""
        self._state = FlinkStateMap(runtime_context, "entities", STRIPES)
        self._stores: dict[int, PartedEntityStore] = {}
        self._background = BackgroundThreads()

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Apply one block of touches; answer its home shard, unless they were labels."""
        self._background.stand_back()
        shard, home_shard, sequence, touches = value[0], value[1], value[2], value[3]
        if shard not in self._stores:
            self._stores[shard] = PartedEntityStore(self._spec, self._state)
        partials = self._stores[shard].apply(np.frombuffer(touches, TOUCH))
        if home_shard >= 0:
            yield Row(self._keys[home_shard], Row(home_shard, shard, sequence, partials.to_bytes()))
